"""The history of a job: one attempt for each run of a task, and the workspaces between them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jsonpatch import JsonPatchException
from jsonpointer import JsonPointerException

from dbq import workspaces
from dbq.dialects import Dialect
from dbq.dialects.batch import Log
from dbq.exceptions import InvalidJob
from dbq.models.attempt import Attempt
from dbq.states import Outcome

if TYPE_CHECKING:
    from dbq.models import Job
    from dbq.results import Result


# A finished run is written down by the statement that moves its job.
RUN = Log(
    Attempt,
    {
        "job_id": "id",
        **{
            name: name
            for name in (
                "task",
                "number",
                "fence",
                "worker_name",
                "started",
                "finished",
                "outcome",
                "error_type",
                "error_message",
                "traceback",
                "fingerprint",
                "changes",
                "discarded_changes",
            )
        },
    },
)


def make_row(result: Result) -> dict[str, Any]:
    """What the attempt of a run says, by the names that RUN reads; its job's id is the job's."""
    failure = result.failure
    return {
        "task": result.task,
        "number": result.number,
        "fence": result.fence,
        "worker_name": result.worker_name,
        "started": result.started,
        "finished": result.finished,
        "outcome": str(result.outcome),
        "error_type": failure.error_type if failure else "",
        "error_message": failure.message if failure else "",
        "traceback": failure.traceback if failure else "",
        "fingerprint": failure.fingerprint if failure else "",
        "changes": result.changes,
        "discarded_changes": result.discarded_changes,
    }


def update_attempt(dialect: Dialect, result: Result) -> None:
    """Go on with the attempt that a checkpoint of the same run has begun."""
    row = make_row(result)
    for name in ("task", "number", "fence", "changes", "started"):
        del row[name]
    row["discarded_changes"] = _load(result.discarded_changes)
    attempts = Attempt.objects.using(dialect.alias).filter(
        job_id=result.job.id, fence=result.fence, task=result.task, number=result.number
    )
    attempt = attempts.get(outcome=Outcome.RUNNING)
    if result.changes is not None and result.workspace is not None:
        row["changes"] = workspaces.join_patches(
            attempt.changes or [], _load(result.changes), result.workspace
        )
    attempts.filter(pk=attempt.pk).update(**row)


def _load(patch: str | None) -> Any:
    return None if patch is None else json.loads(patch)


def write_lost_attempts(
    dialect: Dialect, jobs: Iterable[Job], worker_name: str, error_type: str, message: str
) -> None:
    """Record that the runs of rescued jobs ended with their worker; the jobs carry their new fence."""
    attempts = Attempt.objects.using(dialect.alias)
    fields = _make_loss(dialect, error_type, message)
    rows: list[dict[str, Any]] = []
    for job in jobs:
        begun = attempts.filter(job_id=job.id, fence=job.fence - 1, outcome=Outcome.RUNNING)
        if not begun.update(**fields):
            rows.append(_make_lost_row(job, worker_name, fields))
    dialect.insert_rows(Attempt, rows)


def end_open_attempts(dialect: Dialect, jobs: Iterable[Job], error_type: str, message: str) -> None:
    """Record of runs that left a mark that they ended with their worker; of others, nothing."""
    attempts = Attempt.objects.using(dialect.alias).filter(job_id__in=[job.id for job in jobs])
    attempts.filter(outcome=Outcome.RUNNING).update(**_make_loss(dialect, error_type, message))


def _make_loss(dialect: Dialect, error_type: str, message: str) -> dict[str, Any]:
    return {
        "outcome": str(Outcome.LOST),
        "finished": dialect.read_clock(),
        "error_type": error_type,
        "error_message": message,
    }


def _make_lost_row(job: Job, worker_name: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "task": job.next_task,
        "number": job.attempt,
        "fence": job.fence - 1,
        "worker_name": worker_name,
        # When it began died with the worker.
        "started": None,
        "traceback": "",
        "fingerprint": "",
        **fields,
    }


def write_edit(dialect: Dialect, job: Job, changes: list[dict[str, Any]], message: str = "") -> None:
    """Record that an operator changed a workspace between two runs."""
    now = dialect.read_clock()
    Attempt.objects.using(dialect.alias).create(
        job_id=job.id,
        task=job.next_task,
        number=0,
        fence=job.fence,
        started=now,
        finished=now,
        outcome=Outcome.EDITED,
        error_message=message,
        changes=changes,
    )


def delete_attempts(dialect: Dialect, job_ids: list[Any]) -> None:
    Attempt.objects.using(dialect.alias).filter(job_id__in=job_ids)._raw_delete(dialect.alias)


# Workspaces of the past


def rebuild_workspace(job: Job, task: str) -> dict:
    """The workspace as it stood before the last runs of a task; raise InvalidJob if there were none.

    The initial workspace plus the accepted changes of everything that came before those runs.
    """
    attempts = _get_round(job)
    first = _find_first_of_last_runs(attempts, task)
    if first is None:
        if task == job.next_task:
            return job.workspace
        raise InvalidJob(f'Job {job.id} has never run the task "{task}".')
    return _replay(job, attempts[:first])


def rebuild_workspace_to_resume(job: Job, task: str) -> dict:
    """The workspace from before the last runs of a task, with the edits operators have made since.

    An edit is made to mend the job; a resume that undid it would fail the same way again. Raises
    InvalidJob when the task never ran, or when an edit does not fit the earlier workspace.
    """
    workspace = rebuild_workspace(job, task)
    attempts = _get_round(job)
    first = _find_first_of_last_runs(attempts, task)
    for attempt in attempts[len(attempts) if first is None else first :]:
        # What a resume itself wrote says why in its message; an operator's edit has none.
        if attempt.outcome == Outcome.EDITED and attempt.changes and not attempt.error_message:
            workspace = _apply_edit(job, task, workspace, attempt.changes)
    return workspace


def _apply_edit(job: Job, task: str, workspace: dict, changes: list[dict[str, Any]]) -> dict:
    try:
        return workspaces.apply_patch(workspace, changes)
    except (JsonPatchException, JsonPointerException) as error:
        raise InvalidJob(
            f"An edit of job {job.id}'s workspace does not fit the workspace from before"
            f' "{task}": {error}. Requeue the job, or resume it and edit it again.'
        ) from error


def rebuild_workspace_after(job: Job, attempt: Attempt) -> dict:
    """The workspace as an attempt left it, its accepted changes included."""
    attempts = _get_round(job)
    position = [a.pk for a in attempts].index(attempt.pk)
    return _replay(job, attempts[: position + 1])


def _get_round(job: Job) -> list[Attempt]:
    """The attempts since the job was created or requeued."""
    attempts = job.attempts.filter(fence__gt=job.round_fence).order_by("id")
    # With the job's id, which Django would otherwise read for each row by itself.
    return list(attempts.only("id", "job", "task", "outcome", "changes", "error_message"))


def _find_first_of_last_runs(attempts: list[Attempt], task: str) -> int | None:
    first = None
    for position in range(len(attempts) - 1, -1, -1):
        attempt = attempts[position]
        if attempt.outcome == Outcome.EDITED:
            continue
        if attempt.task == task:
            first = position
        elif first is not None:
            break
    return first


def _replay(job: Job, attempts: list[Attempt]) -> dict:
    workspace = job.workspace if job.initial_workspace is None else job.initial_workspace
    for attempt in attempts:
        if attempt.changes:
            workspace = workspaces.apply_patch(workspace, attempt.changes)
    return workspace

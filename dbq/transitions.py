"""Every statement that changes a job's state, and nothing else does.

Each is one guarded statement: it says from which state, under which fence or version, and answers what
it moved. Whoever comes too late moves nothing. A worker's writes carry the fence that its claim was
given; giving a job away, by whomever, raises the fence, so that nothing late can match.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

from django.db import router, transaction
from django.db.models import (
    BigIntegerField,
    CharField,
    DateTimeField,
    Exists,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
)
from django.db.models.functions import Coalesce

from dbq import history, signals, wakeup, workspaces
from dbq.conf import get_configuration
from dbq.counts import Tally
from dbq.definitions import QUEUE_NAME_RULE, get_definitions, is_priority, is_queue_name
from dbq.dialects import Dialect, get_dialect
from dbq.dialects.base import AskedNow, DatabaseNow, Slot, Take, question
from dbq.exceptions import InvalidJob
from dbq.failures import make_failure
from dbq.models.attempt import Attempt
from dbq.models.job import Job, find_lane
from dbq.models.queue import Queue, is_paused
from dbq.models.worker import Worker
from dbq.querysets import JobQuerySet
from dbq.results import Result
from dbq.states import FINISHED, REQUEUEABLE, RETRYABLE, WAITING, Lane, Outcome, State

CHUNK = 500
RESCUE_CHUNK = 100
CLEANUP_CHUNK = 1000
# Between two chunks of a cleanup, so that workers get their turn.
CLEANUP_PAUSE_SECONDS = 0.02

CLAIMED = (
    "id",
    "name",
    "queue_name",
    "state",
    "priority",
    "next_task",
    "attempt",
    "crash_count",
    "fence",
    "cancel_requested",
    "workspace",
    "initial_workspace",
    "run_after",
    "created",
    "enqueued",
    "started",
    "version",
)
MOVED = (
    "id",
    "name",
    "queue_name",
    "state",
    "next_task",
    "attempt",
    "crash_count",
    "fence",
    "created",
    "started",
    "version",
)
GIVEN_BACK = {"worker_id": None}
SET_GOING = {
    "attempt": 0,
    "crash_count": 0,
    "run_after": None,
    "finished": None,
    "worker_id": None,
    "cancel_requested": False,
}


# By a worker, on jobs nobody holds


def claim(
    dialect: Dialect, worker_id: int, queue_name: str, limit: int, now: datetime, tally: Tally
) -> list[Job]:
    """NEW or READY → PROCESSING: take the first due jobs of a queue, in the order they should run.

    Jobs whose name settings.JOBS does not have stay where they are, and so does a paused queue.
    """
    take = _compile_claim(dialect.alias, tuple(get_definitions()))
    moment = dialect.connection.ops.adapt_datetimefield_value(now)
    values = {"worker_id": worker_id, "queue_name": queue_name, "now": moment, "limit": limit}
    claimed = dialect.run_take(take, values)
    if not dialect.counts_claims:
        tally.claimed(claimed, now)
    return sorted(claimed, key=lambda job: (-job.priority, job.id.int))


def compile_claim_ahead(dialect: Dialect) -> None:
    """Make the statement of claims, for processes that are forked afterwards."""
    _compile_claim(dialect.alias, tuple(get_definitions()))


@lru_cache(maxsize=100)
def _compile_claim(alias: str, names: tuple[str, ...]) -> Take:
    """The statements of a claim: they are run for every batch, and take longer to compile than to run."""
    dialect = get_dialect(alias)
    worker_id, queue_name = Slot("worker_id", BigIntegerField()), Slot("queue_name", CharField())
    now = Slot("now", DateTimeField())
    jobs = (
        _all(dialect)
        .filter(
            ~Exists(Queue.objects.using(alias).filter(is_paused(now), name=queue_name)),
            lane=Lane.CLAIMABLE,
            queue_name=queue_name,
            name__in=names,
        )
        .order_by("-priority", "id")
    )
    assignments = {
        "state": State.PROCESSING,
        "lane": Lane.RUNNING,
        "fence": F("fence") + 1,
        "version": F("version") + 1,
        "attempt": F("attempt") + 1,
        "worker_id": worker_id,
        "started": Coalesce("started", now),
    }
    limit = Slot("limit", IntegerField())
    # Django compiles no query for rows to be locked outside of a transaction.
    with transaction.atomic(using=alias, savepoint=False):
        return dialect.compile_claim(jobs, limit, assignments, CLAIMED, now)


@question
def find_due(alias: str) -> JobQuerySet:
    """One of the waiting jobs whose time has come: the question before `promote`."""
    due = Job.objects.using(alias).filter(lane=Lane.WAITING, run_after__lte=AskedNow())
    return due.order_by("run_after").values_list("pk")[:1]


def promote(dialect: Dialect) -> int:
    """Move waiting jobs whose time has come to where they are claimed; return how many."""
    due = _all(dialect).filter(lane=Lane.WAITING, run_after__lte=DatabaseNow()).order_by("run_after")
    with dialect.write():
        promoted = dialect.take(
            due,
            CHUNK,
            {"lane": Lane.CLAIMABLE, "enqueued": F("run_after"), "version": F("version") + 1},
            ("id", "queue_name"),
        )
    wakeup.call_after_commit(dialect.alias, {job.queue_name for job in promoted})
    return len(promoted)


# By a worker, on jobs it holds


def record(dialect: Dialect, results: list[Result], tally: Tally) -> list[Result]:
    """Write how runs ended; return those that were accepted.

    A result whose fence has been overtaken belongs to a lost lease: it changes nothing, and is left out.
    """
    written: set[int] = set()
    for (keeps_job, has_log, names), rows in _group(results).items():
        log = history.RUN if has_log else None
        moved = dialect.update_fenced(Job, rows, keep_fence=keeps_job, names=names, log=log)
        written |= {id(row["result"]) for row in moved}
    accepted = [result for result in results if id(result) in written]
    for result in accepted:
        if result.has_attempt and not result.unstarted:
            history.update_attempt(dialect, result)
    tally.ended(accepted)
    return accepted


def _group(results: list[Result]) -> dict[tuple, list[dict]]:
    """The rows of results that one statement can write, of jobs that go on here first, with their results."""
    groups: defaultdict[tuple, list[dict]] = defaultdict(list)
    for result in results:
        row = _make_row(result)
        has_log = not (result.unstarted or result.has_attempt)
        key = (_keeps_job(result), has_log, tuple(row))
        row["result"] = result
        if has_log:
            row |= history.make_row(result)
        groups[key].append(row)
    return dict(sorted(groups.items(), key=lambda group: not group[0][0]))


def is_recorded(dialect: Dialect, result: Result) -> bool:
    """Whether a result was written by a transaction whose commit got no answer."""
    if result.outcome == Outcome.RUNNING:
        # An earlier checkpoint of the same run has the same attempt. One that changes nothing may be
        # written twice.
        held = Job.objects.using(dialect.alias).filter(pk=result.job.id, fence=result.fence)
        return result.workspace is not None and json.loads(result.workspace) in held.values_list(
            "workspace", flat=True
        )
    attempts = Attempt.objects.using(dialect.alias).filter(
        job_id=result.job.id, fence=result.fence, task=result.task, number=result.number
    )
    return attempts.filter(outcome=result.outcome).exists()


def _keeps_job(result: Result) -> bool:
    """Whether the worker goes on with the job: after a checkpoint, or between two tasks."""
    if result.outcome == Outcome.COMPLETED:
        return result.next_task is not None and not result.yields and not result.cancels
    return result.outcome == Outcome.RUNNING


def _make_row(result: Result) -> dict[str, Any]:
    """The new values of a job's row after a run."""
    row: dict[str, Any] = {"id": result.job.id, "fence": result.fence}
    if result.workspace is not None:
        row["workspace"] = result.workspace
        row["initial_workspace"] = result.initial_workspace
    if result.progress is not None:
        row["progress"] = result.progress
    end = result.end
    if end is not None:
        row |= _make_end(end, result)
        if result.next_task is not None:
            row |= {"next_task": result.next_task, "attempt": 0}
    elif result.outcome == Outcome.COMPLETED:
        row |= _make_advance(result)
    elif result.outcome == Outcome.RETRIED:
        row |= _make_retry(result)
    elif result.outcome == Outcome.RELEASED:
        row |= _make_release(result)
    if result.failure is not None:
        row["error_type"] = result.failure.error_type
        row["error_message"] = result.failure.message
        row["fingerprint"] = result.failure.fingerprint
    return row


def _make_end(state: State, result: Result) -> dict[str, Any]:
    """PROCESSING → COMPLETED, FAILED or CANCELLED."""
    return {
        "state": str(state),
        "lane": int(Lane.FINISHED),
        "finished": result.finished,
        "unique_key": None,
        **GIVEN_BACK,
    }


def _make_advance(result: Result) -> dict[str, Any]:
    """PROCESSING → the next task: under the same claim, or READY for another one."""
    advance = {"next_task": result.next_task, "crash_count": 0}
    if not result.yields:
        return {**advance, "attempt": 1}
    return {
        **advance,
        "attempt": 0,
        "state": str(State.READY),
        "lane": int(Lane.CLAIMABLE),
        "enqueued": result.finished,
        **GIVEN_BACK,
    }


def _make_retry(result: Result) -> dict[str, Any]:
    """PROCESSING → READY, after a back-off."""
    assert result.finished is not None  # noqa: S101
    return {
        "state": str(State.READY),
        "lane": int(Lane.WAITING),
        "run_after": result.finished + timedelta(seconds=result.delay),
        **GIVEN_BACK,
    }


def _make_release(result: Result) -> dict[str, Any]:
    """PROCESSING → READY without counting an attempt, or NEW if no task of the job had begun."""
    job = result.job
    release: dict[str, Any] = {"attempt": max(0, job.attempt - 1), **GIVEN_BACK}
    if result.unstarted and getattr(job, "is_first_claim", False):
        release |= {"state": str(State.NEW), "started": None}
    else:
        release["state"] = str(State.READY)
    if result.delay:
        assert result.finished is not None  # noqa: S101
        release["run_after"] = result.finished + timedelta(seconds=result.delay)
        release["lane"] = int(Lane.WAITING)
    else:
        release["lane"] = int(Lane.CLAIMABLE)
    return release


def write_progress(dialect: Dialect, progress: Iterable[tuple[Job, str]]) -> None:
    """Show how far running tasks are; nothing moves."""
    rows = [{"id": job.id, "fence": job.fence, "progress": text} for job, text in progress]
    with dialect.write():
        dialect.update_fenced(Job, rows, keep_fence=True)


# By whoever finds a dead worker


def declare_dead(dialect: Dialect) -> list[Worker]:
    """Take the lease from workers that let it run out, and name all that are dead but hold jobs."""
    workers = Worker.objects.using(dialect.alias)
    if dialect.ask(find_expired):
        workers.filter(expires_at__lt=DatabaseNow()).update(expires_at=None)
    owners = {owner for (owner,) in dialect.ask(find_owners)}
    if not owners:
        return []
    dead = list(workers.filter(pk__in=owners, expires_at__isnull=True))
    known = set(workers.filter(pk__in=owners).values_list("pk", flat=True))
    # Somebody deleted the row of a worker that held jobs.
    return dead + [Worker(pk=owner, name=f"worker {owner}") for owner in sorted(owners - known)]


@question
def find_expired(alias: str) -> QuerySet:
    """One of the workers whose lease ran out."""
    return Worker.objects.using(alias).filter(expires_at__lt=AskedNow()).order_by().values_list("pk")[:1]


@question
def find_owners(alias: str) -> QuerySet:
    """The ids of workers that hold jobs, each in a row."""
    holding = Job.objects.using(alias).filter(lane=Lane.RUNNING, worker_id__isnull=False)
    return holding.order_by().values_list("worker_id").distinct()[:1000]


def rescue(
    dialect: Dialect,
    worker: Worker,
    error_type: str,
    message: str,
    running: Iterable[UUID] | None = None,
) -> int:
    """PROCESSING → READY, or FAILED after too many crashes: take jobs from a worker that is dead.

    Args:
        worker: its lease must have been taken from it, or its process be known to be gone.
        error_type, message: what is written into the history of the jobs.
        running: the jobs that were running when it died, if that is known. The others were only
            waiting in it: they are given back, and no crash is counted. If it is not known, no crash
            is counted either, unless the worker held no more jobs than it had threads or the history
            of a job says that it had begun.

    Returns: how many jobs were set free.
    """
    held = _all(dialect).filter(lane=Lane.RUNNING, worker_id=worker.pk)
    unstarted, suspected = _find_innocent(dialect, held, worker, running)
    asked: list[UUID] = []
    for jobs in (unstarted, suspected):
        asked += jobs.filter(cancel_requested=True).values_list("pk", flat=True)
    freed = _give_back(dialect, unstarted, error_type, message)
    freed += _free_suspected(dialect, suspected, worker, error_type, message)
    # They must not wait for a worker to hear of it: there may be none, or their queue be paused.
    cancel(_all(dialect).filter(pk__in=asked))
    last_chance = get_configuration().MAX_CRASHES - 1
    freed += _finish_lost(
        dialect, held.filter(cancel_requested=True), worker, State.CANCELLED, error_type, message
    )
    freed += _finish_lost(
        dialect, held.filter(crash_count__gte=last_chance), worker, State.FAILED, error_type, message
    )
    freed += _free_lost(dialect, held, worker, error_type, message)
    return freed


def _find_innocent(
    dialect: Dialect, held: JobQuerySet, worker: Worker, running: Iterable[UUID] | None
) -> tuple[JobQuerySet, JobQuerySet]:
    """Of the jobs of a dead worker those that had not begun, and those of which nobody knows."""
    if running is not None:
        return held.exclude(pk__in=list(running)), held.none()
    if held.count() <= worker.threads:
        return held.none(), held.none()
    marks = Attempt.objects.using(dialect.alias).filter(
        job_id=OuterRef("pk"), fence=OuterRef("fence"), outcome=Outcome.RUNNING
    )
    unmarked = held.filter(~Exists(marks))
    # From its second attempt on a job leaves a mark when it begins.
    return unmarked.filter(attempt__gt=1), unmarked.filter(attempt__lte=1)


def _give_back(dialect: Dialect, held: JobQuerySet, error_type: str, message: str) -> int:
    assignments = {
        "lane": Lane.CLAIMABLE,
        "fence": F("fence") + 1,
        "version": F("version") + 1,
        "attempt": F("attempt") - 1,
        "worker_id": None,
    }
    runs = Attempt.objects.using(dialect.alias).filter(
        job_id=OuterRef("pk"), fence__gt=OuterRef("round_fence"), number__gt=0
    )
    ready, new = {"state": State.READY}, {"state": State.NEW, "started": None}

    def book(jobs: list[Job], tally: Tally) -> None:
        # A run may have ended in there, and its end not have been written.
        history.end_open_attempts(dialect, jobs, error_type, message)

    freed = 0
    for begun, state in ((Exists(runs), ready), (~Exists(runs), new)):
        jobs = held.filter(begun)
        freed += len(_take_all(dialect, jobs, assignments | state, book, chunk=RESCUE_CHUNK))
    return freed


def _free_suspected(
    dialect: Dialect, held: JobQuerySet, worker: Worker, error_type: str, message: str
) -> int:
    """Free jobs that may have been running; the attempt is counted, so that the next one leaves a mark."""
    assignments = {
        "state": State.READY,
        "lane": Lane.CLAIMABLE,
        "fence": F("fence") + 1,
        "version": F("version") + 1,
        "worker_id": None,
    }
    text = f"{message}; this job may have been running"

    def book(jobs: list[Job], tally: Tally) -> None:
        history.write_lost_attempts(dialect, jobs, worker.name, error_type, text)

    return len(_take_all(dialect, held, assignments, book, chunk=RESCUE_CHUNK))


def _free_lost(dialect: Dialect, held: JobQuerySet, worker: Worker, error_type: str, message: str) -> int:
    assignments = {
        "state": State.READY,
        "lane": Lane.CLAIMABLE,
        "fence": F("fence") + 1,
        "version": F("version") + 1,
        "crash_count": F("crash_count") + 1,
        "worker_id": None,
    }

    def book(jobs: list[Job], tally: Tally) -> None:
        _write_lost(dialect, jobs, worker, error_type, message)

    return len(_take_all(dialect, held, assignments, book, chunk=RESCUE_CHUNK))


def _finish_lost(
    dialect: Dialect, held: JobQuerySet, worker: Worker, state: State, error_type: str, message: str
) -> int:
    now = dialect.read_clock()
    assignments = {
        "state": state,
        "lane": Lane.FINISHED,
        "fence": F("fence") + 1,
        "version": F("version") + 1,
        "crash_count": F("crash_count") + 1,
        "worker_id": None,
        "finished": now,
        "unique_key": None,
    }
    if state == State.FAILED:
        failure = make_failure(error_type, _count_crash(message, get_configuration().MAX_CRASHES))
        assignments |= {
            "error_type": failure.error_type,
            "error_message": failure.message,
            "fingerprint": failure.fingerprint,
        }

    def book(jobs: list[Job], tally: Tally) -> None:
        _write_lost(dialect, jobs, worker, error_type, message)
        for job in jobs:
            tally.finished(job, state, now)

    signal = signals.job_failed if state == State.FAILED else signals.job_cancelled
    return len(_take_all(dialect, held, assignments, book, signal, chunk=RESCUE_CHUNK))


def _write_lost(dialect: Dialect, jobs: list[Job], worker: Worker, error_type: str, message: str) -> None:
    for job in jobs:
        text = _count_crash(message, job.crash_count)
        history.write_lost_attempts(dialect, [job], worker.name, error_type, text)


def _count_crash(message: str, crash_count: int) -> str:
    return f"{message} (crash {crash_count} of {get_configuration().MAX_CRASHES})"


# By an operator, or by code


def cancel(jobs: JobQuerySet) -> list[UUID]:
    """NEW or READY → CANCELLED; a PROCESSING job is asked to end. Returns the ids of both."""
    dialect = _get_dialect(jobs)
    now = dialect.read_clock()

    def book(moved: list[Job], tally: Tally) -> None:
        for job in moved:
            tally.finished(job, State.CANCELLED, now)
            tally.touched(job)

    cancelled = _take_all(
        dialect,
        jobs.filter(state__in=WAITING),
        {
            "state": State.CANCELLED,
            "lane": Lane.FINISHED,
            "fence": F("fence") + 1,
            "version": F("version") + 1,
            "finished": now,
            "unique_key": None,
        },
        book,
        signals.job_cancelled,
    )
    asked = _take_all(
        dialect,
        jobs.filter(state=State.PROCESSING, cancel_requested=False),
        # Not the version: the worker's next write must not make the operator's next act look stale.
        {"cancel_requested": True},
        _book_nothing,
    )
    return cancelled + asked


def retry(jobs: JobQuerySet) -> list[UUID]:
    """FAILED or CANCELLED → READY, at the task that did not end."""
    moved: list[UUID] = []
    for state in RETRYABLE:
        moved += _set_going(jobs, state, {"state": State.READY})
    return moved


def requeue(jobs: JobQuerySet) -> list[UUID]:
    """COMPLETED, FAILED or CANCELLED → NEW, from the first task, with the original workspace.

    Jobs whose name settings.JOBS no longer has stay as they are.
    """
    moved: list[UUID] = []
    names = jobs.filter(lane=Lane.FINISHED).order_by().values_list("name", flat=True).distinct()
    for name in list(names):
        definition = get_definitions().get(name)
        if definition is None:
            continue
        for state in REQUEUEABLE:
            moved += _set_going(
                jobs.filter(name=name),
                state,
                {
                    "state": State.NEW,
                    "next_task": definition.first_task,
                    "definition_hash": definition.hash,
                    "workspace": Coalesce("initial_workspace", "workspace"),
                    "initial_workspace": None,
                    "round_fence": F("fence"),
                    "started": None,
                    "progress": None,
                    "error_type": "",
                    "error_message": "",
                    "fingerprint": "",
                },
            )
    return moved


def resume_from(jobs: JobQuerySet, task: str) -> bool:
    """COMPLETED, FAILED or CANCELLED → READY, at an earlier task, with the workspace from before it.

    What operators have edited since stays. Takes one job. Raises InvalidJob when the task is not in
    its definition or never ran.
    """
    job = jobs.filter(lane=Lane.FINISHED).first()
    if job is None:
        return False
    if job.definition is None or task not in job.definition.tasks:
        raise InvalidJob(f'"{task}" is not a task of JOBS["{job.name}"].')
    before = workspaces.serialize(job.workspace)
    unchanged = jobs.filter(version=job.version)
    try:
        workspace = history.rebuild_workspace_to_resume(job, task)
    except InvalidJob:
        if not unchanged.exists():
            # Its history was deleted, with the job, while it was read here.
            return False
        raise
    changes = workspaces.make_patch(before, workspaces.serialize(workspace))

    def book(moved: list[Job], tally: Tally) -> None:
        history.write_edit(_get_dialect(jobs), moved[0], changes, f"Resumed from {task}.")

    return bool(
        _set_going(
            unchanged,
            State(job.state),
            {
                "state": State.READY,
                "next_task": task,
                "workspace": workspace,
                "initial_workspace": job.workspace
                if job.initial_workspace is None
                else job.initial_workspace,
                "progress": None,
            },
            book,
        )
    )


def _set_going(jobs: JobQuerySet, state: State, assignments: dict[str, Any], book: Any = None) -> list[UUID]:
    """Move finished jobs of one state back to where they are claimed."""
    dialect = _get_dialect(jobs)

    def book_all(moved: list[Job], tally: Tally) -> None:
        for job in moved:
            tally.left(job.queue_name, state)
        if book is not None:
            book(moved, tally)

    return _take_all(
        dialect,
        jobs.filter(lane=Lane.FINISHED, state=state),
        {
            **SET_GOING,
            "lane": Lane.CLAIMABLE,
            "fence": F("fence") + 1,
            "version": F("version") + 1,
            "enqueued": dialect.read_clock(),
            **assignments,
        },
        book_all,
        signals.job_retried,
    )


def reschedule(
    jobs: JobQuerySet,
    *,
    priority: int | None = None,
    queue_name: str | None = None,
    run_after: datetime | None = None,
) -> bool:
    """Change the priority, queue or time of waiting jobs; raise InvalidJob for values that break a rule."""
    assignments: dict[str, Any] = {"version": F("version") + 1}
    if priority is not None:
        if not is_priority(priority):
            raise InvalidJob(f"{priority!r} is not a priority.")
        assignments["priority"] = priority
    if queue_name is not None:
        if not is_queue_name(queue_name):
            raise InvalidJob(f"{QUEUE_NAME_RULE.capitalize()}, not {queue_name!r}.")
        assignments["queue_name"] = queue_name
    if run_after is not None:
        assignments |= {"run_after": run_after, "lane": find_lane(run_after)}
        if assignments["lane"] == Lane.CLAIMABLE:
            assignments["enqueued"] = _get_dialect(jobs).read_clock()
    return bool(_take_all(_get_dialect(jobs), jobs.filter(state__in=WAITING), assignments, _book_nothing))


def edit_workspace(jobs: JobQuerySet, workspace: dict) -> bool:
    """Replace the workspace of one job that no worker holds and that is not completed."""
    after = workspaces.serialize(workspace)
    job = jobs.filter(state__in=(*WAITING, *RETRYABLE)).first()
    if job is None:
        return False
    changes = workspaces.make_patch(workspaces.serialize(job.workspace), after)

    def book(moved: list[Job], tally: Tally) -> None:
        history.write_edit(_get_dialect(jobs), moved[0], changes)
        tally.touched(moved[0])

    original = job.workspace if job.initial_workspace is None else job.initial_workspace
    return bool(
        _take_all(
            _get_dialect(jobs),
            jobs.filter(state=job.state, version=job.version),
            {
                "workspace": workspace,
                "initial_workspace": original,
                # A fence of its own, so that the edit belongs to this round of the job.
                "fence": F("fence") + 1,
                "version": F("version") + 1,
            },
            book,
        )
    )


def delete(jobs: JobQuerySet, *, pause: bool = False) -> int:
    """COMPLETED, FAILED or CANCELLED → gone, with its history, a chunk a transaction.

    With `pause` it rests between two chunks. A job that was set going meanwhile is left alone.
    """
    dialect = _get_dialect(jobs)
    finished = jobs.filter(lane=Lane.FINISHED, state__in=FINISHED).order_by("created", "pk")
    deleted = 0
    while True:
        removed = dialect.insist(partial(_delete_chunk, dialect, finished))
        deleted += removed
        if not removed:
            return deleted
        if pause:
            time.sleep(CLEANUP_PAUSE_SECONDS)


def _delete_chunk(dialect: Dialect, finished: JobQuerySet) -> int:
    tally = Tally()
    with dialect.write():
        removed = dialect.remove(finished, CLEANUP_CHUNK, ("id", "queue_name", "state"))
        if removed:
            history.delete_attempts(dialect, [job.id for job in removed])
            for job in removed:
                tally.left(job.queue_name, job.state)
            tally.write(dialect)
    return len(removed)


def pause_queue(name: str, *, by: str = "", reason: str = "", until: datetime | None = None) -> bool:
    """Stop a queue's jobs from being claimed; return False if it was paused already."""
    if not is_queue_name(name):
        raise InvalidJob(f"{QUEUE_NAME_RULE.capitalize()}, not {name!r}.")
    alias = router.db_for_write(Queue)
    queues = Queue.objects.using(alias)
    queues.get_or_create(name=name)
    running = queues.filter(name=name).exclude(is_paused())
    return bool(
        running.update(paused_at=DatabaseNow(), paused_by=by, paused_reason=reason, paused_until=until)
    )


def resume_queue(name: str) -> bool:
    """Let a queue's jobs be claimed again; return False if it was not paused."""
    alias = router.db_for_write(Queue)
    paused = Queue.objects.using(alias).filter(name=name, paused_at__isnull=False)
    moved = paused.update(paused_at=None, paused_by="", paused_reason="", paused_until=None)
    wakeup.call_after_commit(alias, {name})
    return bool(moved)


# What they share


def _book_nothing(moved: list[Job], tally: Tally) -> None:
    """For transitions that leave no trace in totals or history."""


def _take_all(
    dialect: Dialect,
    jobs: JobQuerySet,
    assignments: dict[str, Any],
    book: Any,
    signal: Any = None,
    chunk: int = CHUNK,
) -> list[UUID]:
    """Move all jobs of a query, a chunk and its books a transaction, and tell who listens."""
    all_moved: list[UUID] = []
    for ids in _split(dialect, jobs, chunk):
        query = jobs.filter(pk__in=ids).order_by("pk")
        moved = dialect.insist(partial(_take_chunk, dialect, query, len(ids), assignments, book))
        all_moved += [job.id for job in moved]
        _announce(dialect, moved, signal)
    return all_moved


def _take_chunk(
    dialect: Dialect, jobs: JobQuerySet, amount: int, assignments: dict[str, Any], book: Any
) -> list[Job]:
    tally = Tally()
    with dialect.write():
        moved = dialect.take(jobs, amount, assignments, MOVED, wait=True)
        if moved:
            book(moved, tally)
            tally.write(dialect)
    return moved


def _split(dialect: Dialect, jobs: JobQuerySet, chunk: int) -> Iterable[list[UUID]]:
    """The ids of a query, walked once: what an act leaves unmoved does not come back."""
    last = None
    while True:
        page = jobs.using(dialect.alias).order_by("pk")
        if last is not None:
            page = page.filter(pk__gt=last)
        ids = list(page.values_list("pk", flat=True)[:chunk])
        if not ids:
            return
        yield ids
        if len(ids) < chunk:
            return
        last = ids[-1]


def _announce(dialect: Dialect, moved: list[Job], signal: Any) -> None:
    claimable = {job.queue_name for job in moved if job.state in WAITING}
    if claimable:
        wakeup.call_after_commit(dialect.alias, claimable)
    if signal is not None and signal.receivers:
        for job in moved:
            announce = partial(signals.announce, signal, Job, job=job, exception=None)
            # The transition may be part of a larger transaction, of which nothing is sure yet.
            transaction.on_commit(announce, using=dialect.alias)


def _all(dialect: Dialect) -> JobQuerySet:
    return Job.objects.using(dialect.alias)


def _get_dialect(jobs: JobQuerySet) -> Dialect:
    return get_dialect(jobs._db or router.db_for_write(Job))

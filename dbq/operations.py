"""Acts of operators: one guarded transition and its record, in one transaction.

A door (a view, the admin, a command) asks `permit`, calls `act`, and shows what the returned
Operation says. What the guard refuses is recorded too, with the reason in words. Acts on all jobs
that match are in `dbq.bulk`.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import OperationalError, connections, router, transaction

from dbq import transitions
from dbq.dialects import Dialect, get_dialect
from dbq.exceptions import ActRefused, InvalidJob
from dbq.models.job import Job
from dbq.models.operation import Operation, OperationItem
from dbq.models.queue import Queue
from dbq.models.worker import Worker
from dbq.querysets import JobQuerySet
from dbq.states import WAITING, State
from dbq.verbs import VERBS, get_short_name

TRIES = 3
REASON_MAX_LENGTH = 500
# What an explanation needs to know of a job; not its workspace.
EXPLAINED = (
    "id",
    "name",
    "queue_name",
    "state",
    "next_task",
    "priority",
    "run_after",
    "cancel_requested",
    "version",
    "created",
)

Target = Job | UUID | Queue | str | Worker | Operation | None


@dataclass(frozen=True)
class Actor:
    """Who acts: copied into the record, which outlives the account."""

    id: str
    name: str

    @classmethod
    def from_user(cls, user: Any) -> Actor:
        """The account behind a request."""
        return cls(str(user.pk or ""), user.get_username()[:150])

    @classmethod
    def from_system(cls) -> Actor:
        """Whoever types a command: the user of the operating system."""
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # a container without a passwd entry
            name = "unknown"
        return cls("", f"{name}@{socket.gethostname()} (command line)"[:150])


def may(user: Any, verb: str) -> bool:
    """Whether the account has the permission for a verb."""
    return bool(user.is_active and user.has_perm(VERBS[verb].permission))


def permit(user: Any, verb: str, target: Target = None, *, reason: str = "") -> bool:
    """Whether the account may do it; if not, the attempt is recorded."""
    if may(user, verb):
        return True
    message = f'The account lacks the permission "{VERBS[verb].permission}".'
    refuse(Actor.from_user(user), verb, target, message=message, reason=reason)
    return False


def refuse(actor: Actor, verb: str, target: Target = None, *, message: str, reason: str = "") -> Operation:
    """Record an act that a door did not let through."""
    return record(router.db_for_write(Job), actor, verb, target, reason, {}, Operation.State.REFUSED, message)


def act(
    actor: Actor,
    verb: str,
    target: Target = None,
    *,
    reason: str = "",
    version: int | None = None,
    **options: Any,
) -> Operation:
    """Do it and record it, both or neither; return the record, which says what came of it.

    The permission is the caller's to check (see `permit`). An act that the guard refuses, because
    the job is running by now, or was changed by somebody else, changes nothing and is recorded as
    REFUSED.

    Args:
        verb: retry, requeue, resume_from (task), cancel, delete, reschedule (priority, queue_name,
            run_after), edit_workspace (workspace), reveal, pause_queue (until), resume_queue,
            stop_worker, rescue_workers.
        target: the Job or its id, the Queue or its name, the Worker; None for rescue_workers.
        reason: what the operator typed.
        version: of the job, as the operator saw it; the act is refused if it has changed since.
        options: what the verb takes, see above.
    """
    perform = PERFORMERS[verb]
    alias = router.db_for_write(Job)

    def attempt() -> Operation:
        with get_dialect(alias).write():
            return _act(alias, perform, actor, verb, target, reason, version, options)

    return run_again_if_passing(alias, attempt)


def run_again_if_passing(alias: str, transact: Callable[[], Any]) -> Any:
    """Run a whole transaction, and again if it only lost a race against another one."""
    for left in range(TRIES - 1, -1, -1):
        try:
            return transact()
        except OperationalError as error:
            is_ours = not connections[alias].in_atomic_block
            if not (left and is_ours and get_dialect(alias).is_passing(error)):
                raise
    raise AssertionError("unreachable")


def _act(
    alias: str,
    perform: Performer,
    actor: Actor,
    verb: str,
    target: Target,
    reason: str,
    version: int | None,
    options: dict[str, Any],
) -> Operation:
    request = Request(get_dialect(alias), verb, target, actor, reason, version, options)
    try:
        with transaction.atomic(using=alias):
            message = perform(request)
        state = Operation.State.DONE
    except (ActRefused, InvalidJob) as refusal:
        state, message = Operation.State.REFUSED, str(refusal)
    return record(alias, actor, verb, target, reason, request.noted, state, message)


def record(
    alias: str,
    actor: Actor,
    verb: str,
    target: Target,
    reason: str,
    options: dict[str, Any],
    state: Operation.State,
    message: str,
    **more: Any,
) -> Operation:
    now = get_dialect(alias).read_clock()
    job_id, queue_name, named = _name_target(target)
    return Operation.objects.using(alias).create(
        created=now,
        finished=now,
        actor_id=actor.id,
        actor_name=actor.name,
        verb=verb,
        job_id=job_id,
        queue_name=queue_name,
        options={**named, **options},
        reason=reason[:REASON_MAX_LENGTH],
        state=state,
        message=message,
        **more,
    )


def _name_target(target: Target) -> tuple[UUID | None, str, dict[str, Any]]:
    if isinstance(target, Job):
        return target.pk, target.queue_name, {}
    if isinstance(target, UUID):
        return target, "", {}
    if isinstance(target, Queue):
        return None, target.name, {}
    if isinstance(target, str):
        return None, target[:50], {}
    if isinstance(target, Worker):
        return None, "", {"worker": target.name}
    if isinstance(target, Operation):
        return None, "", {"operation": target.pk}
    return None, "", {}


def create_job(actor: Actor, *, reason: str = "", **fields: Any) -> Job:
    """Create a job and record who did; raise what Job.objects.create raises."""
    alias = router.db_for_write(Job)
    with get_dialect(alias).write():
        job = Job.objects.using(alias).create(**fields)
        options = {"name": job.name}
        record(alias, actor, "create", job, reason, options, Operation.State.DONE, "Created.")
    return job


def record_export(actor: Actor, form: str, criteria: list[Any], filters: str) -> Operation:
    """Record that an operator took away what is known of all jobs that match."""
    return record(
        router.db_for_write(Job),
        actor,
        "export",
        None,
        "",
        {"format": form},
        Operation.State.DONE,
        f"As {form}, with secrets masked.",
        criteria=criteria,
        filters=filters,
    )


def record_cleanup(actor: Actor, deleted: int, criteria: list[Any]) -> Operation:
    """Record a clean-up that a command has done by itself."""
    alias = router.db_for_write(Job)
    now = get_dialect(alias).read_clock()
    return Operation.objects.using(alias).create(
        created=now,
        finished=now,
        as_of=now,
        actor_id=actor.id,
        actor_name=actor.name,
        verb="cleanup",
        criteria=criteria,
        matched=deleted,
        done=deleted,
        state=Operation.State.DONE,
    )


# One performer a verb: it moves what it was asked to and says so, or raises ActRefused


@dataclass
class Request:
    """One act that was asked for, and what of it goes into the record."""

    dialect: Dialect
    verb: str
    target: Target
    actor: Actor
    reason: str
    version: int | None
    options: dict[str, Any]

    def __post_init__(self) -> None:
        self.noted = {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in self.options.items()
            # A workspace holds secrets; what changed in it is in the job's history.
            if value is not None and name != "workspace"
        }

    def lock_job(self) -> Job:
        """The job as it is now; nobody else changes it until this transaction ends."""
        pk = self.target.pk if isinstance(self.target, Job) else self.target
        rows = Job.objects.using(self.dialect.alias).filter(pk=pk).only(*EXPLAINED)
        job = rows.select_for_update().first()
        if job is None:
            raise ActRefused(self._explain_absence(pk))
        return job

    def _explain_absence(self, pk: Any) -> str:
        last = _find_last_act(self.dialect, pk)
        if last is not None and last.verb in ("delete", "cleanup"):
            return f"The job does not exist any more: {_tell_act(self.dialect, last)}."
        return "The job does not exist any more."

    def take_jobs(self, job: Job) -> JobQuerySet:
        """The job as a query for a transition, with the version the operator saw."""
        jobs = Job.objects.using(self.dialect.alias).filter(pk=job.pk)
        return jobs if self.version is None else jobs.filter(version=self.version)

    def check(self, moved: Any, job: Job) -> None:
        """Explain a transition that moved nothing."""
        if not moved:
            raise ActRefused(self._explain_refusal(job))

    def _explain_refusal(self, job: Job) -> str:
        reason = explain(self.verb, job)
        is_stale = self.version is not None and job.version != self.version
        last = _find_last_act(self.dialect, job.pk) if is_stale else None
        if last is not None:
            changed = f"changed by another operator: {_tell_act(self.dialect, last)}"
            return f"{reason} It was {changed}." if reason else f"The job was {changed}."
        if reason:
            return reason
        return "The job has moved on since this page was made; look at it again."


Performer = Callable[[Request], str]


def _retry(request: Request) -> str:
    job = request.lock_job()
    request.check(transitions.retry(request.take_jobs(job)), job)
    return f'Goes on at the task "{get_short_name(job.next_task)}".'


def _requeue(request: Request) -> str:
    job = request.lock_job()
    request.check(transitions.requeue(request.take_jobs(job)), job)
    assert job.definition is not None  # noqa: S101
    return f'Starts again from its first task, "{get_short_name(job.definition.first_task)}".'


def _resume_from(request: Request) -> str:
    job = request.lock_job()
    task = request.options["task"]
    request.check(transitions.resume_from(request.take_jobs(job), task), job)
    return f'Goes on at the task "{get_short_name(task)}", with the workspace as it stood before it.'


def _cancel(request: Request) -> str:
    job = request.lock_job()
    # Whatever it has done since: a busy job's own progress must not make the wish to end it look stale.
    jobs = Job.objects.using(request.dialect.alias).filter(pk=job.pk)
    request.check(transitions.cancel(jobs), job)
    if job.state == State.PROCESSING:
        return "Asked to end: it does so at its next checkpoint or before its next task."
    return "Cancelled; none of its tasks will start."


def _delete(request: Request) -> str:
    job = request.lock_job()
    request.check(transitions.delete(request.take_jobs(job)), job)
    return f'Deleted "{job.name}" ({job.state}) with its history.'


def _reschedule(request: Request) -> str:
    job = request.lock_job()
    wanted = {name: value for name, value in request.options.items() if value is not None}
    if not wanted:
        raise ActRefused("Nothing was to be changed.")
    request.check(transitions.reschedule(request.take_jobs(job), **wanted), job)
    return "; ".join(_tell_change(job, name, value) for name, value in wanted.items()) + "."


def _tell_change(job: Job, name: str, value: Any) -> str:
    before = getattr(job, name)
    words = {"queue_name": "queue", "run_after": "time", "priority": "priority"}
    return f"{words[name].capitalize()} changed from {_tell_value(before)} to {_tell_value(value)}"


def _tell_value(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S %Z}"
    return "none" if value is None else str(value)


def _edit_workspace(request: Request) -> str:
    job = request.lock_job()
    workspace = request.options["workspace"]
    request.check(transitions.edit_workspace(request.take_jobs(job), workspace), job)
    return "The workspace was edited; the history of the job says what changed."


def _reveal(request: Request) -> str:
    request.lock_job()
    return "Saw the masked values of the workspace."


def _pause_queue(request: Request) -> str:
    name = str(request.target)
    until = request.options.get("until")
    moved = transitions.pause_queue(
        name, by=request.actor.name, reason=request.reason[:REASON_MAX_LENGTH], until=until
    )
    if not moved:
        queue = Queue.objects.using(request.dialect.alias).get(name=name)
        since = tell_age(request.dialect, queue.paused_at)
        raise ActRefused(f'"{name}" was paused already, by {queue.paused_by or "somebody"} {since}.')
    return f'"{name}" is paused' + (f" until {_tell_value(until)}." if until else " until it is resumed.")


def _resume_queue(request: Request) -> str:
    name = str(request.target)
    if not transitions.resume_queue(name):
        raise ActRefused(f'"{name}" was not paused.')
    return f'"{name}" is resumed.'


def _stop_worker(request: Request) -> str:
    assert isinstance(request.target, Worker)  # noqa: S101
    worker = Worker.objects.using(request.dialect.alias).filter(pk=request.target.pk)
    if worker.alive().filter(stop_requested=False).update(stop_requested=True):
        return f"{request.target.name} is asked to stop; it hears of it with its next sign of life."
    if worker.alive().exists():
        raise ActRefused(f"{request.target.name} was asked to stop already.")
    raise ActRefused(f"{request.target.name} does not live any more.")


def _rescue_workers(request: Request) -> str:
    freed = 0
    dead = transitions.declare_dead(request.dialect)
    for worker in dead:
        message = f"{worker.name} gave no sign of life; {request.actor.name} had its jobs rescued"
        freed += transitions.rescue(request.dialect, worker, "dbq.WorkerLost", message)
    if not freed:
        raise ActRefused("No dead worker holds jobs.")
    return f"Rescued {freed} {'job' if freed == 1 else 'jobs'} of {len(dead)} dead workers."


PERFORMERS: dict[str, Performer] = {
    "retry": _retry,
    "requeue": _requeue,
    "resume_from": _resume_from,
    "cancel": _cancel,
    "delete": _delete,
    "reschedule": _reschedule,
    "edit_workspace": _edit_workspace,
    "reveal": _reveal,
    "pause_queue": _pause_queue,
    "resume_queue": _resume_queue,
    "stop_worker": _stop_worker,
    "rescue_workers": _rescue_workers,
}


# Why not


def explain(verb: str, job: Job) -> str:
    """Why a verb cannot act on a job that is as it is; empty if nothing speaks against it."""
    state = State(job.state)
    if state in VERBS[verb].states:
        return _explain_rule(verb, job)
    if verb in ("delete", "cleanup"):
        return f"The job is not finished ({state.label}); cancel it first."
    if verb == "cancel":
        return f"The job is finished already ({state.label})."
    if state == State.PROCESSING:
        return "The job is already running."
    if state in WAITING:
        return f"The job waits for a worker already ({state.label})."
    if state == State.COMPLETED:
        return "The job is completed." + (
            " Requeue runs it again from its first task." if verb == "retry" else ""
        )
    return f"The job is finished ({state.label})."


def _explain_rule(verb: str, job: Job) -> str:
    if verb == "requeue" and job.definition is None:
        return f'settings.JOBS has no "{job.name}" any more.'
    # A job that was given back before its worker heard of it waits, and can be cancelled outright.
    if verb == "cancel" and job.cancel_requested and job.state == State.PROCESSING:
        return "The job was asked to end already."
    return ""


def can_act(verb: str, job: Job) -> bool:
    """Whether a button for it makes sense on this job now."""
    return job.state in VERBS[verb].states and not _explain_rule(verb, job)


def _find_last_act(dialect: Dialect, job_id: Any) -> Operation | None:
    """The last thing that operators did to a job, alone or among others."""
    operations = Operation.objects.using(dialect.alias).defer("job_ids", "criteria")
    alone = operations.filter(job_id=job_id, state=Operation.State.DONE).exclude(verb="reveal")
    items = OperationItem.objects.using(dialect.alias).filter(job_id=job_id)
    item = items.filter(outcome=OperationItem.Outcome.DONE).order_by("-id").first()
    found = [alone.order_by("-id").first()]
    if item is not None:
        found.append(operations.filter(pk=item.operation_id).first())
    known = [operation for operation in found if operation is not None]
    return max(known, key=lambda operation: operation.progressed or operation.created, default=None)


def _tell_act(dialect: Dialect, operation: Operation) -> str:
    """ "Retried by alice 3 s ago"."""
    when = tell_age(dialect, operation.progressed or operation.created)
    return f"{VERBS[operation.verb].past} by {operation.actor_name or 'somebody'} {when}"


def tell_age(dialect: Dialect, moment: datetime | None) -> str:
    """How long ago, in the largest unit that fits: "3 s ago"."""
    if moment is None:
        return "some time ago"
    seconds = max(0, int((dialect.read_clock() - moment).total_seconds()))
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"

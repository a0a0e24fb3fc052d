"""Acts on all jobs that match: confirmed once, done in chunks by the workers, stoppable.

A Proposal is what an operator is shown: how many jobs, which for example, what will happen.
Confirming it makes an Operation, whose set is frozen: jobs made or finished after the proposal are
left alone, and up to FREEZE_MAX jobs are even remembered by id. Each chunk is one transaction that
moves jobs, records what became of each, and advances the cursor; whoever dies in between loses
nothing and repeats nothing.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.core import signing
from django.db import DatabaseError, InterfaceError, OperationalError, router, transaction
from django.db.models import F, Q, QuerySet

from dbq import criteria as conditions
from dbq import transitions
from dbq.dialects import Dialect, get_dialect
from dbq.dialects.base import DatabaseNow, question
from dbq.exceptions import DbqError, InvalidCriteria
from dbq.identifiers import uuid7
from dbq.masking import mask_text
from dbq.models.job import Job
from dbq.models.operation import Operation, OperationItem
from dbq.models.worker import Worker
from dbq.operations import (
    EXPLAINED,
    REASON_MAX_LENGTH,
    Actor,
    explain,
    record,
    run_again_if_passing,
)
from dbq.querysets import JobQuerySet
from dbq.states import FINISHED, Lane
from dbq.verbs import VERBS

logger = logging.getLogger("dbq")

# Jobs that one transaction acts on.
CHUNK = 200
# Rows that one transaction looks at, so that a filter nothing meets does not read the whole table.
WINDOW = 10_000
# Sets of up to this many jobs are remembered by id.
FREEZE_MAX = 5_000
COUNT_MAX = 10_000
SUMMARY_MAX = 20_000
SAMPLE = 10
SAMPLED = ("error_type", "error_message", "finished", "unique_key", "enqueued")
PROPOSAL_MAX_AGE = timedelta(hours=1)
# Of each worker's half second. A job that comes meanwhile waits for the end of the chunk.
SLICE_SECONDS = 0.03
# Of the request that confirms a set that seems small.
AT_ONCE_SECONDS = 1.0
ITEMS_KEPT_DAYS = 90
ITEMS_PER_DUTY = 50_000
SALT = "dbq.proposal"


@dataclass(frozen=True)
class Proposal:
    """What a bulk act would do: shown before it is confirmed, and then done exactly."""

    verb: str
    criteria: list[Any]
    as_of: datetime
    upper_bound: UUID
    # What the job list calls this filter; empty for ticked jobs and clean-ups.
    filters: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    # How many match, or at least so many; None if nobody counted.
    matched: int | None = None
    is_at_least: bool = False
    # Of those counted, how many are in which state.
    states: dict[str, int] = field(default_factory=dict)

    @property
    def jobs(self) -> JobQuerySet:
        """The jobs it would act on, as far as they still match."""
        return _match(router.db_for_write(Job), self)

    def find_sample(self) -> list[Job]:
        """A few of them, newest first, without their workspaces."""
        found = self.jobs.order_by("-pk").only(*EXPLAINED, *SAMPLED)[: SAMPLE * 3]
        return [job for job in found if conditions.is_visible(job, self.criteria)][:SAMPLE]

    def count(self) -> Proposal:
        """The same proposal with a count, up to COUNT_MAX.

        A search in the text of errors is not counted: the number would tell what is masked there.
        """
        if conditions.asks_for_text(self.criteria):
            return self
        dialect = get_dialect(router.db_for_write(Job))
        rows, parameters = dialect.compile(self.jobs.order_by().values("state")[: COUNT_MAX + 1])
        statement = f"SELECT state, COUNT(*) FROM ({rows}) matching GROUP BY state"  # noqa: S608
        states = dict(dialect.execute(statement, parameters))
        matched = sum(states.values())
        return replace(self, matched=min(matched, COUNT_MAX), is_at_least=matched > COUNT_MAX, states=states)

    def take_count(self, summary: Summary) -> Proposal:
        """The same proposal with the count of its summary, which need not be made again."""
        states: Counter[str] = Counter()
        for _, state, amount in summary.groups:
            states[state] += amount
        return replace(self, matched=summary.amount, is_at_least=summary.is_at_least, states=dict(states))

    @property
    def unsuitable(self) -> dict[str, int]:
        """Of those counted, how many are in a state that the verb will skip."""
        suitable = VERBS[self.verb].states
        return {state: n for state, n in self.states.items() if state not in suitable}

    @property
    def words(self) -> list[str]:
        """The criteria as phrases."""
        return conditions.describe(self.criteria)

    def pack(self, actor: Actor) -> str:
        """The proposal as signed text for a form; only the same actor can confirm it."""
        content = {
            "actor": actor.id,
            "verb": self.verb,
            "criteria": self.criteria,
            "as_of": self.as_of.isoformat(),
            "upper_bound": str(self.upper_bound),
            "filters": self.filters,
            "options": self.options,
            "matched": self.matched,
            "is_at_least": self.is_at_least,
            "states": self.states,
        }
        return signing.dumps(content, salt=SALT, compress=True)

    @classmethod
    def unpack(cls, text: str, actor: Actor) -> Proposal:
        """The proposal that was packed for this actor; raise InvalidCriteria for any other text."""
        try:
            content = signing.loads(text, salt=SALT, max_age=PROPOSAL_MAX_AGE)
        except signing.SignatureExpired:
            raise InvalidCriteria("This confirmation is too old; look at the jobs again.") from None
        except signing.BadSignature:
            raise InvalidCriteria("This confirmation was not made by this console.") from None
        if content.pop("actor") != actor.id:
            raise InvalidCriteria("This confirmation was made for another account.")
        content["as_of"] = datetime.fromisoformat(content["as_of"])
        content["upper_bound"] = UUID(content["upper_bound"])
        return cls(**content)


def propose(
    verb: str,
    criteria: Any = (),
    *,
    ids: Iterable[UUID] | None = None,
    filters: str = "",
    count: bool = True,
    **options: Any,
) -> Proposal:
    """Look at what a bulk act would do; nothing is changed.

    Args:
        verb: one of dbq.verbs whose `is_bulk` is set.
        criteria: which jobs (see dbq.criteria); raises InvalidCriteria for what is not offered.
        ids: only these, ticked ones.
        filters: the query string under which the job list shows them.
        count: whether to count them at once; `Proposal.count` does it later.
    """
    if verb not in VERBS or not VERBS[verb].is_bulk:
        raise InvalidCriteria(f'"{verb[:50]}" cannot be done to many jobs.')
    criteria = list(criteria)
    if ids is not None:
        criteria.append(["id", "in", sorted(set(ids))])
    alias = router.db_for_write(Job)
    proposal = Proposal(
        verb=verb,
        criteria=conditions.check(criteria),
        as_of=get_dialect(alias).read_clock(),
        upper_bound=uuid7(),
        filters=filters,
        options=options,
    )
    return proposal.count() if count else proposal


def propose_cleanup(
    hours: float,
    queue_names: Sequence[str] = (),
    states: Sequence[str] = (),
    *,
    count: bool = True,
) -> Proposal:
    """Look at what deleting old finished jobs would delete.

    Args:
        hours: finished jobs that were created longer ago than this.
        queue_names, states: only of these; empty for all.
        count: see `propose`.
    """
    criteria = describe_old(hours, queue_names, states)
    return propose("cleanup", criteria, count=count, hours=hours)


def describe_old(hours: float, queue_names: Sequence[str] = (), states: Sequence[str] = ()) -> list[Any]:
    """The criteria of old finished jobs; raise InvalidCriteria for states that are not finished."""
    wanted = [str(state) for state in states or FINISHED]
    if not set(wanted) <= set(FINISHED):
        raise InvalidCriteria("Only finished jobs are cleaned up.")
    now = get_dialect(router.db_for_write(Job)).read_clock()
    criteria: list[Any] = [
        ["state", "in", wanted],
        ["created", "lt", now - timedelta(hours=hours)],
    ]
    if queue_names:
        criteria.append(["queue_name", "in", list(queue_names)])
    return conditions.check(criteria)


@dataclass(frozen=True)
class Summary:
    """What a set of jobs is made of."""

    # (queue name, state, amount), the largest first.
    groups: list[tuple[str, str, int]]
    amount: int
    oldest: datetime | None
    newest: datetime | None
    # Only the oldest jobs of that age were looked at; there are more.
    is_at_least: bool


def summarize(proposal: Proposal) -> Summary:
    """How many by queue and state, and the oldest and newest, among the SUMMARY_MAX oldest finished jobs.

    Of a clean-up: it may choose queues and states, and be older than something. The choice is made of
    those that were looked at, as a queue of few jobs would otherwise be searched for among millions.
    """
    alias = router.db_for_write(Job)
    dialect = get_dialect(alias)
    # Nothing has ended since the proposal was made, a moment ago; not to ask lets an index answer.
    jobs = Job.objects.using(alias).filter(lane=Lane.FINISHED, pk__lte=proposal.upper_bound)
    jobs = conditions.apply(jobs, [one for one in proposal.criteria if one[0] == "created"])
    first = jobs.order_by("created").values("queue_name", "state", "created")[: SUMMARY_MAX + 1]
    rows, parameters = dialect.compile(first)
    statement = (
        "SELECT queue_name, state, COUNT(*), MIN(created), MAX(created)"  # noqa: S608
        f" FROM ({rows}) oldest GROUP BY queue_name, state ORDER BY 3 DESC, 1, 2"
    )
    looked_at = dialect.execute(statement, parameters)
    chosen = {name: values for name, lookup, values in proposal.criteria if lookup == "in"}
    found = [
        row
        for row in looked_at
        if row[0] in chosen.get("queue_name", [row[0]]) and row[1] in chosen.get("state", [row[1]])
    ]
    return Summary(
        groups=[tuple(row[:3]) for row in found],
        amount=min(sum(row[2] for row in found), SUMMARY_MAX),
        oldest=min((dialect.read_moment(row[3]) for row in found), default=None),
        newest=max((dialect.read_moment(row[4]) for row in found), default=None),
        is_at_least=sum(row[2] for row in looked_at) > SUMMARY_MAX,
    )


def _match(alias: str, source: Proposal | Operation) -> JobQuerySet:
    """The jobs of a confirmed set that still match."""
    jobs = Job.objects.using(alias).filter(pk__lte=source.upper_bound)
    jobs = jobs.filter(Q(finished__isnull=True) | Q(finished__lte=source.as_of))
    return conditions.apply(jobs, source.criteria)


# Confirmed


def start(actor: Actor, proposal: Proposal, *, reason: str = "") -> Operation:
    """Confirm a proposal: make the operation that workers carry out, its set frozen.

    The permission is the caller's to check, again. A set that fits into one chunk is acted on at
    once.
    """
    alias = router.db_for_write(Job)

    def confirm() -> Operation:
        with get_dialect(alias).write():
            return _make_operation(alias, actor, proposal, reason)

    operation = run_again_if_passing(alias, confirm)
    if operation.matched is None or operation.matched <= CHUNK:
        run_to_end(operation, seconds=AT_ONCE_SECONDS)
        operation.refresh_from_db()
    return operation


def _make_operation(alias: str, actor: Actor, proposal: Proposal, reason: str) -> Operation:
    ids = _freeze(proposal)
    return Operation.objects.using(alias).create(
        created=get_dialect(alias).read_clock(),
        actor_id=actor.id,
        actor_name=actor.name,
        verb=proposal.verb,
        filters=proposal.filters,
        options=proposal.options,
        reason=reason[:REASON_MAX_LENGTH],
        state=Operation.State.RUNNING,
        criteria=proposal.criteria,
        job_ids=ids,
        as_of=proposal.as_of,
        upper_bound=proposal.upper_bound,
        matched=proposal.matched if ids is None else len(ids),
        is_at_least=proposal.is_at_least if ids is None else False,
    )


def _freeze(proposal: Proposal) -> list[str] | None:
    """The ids of the set, in order; None if there are too many to remember."""
    ticked = [value for name, _, value in proposal.criteria if name == "id"]
    if ticked:
        # Those that do not match any more are acted on too, so that they are reported.
        return sorted(set.intersection(*map(_as_set, ticked)))
    if proposal.matched is None or proposal.is_at_least or proposal.matched > FREEZE_MAX:
        return None
    ids = list(proposal.jobs.order_by("pk").values_list("pk", flat=True)[: FREEZE_MAX + 1])
    return None if len(ids) > FREEZE_MAX else [str(pk) for pk in ids]


def _as_set(value: Any) -> set[str]:
    return set(value) if isinstance(value, list) else {value}


def stop(actor: Actor, operation: Operation, *, reason: str = "") -> Operation:
    """End a running operation after its current chunk; what it has done stays done."""
    alias = router.db_for_write(Job)

    def halt() -> Operation:
        with get_dialect(alias).write():
            return _stop(alias, actor, operation, reason)

    return run_again_if_passing(alias, halt)


def _stop(alias: str, actor: Actor, operation: Operation, reason: str) -> Operation:
    running = _running(alias).filter(pk=operation.pk)
    now = get_dialect(alias).read_clock()
    message = f"Stopped by {actor.name}." + (f" {reason}" if reason else "")
    if running.update(state=Operation.State.STOPPED, finished=now, message=message):
        state, answer = Operation.State.DONE, "Stopped; what it has done stays done."
    else:
        state, answer = Operation.State.REFUSED, "The operation was not running any more."
    return record(alias, actor, "stop_operation", operation, reason, {}, state, answer)


# In chunks


def run_for(alias: str, seconds: float = SLICE_SECONDS) -> int:
    """Do chunks of whatever operations run, until the time is over; return how many."""
    if not get_dialect(alias).ask(find_running):
        return 0
    deadline = time.monotonic() + seconds
    chunks = 0
    while run_again_if_passing(alias, lambda: run_chunk(alias)) is not None:
        chunks += 1
        if time.monotonic() >= deadline:
            break
    return chunks


def run_to_end(operation: Operation, seconds: float = float("inf")) -> None:
    """Do chunks of this operation until it ends, is stopped, or the time is over."""
    alias = router.db_for_write(Job)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if run_again_if_passing(alias, lambda: run_chunk(alias, operation.pk)) is None:
            return


def run_chunk(alias: str, pk: int | None = None) -> Operation | None:
    """Do the next chunk of a running operation, of this one if given; None if there is none to do.

    Safe to call from anywhere at any time: an operation that another process has in hand is passed
    over.
    """
    waiting = _running(alias) if pk is None else _running(alias).filter(pk=pk)
    turns = waiting.order_by(F("progressed").asc(nulls_first=True), "pk")
    for candidate in list(turns.values_list("pk", flat=True)[:20]):
        with get_dialect(alias).write():
            row = _running(alias).filter(pk=candidate).select_for_update(skip_locked=True)
            operation = row.first()
            if operation is not None:
                _advance_or_give_up(get_dialect(alias), operation)
                return operation
    return None


@question
def find_running(alias: str) -> QuerySet:
    """One of the operations that run: the question before `run_for` does anything."""
    return _running(alias).order_by().values_list("pk")[:1]


def _running(alias: str) -> QuerySet:
    return Operation.objects.using(alias).filter(state=Operation.State.RUNNING)


def _advance_or_give_up(dialect: Dialect, operation: Operation) -> None:
    try:
        with transaction.atomic(using=dialect.alias):
            _advance(dialect, operation)
    except (OperationalError, InterfaceError):
        # Of the connection, or a race that was lost: the next turn begins where this one did.
        raise
    except Exception as error:
        # It would be so again, every half second; better seen by an operator than by a log.
        logger.exception("The operation %s is stopped by an error.", operation.pk)
        operation.state = Operation.State.STOPPED
        operation.finished = dialect.read_clock()
        operation.message = f"Stopped by an error: {type(error).__name__}: {mask_text(str(error)[:500])}"
        operation.save(update_fields=("state", "finished", "message"))


def _advance(dialect: Dialect, operation: Operation) -> None:
    ids, is_last = _find_next(dialect, operation)
    _act_on(dialect, operation, ids)
    operation.progressed = dialect.read_clock()
    if is_last:
        operation.state = Operation.State.DONE
        operation.finished = operation.progressed
        operation.message = _tell_leftover(operation)
    operation.save(
        update_fields=(
            "cursor",
            "done",
            "failed",
            "finished",
            "message",
            "progressed",
            "skipped",
            "state",
        )
    )


def _find_next(dialect: Dialect, operation: Operation) -> tuple[list[UUID], bool]:
    """The ids of the next chunk, and whether it is the last; moves the cursor behind it."""
    if operation.job_ids is None:
        return _find_in_window(dialect, operation)
    left = [UUID(pk) for pk in operation.job_ids]
    if operation.cursor is not None:
        left = [pk for pk in left if pk > operation.cursor]
    ids = left[:CHUNK]
    if ids:
        operation.cursor = ids[-1]
    return ids, len(left) <= CHUNK


def _find_in_window(dialect: Dialect, operation: Operation) -> tuple[list[UUID], bool]:
    ahead = Job.objects.using(dialect.alias).filter(pk__lte=operation.upper_bound)
    matching = _match(dialect.alias, operation)
    if operation.cursor is not None:
        ahead = ahead.filter(pk__gt=operation.cursor)
        matching = matching.filter(pk__gt=operation.cursor)
    edge = ahead.order_by("pk").values_list("pk", flat=True)[WINDOW - 1 : WINDOW].first()
    end = edge or operation.upper_bound
    ids = list(matching.filter(pk__lte=end).order_by("pk").values_list("pk", flat=True)[:CHUNK])
    is_full = len(ids) == CHUNK
    operation.cursor = ids[-1] if is_full else end
    return _keep_visible(operation, matching, ids), edge is None and not is_full


def _keep_visible(operation: Operation, matching: JobQuerySet, ids: list[UUID]) -> list[UUID]:
    """Without the jobs whose error has the text that was searched for only where it is masked."""
    if not ids or not conditions.asks_for_text(operation.criteria):
        return ids
    found = matching.filter(pk__in=ids).order_by("pk").only("id", "error_message")
    return [job.pk for job in found if conditions.is_visible(job, operation.criteria)]


def _act_on(dialect: Dialect, operation: Operation, ids: list[UUID]) -> None:
    """Move a chunk of jobs and record what became of each."""
    if operation.verb == "cleanup" and _delete_all(dialect, operation, ids):
        operation.done += len(ids)
    else:
        _act_on_each(dialect, operation, ids)


class _Left(Exception):
    """Some of a chunk were not deleted."""


def _delete_all(dialect: Dialect, operation: Operation, ids: list[UUID]) -> bool:
    """Delete a chunk without a look at its jobs, unless one of them is left: then undo it all.

    A clean-up has millions to delete, and hardly ever a reason to give.
    """
    jobs = _match(dialect.alias, operation).filter(pk__in=ids)
    try:
        with transaction.atomic(using=dialect.alias):
            if ids and transitions.delete(jobs) < len(ids):
                raise _Left
    except (OperationalError, InterfaceError):
        raise
    except (_Left, DatabaseError, DbqError):
        return False
    return True


def _act_on_each(dialect: Dialect, operation: Operation, ids: list[UUID]) -> None:
    rows = Job.objects.using(dialect.alias).filter(pk__in=ids).only(*EXPLAINED)
    # Locked first, so that the reasons given are those that the guard saw.
    jobs = {job.pk: job for job in rows.select_for_update().order_by("pk")}
    failures = _move(dialect, operation, list(jobs))
    items: list[dict[str, Any]] = []
    for pk in ids:
        outcome, reason = _find_outcome(operation, pk, jobs.get(pk), failures)
        field_name = outcome.lower()
        setattr(operation, field_name, getattr(operation, field_name) + 1)
        # A clean-up deletes by the million, and nobody asks what became of one of them.
        if operation.verb != "cleanup" or outcome != OperationItem.Outcome.DONE:
            items.append(
                {
                    "operation_id": operation.pk,
                    "job_id": pk,
                    "outcome": str(outcome),
                    "reason": reason[:REASON_MAX_LENGTH],
                }
            )
    dialect.insert_rows(OperationItem, items)


def _find_outcome(
    operation: Operation, pk: UUID, job: Job | None, failures: dict[UUID, str | None]
) -> tuple[OperationItem.Outcome, str]:
    if job is None:
        return OperationItem.Outcome.SKIPPED, "The job does not exist any more."
    if pk not in failures:
        reason = explain(operation.verb, job) or "The job was changed after the confirmation."
        return OperationItem.Outcome.SKIPPED, reason
    failure = failures[pk]
    if failure is not None:
        return OperationItem.Outcome.FAILED, failure
    return OperationItem.Outcome.DONE, ""


def _move(dialect: Dialect, operation: Operation, ids: list[UUID]) -> dict[UUID, str | None]:
    """Act on jobs; return those that moved, and those that raised with what they raised."""
    if not ids:
        return {}
    jobs = _match(dialect.alias, operation)
    try:
        with transaction.atomic(using=dialect.alias):
            return dict.fromkeys(TRANSITIONS[operation.verb](jobs.filter(pk__in=ids)))
    except (OperationalError, InterfaceError):
        raise
    except (DatabaseError, DbqError):
        return _move_one_by_one(dialect, operation, jobs, ids)


def _move_one_by_one(
    dialect: Dialect, operation: Operation, jobs: JobQuerySet, ids: list[UUID]
) -> dict[UUID, str | None]:
    """One job of a chunk cannot be moved: find out which, and move the others."""
    results: dict[UUID, str | None] = {}
    for pk in ids:
        try:
            with transaction.atomic(using=dialect.alias):
                results |= dict.fromkeys(TRANSITIONS[operation.verb](jobs.filter(pk=pk)))
        except (OperationalError, InterfaceError):
            raise
        except (DatabaseError, DbqError) as error:
            results[pk] = f"{type(error).__name__}: {error}"
    return results


def _delete(jobs: JobQuerySet) -> list[UUID]:
    ids = list(jobs.order_by("pk").values_list("pk", flat=True))
    transitions.delete(jobs)
    left = set(Job.objects.using(jobs.db).filter(pk__in=ids).values_list("pk", flat=True))
    return [pk for pk in ids if pk not in left]


TRANSITIONS = {
    "retry": transitions.retry,
    "requeue": transitions.requeue,
    "cancel": transitions.cancel,
    "delete": _delete,
    "cleanup": _delete,
}


def _tell_leftover(operation: Operation) -> str:
    """What became of jobs that matched at the confirmation and were never met."""
    if operation.matched is None or operation.is_at_least or operation.seen >= operation.matched:
        return ""
    left = operation.matched - operation.seen
    return f"{left} of {operation.matched} did not match any more when their turn came."


# Who does it


def is_served(alias: str | None = None) -> bool:
    """Whether a worker lives that will do the chunks."""
    return Worker.objects.using(alias or router.db_for_write(Job)).alive().exists()


def delete_old_items(alias: str, days: int = ITEMS_KEPT_DAYS) -> int:
    """Forget what long finished operations did to each job; the operations themselves are kept."""
    if not get_dialect(alias).ask(find_item):
        return 0
    deleted = 0
    while removed := _delete_oldest_items(alias, days):
        deleted += removed
        if deleted >= ITEMS_PER_DUTY:
            break
    return deleted


@question
def find_item(alias: str) -> QuerySet:
    """One of the items: the question before `delete_old_items` does anything."""
    return OperationItem.objects.using(alias).order_by("pk").values_list("pk")[:1]


def _delete_oldest_items(alias: str, days: int) -> int:
    items = OperationItem.objects.using(alias)
    oldest = dict(items.order_by("pk").values_list("pk", "operation_id")[:1_000])
    ended = Operation.objects.using(alias).filter(
        pk__in=set(oldest.values()), finished__lt=DatabaseNow() - timedelta(days=days)
    )
    done = set(ended.values_list("pk", flat=True))
    doomed = [pk for pk, operation in oldest.items() if operation in done]
    return items.filter(pk__in=doomed)._raw_delete(alias) if doomed else 0

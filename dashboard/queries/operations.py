"""What operators did and do: the records, and what became of each job of a bulk act."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q, QuerySet
from django.utils.functional import cached_property

from dashboard.limits import TookTooLong, time_limit
from dashboard.numbers import Number, Quality
from dbq import criteria
from dbq.bulk import Proposal
from dbq.exceptions import InvalidCriteria
from dbq.models import Job, Operation, OperationItem
from dbq.verbs import VERBS

PAGE_SIZE = 50
ITEMS_PAGE_SIZE = 50
COUNT_SECONDS = 1.0
# What the lists show; the ids of a frozen set can be many.
LISTED_WITHOUT = ("job_ids",)


@dataclass(frozen=True)
class SeenProposal:
    """A proposal with as much as the database could say of it in time."""

    proposal: Proposal
    sample: list[Job] | None
    words: list[str]

    @property
    def number(self) -> Number | None:
        """How many jobs match; None if it took too long to count them."""
        if self.proposal.matched is None:
            return None
        quality = Quality.AT_LEAST if self.proposal.is_at_least else Quality.EXACT
        return Number(self.proposal.matched, quality)

    @property
    def suitable(self) -> int:
        """How many of those counted the verb can act on now."""
        return sum(self.proposal.states.values()) - sum(self.proposal.unsuitable.values())


def look_at(proposal: Proposal) -> SeenProposal:
    """Count and sample what a proposal means, each within a time limit."""
    counted, sample = proposal, None
    try:
        with time_limit(COUNT_SECONDS):
            counted = proposal.count()
    except TookTooLong:
        pass
    try:
        with time_limit(COUNT_SECONDS):
            sample = counted.find_sample()
    except TookTooLong:
        pass
    return SeenProposal(counted, sample, counted.words)


# The list


@dataclass
class Record:
    """An operation with the words for it."""

    operation: Operation

    @property
    def past(self) -> str:
        """What was done; a verb of a later version is shown as it is written."""
        verb = VERBS.get(self.operation.verb)
        return str(verb.past if self._is_done else verb.label) if verb else self.operation.verb

    @property
    def _is_done(self) -> bool:
        return self.operation.state == Operation.State.DONE

    @cached_property
    def words(self) -> list[str]:
        """Which jobs were meant, as phrases; rows of another version may not be readable."""
        try:
            return criteria.describe(self.operation.criteria)
        except InvalidCriteria:
            return [str(self.operation.criteria)[:200]]

    @property
    def share(self) -> float | None:
        """How much of it is done, from 0 to 1; None if nobody knows how much there is."""
        operation = self.operation
        if operation.matched is None or operation.is_at_least:
            return None
        return min(1.0, operation.seen / operation.matched) if operation.matched else 1.0

    @property
    def matched(self) -> Number | None:
        if self.operation.matched is None:
            return None
        quality = Quality.AT_LEAST if self.operation.is_at_least else Quality.EXACT
        return Number(self.operation.matched, quality)


@dataclass(frozen=True)
class OperationPage:
    """One page of records, and where the pages beside it begin."""

    rows: list[Record] = field(default_factory=list)
    newer: int | None = None
    older: int | None = None


def find_operations(
    *,
    states: Iterable[str] = (),
    verb: str = "",
    actor: str = "",
    job_id: Any = None,
    before: int | None = None,
    after: int | None = None,
) -> OperationPage:
    """Records, the newest first: those before an id, or those after one."""
    found = Operation.objects.defer(*LISTED_WITHOUT)
    if states:
        found = found.filter(state__in=list(states))
    if verb:
        found = found.filter(verb=verb)
    if actor:
        found = found.filter(actor_name__icontains=actor)
    if job_id:
        among_others = OperationItem.objects.filter(job_id=job_id).values("operation")
        found = found.filter(Q(job_id=job_id) | Q(pk__in=among_others))
    if after is not None:
        rows = list(found.filter(pk__gt=after).order_by("pk")[: PAGE_SIZE + 1])
        return _make_page(rows[:PAGE_SIZE][::-1], has_newer=len(rows) > PAGE_SIZE, has_older=True)
    if before is not None:
        found = found.filter(pk__lt=before)
    rows = list(found.order_by("-pk")[: PAGE_SIZE + 1])
    return _make_page(rows[:PAGE_SIZE], has_newer=before is not None, has_older=len(rows) > PAGE_SIZE)


def _make_page(rows: list[Operation], *, has_newer: bool, has_older: bool) -> OperationPage:
    if not rows:
        return OperationPage()
    return OperationPage(
        [Record(row) for row in rows], rows[0].pk if has_newer else None, rows[-1].pk if has_older else None
    )


# One of them


def get_operation(pk: int) -> Operation | None:
    """An operation without the ids of its frozen set, which can be many."""
    return Operation.objects.defer(*LISTED_WITHOUT).filter(pk=pk).first()


@dataclass(frozen=True)
class ItemPage:
    """One page of what became of the jobs, with their names where they still exist."""

    rows: list[tuple[OperationItem, Job | None]]
    next: int | None


def find_items(operation: Operation, *, outcome: str = "", after: int = 0) -> ItemPage:
    """What became of the jobs, in the order in which it did."""
    items: QuerySet = operation.items.filter(pk__gt=after).order_by("pk")
    if outcome:
        items = items.filter(outcome=outcome)
    found = list(items[: ITEMS_PAGE_SIZE + 1])
    shown = found[:ITEMS_PAGE_SIZE]
    jobs = Job.objects.only("id", "name", "queue_name", "state").in_bulk([item.job_id for item in shown])
    rows = [(item, jobs.get(item.job_id)) for item in shown]
    return ItemPage(rows, shown[-1].pk if len(found) > len(shown) else None)

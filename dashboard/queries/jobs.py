"""The jobs of the list: found along an index, a page at a time, without workspaces and tracebacks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.utils.functional import cached_property

from dashboard.filters import JobFilter
from dashboard.limits import SECONDS, TookTooLong, time_limit
from dashboard.numbers import Number
from dashboard.paging import WINDOW, Key, Keys, Leg, Page, find_page
from dashboard.snapshots import shared
from dbq.criteria import Criteria, apply
from dbq.identifiers import uuid7_floor
from dbq.masking import mask_text
from dbq.models import Job, Queue, Worker
from dbq.querysets import JobQuerySet
from dbq.states import FINISHED, Lane, State

PAGE_SIZE = 30
COUNT_MAX = 10_000
COUNT_SECONDS = 0.5
SUGGESTIONS_MAX = 100
SUGGESTIONS_SECONDS = 10
# Narrower windows where each row costs more to look at.
COSTLY_WINDOW = 1_000
COSTLY = ("workspace", "error_message")

LISTED = (
    "id",
    "name",
    "queue_name",
    "state",
    "lane",
    "priority",
    "run_after",
    "next_task",
    "attempt",
    "worker_id",
    "cancel_requested",
    "progress",
    "error_type",
    "error_message",
    "unique_key",
    "created",
    "enqueued",
    "started",
    "finished",
    "version",
)

ORDERS: dict[str, Keys] = {
    "-created": (Key("id", is_descending=True),),
    "created": (Key("id"),),
    "-finished": (Key("finished", is_descending=True), Key("id", is_descending=True)),
    "finished": (Key("finished"), Key("id")),
    "priority": (Key("priority", is_descending=True), Key("id")),
    "due": (Key("run_after"), Key("id")),
}
# What the indexes of finished jobs know beside their order.
FINISHED_INDEXES = {
    State.COMPLETED: {"state", "finished"},
    State.FAILED: {"state", "finished", "fingerprint"},
    State.CANCELLED: {"state", "finished"},
}
# The states of what waits; others are of another lane.
WAITING = {State.NEW, State.READY}
# How far a time may be from what its id says: ids know microseconds, their floors milliseconds.
SLACK = timedelta(milliseconds=1)


class JobSearch:
    """One filter and order over the jobs, and the way to walk it."""

    def __init__(
        self, job_filter: JobFilter, *, size: int = PAGE_SIZE, columns: Iterable[str] = LISTED
    ) -> None:
        self.filter = job_filter
        self.size = size
        self.columns = tuple(columns)
        self.criteria: Criteria = job_filter.criteria
        self.fields = {field for field, _, _ in self.criteria}
        self.order = self._choose_order()

    def _choose_order(self) -> str:
        order = self.filter.order
        if self.filter.has_own_order:
            return order
        return "-finished" if "finished" in self.fields else order

    @property
    def keys(self) -> Keys:
        return ORDERS[self.order]

    def find_page(self, *, after: str = "", before: str = "", seconds: float = SECONDS) -> Page:
        """One page of it, each statement in so many seconds; raises TookTooLong."""
        if not self.filter.is_valid():
            return Page(is_whole=True)
        with time_limit(seconds):
            page = find_page(self._make_legs(), self.keys, self.size, after=after, before=before)
        if "error_message" in self.fields:
            page.rows = list(self._keep_visible(page.rows))
        return page

    def _keep_visible(self, jobs: Iterable[Job]) -> Iterable[Job]:
        """The jobs whose error has the text where it is shown: what is masked gives no answer."""
        text = self.filter.form.cleaned_data["error"].casefold()
        return (job for job in jobs if text in mask_text(job.error_message).casefold())

    def count(self) -> Number | None:
        """How many match, counted up to a bound; None if that took too long."""
        if "error_message" in self.fields:
            return None
        if self._is_contradiction:
            return Number(0)
        try:
            with time_limit(COUNT_SECONDS):
                return Number.bounded(
                    self.filter.qs.filter(**self._limit_ids())
                    .order_by()
                    .values("pk")[: COUNT_MAX + 1]
                    .count(),
                    COUNT_MAX,
                )
        except TookTooLong:
            return None

    # Legs

    def _make_legs(self) -> list[Leg]:
        jobs = Job.objects.only(*self.columns)
        return [self._make_leg(jobs, *leg) for leg in self._list_legs()]

    def _list_legs(self) -> list[tuple[dict[str, Any], set[str]]]:
        """For each leg its conditions, and the fields that its index knows beside them."""
        if self._is_contradiction:
            return []
        if self.fields & {"id", "unique_key", "worker_id"}:
            # One job, or the few that a worker holds.
            lane = {"lane": Lane.RUNNING} if "worker_id" in self.fields else {}
            return [(lane, set(self.fields))]
        if self.order in ("-finished", "finished"):
            return [
                ({"lane": Lane.FINISHED, "state": state}, FINISHED_INDEXES[state])
                for state in FINISHED
                if not self.states or state in self.states
            ]
        if self.order in ("priority", "due"):
            return [self._list_leg_of_waiting()]
        if self.states == {State.PROCESSING}:
            return [({"lane": Lane.RUNNING}, set(self.fields))]
        if "created" in self.fields and self.states and self.states <= WAITING:
            # However old they are: the few lanes' indexes have no finished jobs to wade through.
            return [({"lane": lane}, set(self.fields)) for lane in (Lane.CLAIMABLE, Lane.WAITING)]
        return [(self._limit_ids(), {"created"})]

    def _list_leg_of_waiting(self) -> tuple[dict[str, Any], set[str]]:
        # These indexes do not know the state, but whoever asks for both need not be told.
        known = {"state", "lane"} if self.states >= WAITING else {"lane"}
        if self.order == "priority":
            return {"lane": Lane.CLAIMABLE}, {*known, "queue_name", "priority"}
        return {"lane": Lane.WAITING}, {*known, "run_after"}

    def _limit_ids(self) -> dict[str, Any]:
        """The ids of the time that is asked for: ids tell when they were made."""
        limits: dict[str, Any] = {}
        for field, lookup, value in self.criteria:
            if field == "created" and lookup == "gte":
                limits["id__gte"] = uuid7_floor(datetime.fromisoformat(value) - SLACK)
            elif field == "created":
                limits["id__lt"] = uuid7_floor(datetime.fromisoformat(value) + SLACK)
        return limits

    @property
    def _is_contradiction(self) -> bool:
        """Whether something due or scheduled is asked for, in a state that such jobs never have."""
        # A database would read the whole lane to say so.
        return "lane" in self.fields and bool(self.states) and not self.states & WAITING

    @cached_property
    def states(self) -> set[str]:
        return {value for field, _, values in self.criteria if field == "state" for value in values}

    def _make_leg(self, jobs: JobQuerySet, conditions: dict[str, Any], indexed: set[str]) -> Leg:
        leg = jobs.filter(**conditions)
        # Indexes of finished jobs have the id: what was made at another time is left out without reading it.
        made = leg.filter(**self._limit_ids()) if "finished" in indexed else leg
        matching = apply(made, [c for c in self.criteria if not self._is_said(c, conditions)])
        if self.fields <= indexed:
            return Leg(matching)
        walk = apply(leg, [c for c in self.criteria if c[0] in indexed and not self._is_said(c, conditions)])
        return Leg(matching, walk, COSTLY_WINDOW if self.fields & set(COSTLY) else WINDOW)

    @staticmethod
    def _is_said(criterion: list[Any], conditions: dict[str, Any]) -> bool:
        """Whether the leg's own conditions say it already, more narrowly."""
        return criterion[0] == "state" and "state" in conditions


@shared(SUGGESTIONS_SECONDS)
def list_queue_names() -> list[str]:
    """Names for a field's suggestions: of queues that workers serve or operators spoke of."""
    served = Worker.objects.values_list("queue_names", flat=True)[:SUGGESTIONS_MAX]
    known = Queue.objects.values_list("name", flat=True)[:SUGGESTIONS_MAX]
    return sorted({*known, *(name for names in served for name in names)})


@shared(SUGGESTIONS_SECONDS)
def list_worker_names() -> list[str]:
    return list(Worker.objects.alive().values_list("name", flat=True)[:SUGGESTIONS_MAX])

"""One report a queue: what waits, runs and ended, how fast, who serves it, and whether that is well."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import get_language

from dashboard.limits import time_limit
from dashboard.looks import SCHEDULED, STATES
from dashboard.numbers import Number
from dashboard.queries import health
from dashboard.queries.live import LiveCounts, count_live
from dashboard.queries.rates import QueueRates, read_rates
from dashboard.queries.workers import list_serving
from dashboard.snapshots import shared
from dbq.counts import get_finished_totals
from dbq.models import Queue, Worker
from dbq.states import State

# The states in the order in which a job passes through them, and where a report has their number.
COLUMNS = {
    State.NEW: "new",
    State.READY: "ready",
    SCHEDULED: "scheduled",
    State.PROCESSING: "processing",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}


def make_filters(state: str, queue_name: str = "") -> str:
    """The query string under which the job list shows a state, of one queue or of all."""
    if state == SCHEDULED:
        pairs = {"when": "scheduled"}
    else:
        pairs = {"state": str(state)}
        if state in (State.NEW, State.READY):
            pairs["when"] = "due"
    return urlencode(pairs | ({"queue": queue_name} if queue_name else {}))


@dataclass(frozen=True)
class StateCount:
    """How many jobs of a queue are in one state, in words; the filters that show them, if there are any."""

    word: str
    tone: str
    text: str
    explanation: str
    quality: str
    filters: str


def _make_count(state: str, number: Number, queue_name: str) -> StateCount:
    look = STATES[state]
    filters = make_filters(state, queue_name) if number.value else ""
    return StateCount(
        str(look.word), look.tone, str(number), number.explanation, number.quality.value, filters
    )


@dataclass
class QueueReport:
    """All an operator sees of one queue."""

    name: str
    live: LiveCounts
    completed: Number
    failed: Number
    cancelled: Number
    rates: QueueRates
    workers: list[Worker]
    # Threads of its workers that run jobs, of this queue or of another.
    busy: int
    pause: Queue | None
    light: str = "good"
    reasons: list[str] = field(default_factory=list)

    # What it counts

    @property
    def new(self) -> Number:
        return self.live.new

    @property
    def ready(self) -> Number:
        return self.live.ready

    @property
    def scheduled(self) -> Number:
        return self.live.scheduled

    @property
    def processing(self) -> Number:
        return self.live.processing

    @property
    def due(self) -> Number:
        return self.live.due

    @property
    def orphaned(self) -> int:
        return self.live.orphaned

    @property
    def oldest(self) -> datetime | None:
        return self.live.oldest

    @property
    def threads(self) -> int:
        return sum(worker.threads for worker in self.workers)

    @property
    def has_waiting(self) -> bool:
        return bool(self.due or self.scheduled)

    @property
    def waiting_filters(self) -> str:
        """The query string under which the job list shows all that waits, scheduled jobs too."""
        pairs = [("state", State.NEW), ("state", State.READY), ("queue", self.name)]
        return urlencode([(name, str(value)) for name, value in pairs])

    @property
    def inflow(self) -> float:
        return self.rates.get_inflow(self.live.fresh)

    @property
    def outflow(self) -> float:
        return self.rates.get_outflow()

    @property
    def drain_seconds(self) -> float | None:
        """How long the queue takes to empty at the pace of the last minutes; None if it does not."""
        pace = self.outflow - self.inflow
        return float(self.due.value) / pace * 60 if self.due and pace > 0 else None

    @property
    def drain(self) -> str:
        """What becomes of the jobs that wait: empty, paused, draining, standing or growing."""
        if not self.due:
            return "empty"
        if self.pause is not None:
            return "paused"
        if self.outflow == 0:
            return "standing"
        return "draining" if self.drain_seconds is not None else "growing"

    @cached_property
    def counts(self) -> list[StateCount]:
        """The jobs in each state, as a cell shows them."""
        return [_make_count(state, getattr(self, column), self.name) for state, column in COLUMNS.items()]


@dataclass(frozen=True)
class QueuesReport:
    """Every queue, and how old the shared part of the figures is."""

    queues: list[QueueReport]
    rates_age: float
    age: float = 0
    drawn: dict[tuple, str] = field(default_factory=dict)

    @property
    def troubled(self) -> list[QueueReport]:
        found = [queue for queue in self.queues if queue.light in ("warning", "alarm")]
        return sorted(found, key=lambda queue: (-health.LEVELS.index(queue.light), -queue.due.value))

    @property
    def light(self) -> str:
        return health.find_worst([queue.light for queue in self.queues if queue.light != "paused"])

    def pick_foremost(self, amount: int) -> list[QueueReport]:
        """All by name if they are that few; else those that need a look, then the fullest."""
        if len(self.queues) <= amount:
            return self.queues
        fullest = sorted(self.queues, key=lambda queue: (-queue.due.value, -queue.processing.value))
        foremost = dict.fromkeys(queue.name for queue in [*self.troubled, *fullest])
        by_name = {queue.name: queue for queue in self.queues}
        return [by_name[name] for name in list(foremost)[:amount]]

    def find_page(self, text: str, number: int, amount: int) -> QueuePage:
        """The queues whose names have a text, by name, so many a page."""
        found = [queue for queue in self.queues if text.casefold() in queue.name.casefold()]
        last = max(1, -(-len(found) // amount))
        number = min(max(1, number), last)
        return QueuePage(found[(number - 1) * amount : number * amount], len(found), number, last)


@dataclass(frozen=True)
class QueuePage:
    """Some of the queues, and where among the others they stand."""

    queues: list[QueueReport]
    found: int
    number: int
    last: int

    @property
    def previous(self) -> int | None:
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        return self.number + 1 if self.number < self.last else None


def report_queues(alias: str = "default", age: float = 0) -> QueuesReport:
    """Report on every queue that has jobs, had any, is paused or is served.

    A report that somebody else was given will do if it is younger than `age` seconds.
    """
    snapshot = _report_queues.within(age, alias, get_language())
    report: QueuesReport = snapshot.value
    rates_age = report.rates_age + snapshot.age
    return replace(report, age=snapshot.age, rates_age=rates_age, drawn=snapshot.drawn)


@shared(0)
def _report_queues(alias: str, language: str) -> QueuesReport:
    with time_limit(alias=alias):
        return _make_report(alias)


def _make_report(alias: str) -> QueuesReport:
    now = timezone.now()
    live = count_live(alias).value
    totals = get_finished_totals(alias)
    pauses = {queue.name: queue for queue in Queue.objects.using(alias).paused()}
    serving = list_serving(alias)
    rates = read_rates(alias)
    held = _add_up_held(live)
    names = {*live, *pauses, *serving, *rates.value, *(queue_name for queue_name, _ in totals)}
    reports = []
    for name in sorted(names):
        counts = live.get(name) or LiveCounts()
        report = QueueReport(
            name=name,
            live=counts,
            completed=Number(totals.get((name, State.COMPLETED), 0)),
            failed=Number(totals.get((name, State.FAILED), 0)),
            cancelled=Number(totals.get((name, State.CANCELLED), 0)),
            rates=rates.value.get(name) or QueueRates(),
            workers=serving.get(name, []),
            busy=sum(min(held[worker.pk], worker.threads) for worker in serving.get(name, ())),
            pause=pauses.get(name),
        )
        report.light, report.reasons = health.judge(report, now)
        reports.append(report)
    return QueuesReport(reports, rates.age)


def _add_up_held(live: dict[str, LiveCounts]) -> Counter[int]:
    """How many jobs each worker holds, of all queues."""
    held: Counter[int] = Counter()
    for counts in live.values():
        held.update(counts.held)
    return held

"""What the last hour was like, by queue: read from the roll-ups, shared for a few seconds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from dashboard.limits import time_limit
from dashboard.snapshots import shared
from dbq import histograms
from dbq.models import Rollup, RollupDelta

MINUTES = 60
# Rates per minute are means of these last minutes; the current, unfinished one is left out of bars only.
RATE_MINUTES = 10
SHARED_SECONDS = 10
# Rows whose histograms are merged; beyond it the percentiles are of the newest part of the hour.
HISTOGRAMS_MAX = 3_000
TABLES = (Rollup, RollupDelta)


@dataclass(frozen=True)
class Spread:
    """How long most of many took, in seconds: half of them, 95 and 99 of 100 took no longer."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None

    @classmethod
    def of(cls, histogram: histograms.Histogram) -> Spread:
        return cls(*(histograms.find_quantile(histogram, share) for share in (0.5, 0.95, 0.99)))


@dataclass
class QueueRates:
    """One queue's last hour; "lately" is its last minutes."""

    completed: int = 0
    failed: int = 0
    created_lately: int = 0
    # One way or another.
    left_lately: int = 0
    wait: Spread = Spread()
    run: Spread = Spread()

    @property
    def ended(self) -> int:
        return self.completed + self.failed

    @property
    def failed_share(self) -> float:
        return self.failed / self.ended if self.ended else 0.0

    def get_outflow(self) -> float:
        """Jobs a minute that ended, one way or another, in the last minutes."""
        return self.left_lately / RATE_MINUTES

    def get_inflow(self, unclaimed: int) -> float:
        """Jobs a minute that were made, those nobody has claimed yet included."""
        return (self.created_lately + unclaimed) / RATE_MINUTES


@shared(SHARED_SECONDS)
def read_rates(alias: str = "default") -> dict[str, QueueRates]:
    """The last hour of every queue that had one."""
    now = timezone.now().replace(second=0, microsecond=0)
    since = now - timedelta(minutes=MINUTES - 1)
    rates: defaultdict[str, QueueRates] = defaultdict(QueueRates)
    # Added up by the database: of two hundred queues, reading each minute took most of the overview's time.
    for name, completed, failed, created, *left in _sum_hour(alias, now):
        of_queue = rates[name]
        of_queue.completed += completed
        of_queue.failed += failed
        of_queue.created_lately += created or 0
        of_queue.left_lately += sum(filter(None, left))
    _add_percentiles(alias, since, rates)
    return dict(rates)


def _sum_hour(alias: str, now: datetime) -> QuerySet:
    lately = Q(minute__gt=now - timedelta(minutes=RATE_MINUTES))
    sums = {"all_completed": Sum("completed"), "all_failed": Sum("failed")}
    sums |= {
        f"late_{name}": Sum(name, filter=lately) for name in ("created", "completed", "failed", "cancelled")
    }
    parts = [_find_hour(model, alias, now).values_list("queue_name").annotate(**sums) for model in TABLES]
    return parts[0].union(parts[1], all=True)


@dataclass
class Hour:
    """Finished jobs by minute, the oldest first, the current minute last."""

    completed: list[int] = field(default_factory=lambda: [0] * MINUTES)
    failed: list[int] = field(default_factory=lambda: [0] * MINUTES)


@shared(SHARED_SECONDS)
def read_hours(names: tuple[str, ...], alias: str = "default") -> dict[str, Hour]:
    """The last hour of some queues, minute by minute; raises TookTooLong."""
    now = timezone.now().replace(second=0, microsecond=0)
    since = now - timedelta(minutes=MINUTES - 1)
    hours: defaultdict[str, Hour] = defaultdict(Hour)
    with time_limit(alias=alias):
        for name, minute, completed, failed in _sum_minutes(alias, now, names):
            place = int((minute - since).total_seconds() // 60)
            if 0 <= place < MINUTES:
                hours[name].completed[place] += completed
                hours[name].failed[place] += failed
    return dict(hours)


def _sum_minutes(alias: str, now: datetime, names: tuple[str, ...]) -> QuerySet:
    parts = [
        _find_hour(model, alias, now)
        .filter(queue_name__in=names)
        .values_list("queue_name", "minute")
        .annotate(all_completed=Sum("completed"), all_failed=Sum("failed"))
        for model in TABLES
    ]
    return parts[0].union(parts[1], all=True)


def _find_hour(model: type[Rollup] | type[RollupDelta], alias: str, now: datetime) -> QuerySet:
    since = now - timedelta(minutes=MINUTES - 1)
    return model.objects.using(alias).filter(minute__gte=since).order_by()


def _add_percentiles(alias: str, since: datetime, rates: dict[str, QueueRates]) -> None:
    waits: defaultdict[str, histograms.Histogram] = defaultdict(dict)
    runs: defaultdict[str, histograms.Histogram] = defaultdict(dict)
    for model in TABLES:
        newest = model.objects.using(alias).filter(minute__gte=since).order_by("-minute")
        columns = newest.values_list("queue_name", "waits", "runs")
        for queue_name, row_waits, row_runs in columns[:HISTOGRAMS_MAX]:
            histograms.merge(waits[queue_name], row_waits)
            histograms.merge(runs[queue_name], row_runs)
    for queue_name, queue_rates in rates.items():
        queue_rates.wait = Spread.of(waits[queue_name])
        queue_rates.run = Spread.of(runs[queue_name])

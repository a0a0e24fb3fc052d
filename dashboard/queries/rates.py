"""What the last hour was like, by queue: read from the roll-ups, shared for a few seconds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import QuerySet, Sum
from django.utils import timezone

from dashboard.snapshots import shared
from dbq import histograms
from dbq.models import Rollup, RollupDelta

MINUTES = 60
# Rates per minute are means of these last minutes; the current, unfinished one is left out of bars only.
RATE_MINUTES = 10
SHARED_SECONDS = 10
# Rows whose histograms are merged; beyond it the percentiles are of the newest part of the hour.
HISTOGRAMS_MAX = 3_000
FIGURES = ("created", "completed", "failed", "cancelled", "retried")


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
    """One queue's last hour."""

    # Finished jobs by minute, the oldest first, the current minute last.
    completed: list[int] = field(default_factory=lambda: [0] * MINUTES)
    failed: list[int] = field(default_factory=lambda: [0] * MINUTES)
    created: list[int] = field(default_factory=lambda: [0] * MINUTES)
    left: list[int] = field(default_factory=lambda: [0] * MINUTES)
    wait: Spread = Spread()
    run: Spread = Spread()

    @property
    def ended(self) -> int:
        return sum(self.completed) + sum(self.failed)

    @property
    def failed_share(self) -> float:
        return sum(self.failed) / self.ended if self.ended else 0.0

    def get_outflow(self) -> float:
        """Jobs a minute that ended, one way or another, in the last minutes."""
        return sum(self.left[-RATE_MINUTES:]) / RATE_MINUTES

    def get_inflow(self, unclaimed: int) -> float:
        """Jobs a minute that were made, those nobody has claimed yet included."""
        return (sum(self.created[-RATE_MINUTES:]) + unclaimed) / RATE_MINUTES


@shared(SHARED_SECONDS)
def read_rates(alias: str = "default") -> dict[str, QueueRates]:
    """The last hour of every queue that had one."""
    now = timezone.now().replace(second=0, microsecond=0)
    since = now - timedelta(minutes=MINUTES - 1)
    rates: defaultdict[str, QueueRates] = defaultdict(QueueRates)
    for row in _sum_figures(alias, since):
        _add(rates[row["queue_name"]], since, row)
    _add_percentiles(alias, since, rates)
    return dict(rates)


def _sum_figures(alias: str, since: datetime) -> QuerySet:
    sums = {f"sum_{name}": Sum(name) for name in FIGURES}
    parts = [
        model.objects.using(alias)
        .filter(minute__gte=since)
        .order_by()
        .values("queue_name", "minute")
        .annotate(**sums)
        for model in (Rollup, RollupDelta)
    ]
    return parts[0].union(parts[1], all=True)


def _add(rates: QueueRates, since: datetime, row: dict) -> None:
    place = int((row["minute"] - since).total_seconds() // 60)
    if not 0 <= place < MINUTES:
        return
    rates.completed[place] += row["sum_completed"]
    rates.failed[place] += row["sum_failed"]
    rates.created[place] += row["sum_created"]
    rates.left[place] += row["sum_completed"] + row["sum_failed"] + row["sum_cancelled"]


def _add_percentiles(alias: str, since: datetime, rates: dict[str, QueueRates]) -> None:
    waits: defaultdict[str, histograms.Histogram] = defaultdict(dict)
    runs: defaultdict[str, histograms.Histogram] = defaultdict(dict)
    for model in (Rollup, RollupDelta):
        newest = model.objects.using(alias).filter(minute__gte=since).order_by("-minute")
        columns = newest.values_list("queue_name", "waits", "runs")
        for queue_name, row_waits, row_runs in columns[:HISTOGRAMS_MAX]:
            histograms.merge(waits[queue_name], row_waits)
            histograms.merge(runs[queue_name], row_runs)
    for queue_name, queue_rates in rates.items():
        queue_rates.wait = Spread.of(waits[queue_name])
        queue_rates.run = Spread.of(runs[queue_name])

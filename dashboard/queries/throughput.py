"""How many jobs ended, over time: minutes summed by the database, joined to buckets here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from django.db.models import QuerySet, Sum
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import cached_property
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _

from dashboard.limits import time_limit
from dashboard.snapshots import shared
from dbq.models import Rollup, RollupDelta


@dataclass(frozen=True)
class Range:
    """A stretch of time up to now, in buckets of equal length."""

    key: str
    label: object
    bucket: timedelta
    buckets: int
    # What the axis and the table write of a time.
    time_format: str
    shared_seconds: int

    @property
    def is_slow(self) -> bool:
        """Whether so many minutes are summed that a page should not wait for it."""
        return self.bucket * self.buckets > timedelta(hours=6)


RANGES = {
    choice.key: choice
    for choice in (
        Range("15m", gettext_lazy("15 min"), timedelta(minutes=1), 15, "H:i", 5),
        Range("1h", gettext_lazy("1 h"), timedelta(minutes=1), 60, "H:i", 5),
        Range("6h", gettext_lazy("6 h"), timedelta(minutes=5), 72, "H:i", 15),
        Range("24h", gettext_lazy("24 h"), timedelta(minutes=15), 96, "D H:i", 30),
        Range("7d", gettext_lazy("7 d"), timedelta(hours=2), 84, "D H:i", 60),
        Range("30d", gettext_lazy("30 d"), timedelta(hours=6), 120, "j M H:i", 120),
    )
}
DEFAULT = "1h"


@dataclass
class Bucket:
    """What ended in one stretch of time."""

    start: datetime
    end: datetime
    # The two ends in the words of the range.
    start_text: str = ""
    end_text: str = ""
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    @property
    def total(self) -> int:
        return self.completed + self.failed + self.cancelled

    @cached_property
    def text(self) -> str:
        """All of it in one line, for a bar's name and what is shown on hover."""
        parts = [f"{self.start_text} – {self.end_text}:"]
        parts.append(_("%(completed)s completed, %(failed)s failed") % vars(self))
        if self.cancelled:
            parts.append(_("%(cancelled)s cancelled") % vars(self))
        return " ".join(parts)

    @cached_property
    def filters(self) -> str:
        """The query string under which the job list shows the jobs that ended here."""
        return make_filters(self.start, self.end)


@dataclass(frozen=True)
class Throughput:
    range: Range
    queue_name: str
    buckets: list[Bucket]
    age: float
    drawn: dict[tuple, str]

    @property
    def completed(self) -> int:
        return sum(bucket.completed for bucket in self.buckets)

    @property
    def failed(self) -> int:
        return sum(bucket.failed for bucket in self.buckets)

    @property
    def cancelled(self) -> int:
        return sum(bucket.cancelled for bucket in self.buckets)


def make_filters(start: datetime, end: datetime) -> str:
    pairs = [("state", state) for state in ("COMPLETED", "FAILED", "CANCELLED")]
    return urlencode([*pairs, ("finished_after", start.isoformat()), ("finished_before", end.isoformat())])


def read_throughput(key: str, queue_name: str = "", alias: str = "default") -> Throughput:
    """The jobs that ended in a range of RANGES, shared and with its age."""
    choice = RANGES.get(key) or RANGES[DEFAULT]
    # Its times are written as this reader reads them.
    reader = (get_language(), timezone.get_current_timezone_name())
    snapshot = shared(choice.shared_seconds)(_read_buckets)(choice.key, queue_name, alias, reader)
    return Throughput(choice, queue_name, snapshot.value, snapshot.age, snapshot.drawn)


def _read_buckets(key: str, queue_name: str, alias: str, reader: tuple[str | None, str]) -> list[Bucket]:
    choice = RANGES[key]
    length = choice.bucket.total_seconds()
    end = (timezone.now().timestamp() // length + 1) * length
    first = datetime.fromtimestamp(end, UTC) - choice.bucket * choice.buckets
    edges = [first + choice.bucket * place for place in range(choice.buckets + 1)]
    texts = [date_format(timezone.localtime(edge), choice.time_format) for edge in edges]
    buckets = [
        Bucket(edges[place], edges[place + 1], texts[place], texts[place + 1])
        for place in range(choice.buckets)
    ]
    with time_limit(alias=alias):
        rows = list(_sum_figures(first, queue_name, alias))
    for row in rows:
        place = int((row["minute"] - first).total_seconds() // length)
        if 0 <= place < len(buckets):
            buckets[place].completed += row["sum_completed"]
            buckets[place].failed += row["sum_failed"]
            buckets[place].cancelled += row["sum_cancelled"]
    return buckets


def _sum_figures(since: datetime, queue_name: str, alias: str) -> QuerySet:
    # By minute: cutting times to a bucket's length in the database would cost more than it saves.
    chosen = {"queue_name": queue_name} if queue_name else {}
    parts = [
        model.objects.using(alias)
        .filter(minute__gte=since, **chosen)
        .order_by()
        .values("minute")
        .annotate(
            sum_completed=Sum("completed"),
            sum_failed=Sum("failed"),
            sum_cancelled=Sum("cancelled"),
        )
        for model in (Rollup, RollupDelta)
    ]
    return parts[0].union(parts[1], all=True)

"""Failed jobs in groups of one kind, made from the newest failures, whatever the table's size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone
from django.utils.functional import cached_property

from dashboard.charts import SPARK_HEIGHT, Chart, stack
from dashboard.limits import time_limit
from dashboard.paging import SEPARATOR, Key, Leg, find_page, read_moment, sort_rows
from dashboard.queries.jobs import COSTLY_WINDOW, ORDERS
from dashboard.snapshots import shared
from dbq.masking import mask_text
from dbq.models import Job
from dbq.states import Lane, State
from dbq.verbs import get_short_name

ROWS_MAX = 3_000
GROUPS_MAX = 30
BUCKETS = 24
READ = ("id", "fingerprint", "error_type", "name", "queue_name", "next_task", "finished")

PERIODS: dict[str, timedelta | None] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "all": None,
}
SORTS = ("count", "last", "first")


@dataclass
class Group:
    """Failures of one fingerprint."""

    fingerprint: str
    error_type: str
    newest: UUID
    last_seen: datetime
    first_seen: datetime
    count: int = 0
    names: Counter[str] = field(default_factory=Counter)
    queues: Counter[str] = field(default_factory=Counter)
    tasks: Counter[str] = field(default_factory=Counter)
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    example: Job | None = None

    @cached_property
    def spark(self) -> Chart:
        return stack([[("failed", amount)] for amount in self.buckets], SPARK_HEIGHT)

    @cached_property
    def message(self) -> str:
        return mask_text(self.example.error_message) if self.example else ""

    @cached_property
    def task_names(self) -> list[str]:
        return [get_short_name(task) for task, _ in self.tasks.most_common(3)]

    @cached_property
    def queue_names(self) -> list[tuple[str, int]]:
        return self.queues.most_common(3)

    @cached_property
    def job_names(self) -> list[tuple[str, int]]:
        return self.names.most_common(3)


@dataclass(frozen=True)
class Failures:
    groups: list[Group]
    # How many failed jobs they were made from, and whether there are older ones that were not looked at.
    looked_at: int
    is_cut: bool
    # With a queue or a name: from when on they were searched for, if that is not the whole period.
    searched_to: datetime | None
    # How many groups are not shown.
    left_out: int
    # From when to when the trends go.
    start: datetime
    end: datetime
    drawn: dict[tuple, str] = field(default_factory=dict)


def find_failures(period: str, sort: str, queue_name: str = "", name: str = "", age: float = 0) -> Failures:
    """The groups among the newest failures of a period; raises TookTooLong.

    Groups that were made for somebody else will do if they are younger than `age` seconds.
    """
    snapshot = _find_failures.within(age, period, sort, queue_name, name)
    return replace(snapshot.value, drawn=snapshot.drawn)


@shared(0)
def _find_failures(period: str, sort: str, queue_name: str, name: str) -> Failures:
    end = timezone.now()
    with time_limit():
        rows, searched_to = _find_failed(period, end, queue_name, name)
    is_cut = len(rows) > ROWS_MAX
    rows = rows[:ROWS_MAX]
    length = PERIODS[period]
    start = end - length if length else (rows[-1][-1] if rows else end - timedelta(hours=24))
    groups = list(_group(rows, start, end))
    shown = _sort(groups, sort)[:GROUPS_MAX]
    _add_examples(shown)
    return Failures(shown, len(rows), is_cut, searched_to, len(groups) - len(shown), start, end)


def _find_failed(
    period: str, now: datetime, queue_name: str, name: str
) -> tuple[list[tuple], datetime | None]:
    """The newest failures, and how far back they were searched for if not to the end of the period."""
    failed = Job.objects.filter(lane=Lane.FINISHED, state=State.FAILED)
    if length := PERIODS[period]:
        failed = failed.filter(finished__gte=now - length)
    chosen = {field: value for field, value in (("queue_name", queue_name), ("name", name)) if value}
    if not chosen:
        return list(failed.order_by("-finished").values_list(*READ)[: ROWS_MAX + 1]), None
    # No index knows the queue or the name of failures: they are searched for as the list of jobs does it.
    jobs = failed.only(*READ)
    page = find_page([Leg(jobs.filter(**chosen), jobs, COSTLY_WINDOW)], ORDERS["-finished"], ROWS_MAX + 1)
    rows = [tuple(getattr(job, column) for column in READ) for job in page.rows]
    edge = read_moment(page.next.partition(SEPARATOR)[0]) if page.is_partial else None
    return rows, edge


def _group(rows: Iterable[tuple], start: datetime, end: datetime) -> Iterable[Group]:
    groups: dict[str, Group] = {}
    width = max((end - start) / BUCKETS, timedelta(seconds=1))
    for pk, fingerprint, error_type, name, queue_name, task, finished in rows:
        group = groups.get(fingerprint)
        if group is None:
            # The newest comes first.
            group = groups[fingerprint] = Group(fingerprint, error_type, pk, finished, finished)
        group.count += 1
        group.first_seen = finished
        group.names[name] += 1
        group.queues[queue_name] += 1
        group.tasks[task] += 1
        group.buckets[max(0, min(BUCKETS - 1, int((finished - start) / width)))] += 1
    return groups.values()


def _sort(groups: list[Group], sort: str) -> list[Group]:
    names = {"count": "count", "last": "last_seen", "first": "first_seen"}
    return sort_rows(groups, (Key(names[sort], is_descending=True), Key("fingerprint")))


def _add_examples(groups: list[Group]) -> None:
    columns = ("id", "name", "queue_name", "state", "error_type", "error_message", "finished")
    newest = Job.objects.only(*columns).in_bulk([group.newest for group in groups])
    for group in groups:
        group.example = newest.get(group.newest)

"""Totals that are exact and cheap: deltas written with the change, folded in the background.

A Tally collects what one transaction does to jobs and writes it in that transaction, a few rows for
hundreds of jobs. Folding moves the deltas into the totals; a total is its row plus its deltas.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, connections
from django.db.models import DateTimeField, Model, QuerySet
from django.db.models.functions import ExtractMinute

from dbq import histograms
from dbq.dialects import Dialect, get_dialect
from dbq.dialects.base import Slot, question
from dbq.identifiers import EPOCH
from dbq.models.count import QueueCount, QueueCountDelta
from dbq.models.rollup import Figures, Rollup, RollupDelta
from dbq.states import Outcome, State

if TYPE_CHECKING:
    from dbq.models import Job
    from dbq.results import Result

FOLD_CHUNK = 1000
RECOUNT_TRIES = 20
FIGURES = ("created", "completed", "failed", "cancelled", "retried", "wait_seconds", "run_seconds")
HISTOGRAMS = ("waits", "runs")
COUNT_KEY = ("queue_name", "state")
ROLLUP_KEY = ("minute", "queue_name", "name")
ROLLUP_COLUMNS = ("id", *ROLLUP_KEY, *FIGURES, *HISTOGRAMS)
COLUMNS = {State.COMPLETED: "completed", State.FAILED: "failed", State.CANCELLED: "cancelled"}
# Charts of a day show minutes; those of weeks need no more than hours.
MINUTES_KEPT = timedelta(hours=25)


class Tally:
    """What one transaction does to finished totals and to the figures of the minute."""

    def __init__(self) -> None:
        self._states: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._figures: dict[tuple[int, str, str], dict[str, Any]] = {}
        # Of the last minute looked up: most of what a batch does falls into one.
        self._minute = 0
        self._minute_begins = self._minute_ends = EPOCH

    def claimed(self, jobs: list[Job], now: datetime) -> None:
        """Count how long jobs waited."""
        for job in jobs:
            figures = self._get_figures(now, job)
            wait = max(0.0, (now - job.enqueued).total_seconds())
            figures["wait_seconds"] += wait
            _count(figures["waits"], wait)
            self.touched(job)

    def touched(self, job: Job) -> None:
        """Count a job's making, in the minute it was made: once, when its fence first rises."""
        if job.fence == 1:
            self._get_figures(job.created, job)["created"] += 1

    def ended(self, results: list[Result]) -> None:
        """Count runs of tasks, and the jobs whose end they were."""
        for result in results:
            if result.outcome == Outcome.RUNNING:
                continue
            assert result.finished is not None  # noqa: S101
            if not result.unstarted:
                figures = self._get_figures(result.finished, result.job)
                figures["run_seconds"] += result.seconds
                _count(figures["runs"], result.seconds)
                if result.outcome == Outcome.RETRIED:
                    figures["retried"] += 1
            state = result.end
            if state is not None:
                self.finished(result.job, state, result.finished)

    def finished(self, job: Job, state: State, now: datetime) -> None:
        """Count the end of a job."""
        self._states[job.queue_name, state] += 1
        self._get_figures(now, job)[COLUMNS[state]] += 1

    def left(self, queue_name: str, state: State, amount: int = 1) -> None:
        """Count jobs that were finished and are so no more: set going again, or deleted."""
        self._states[queue_name, state] -= amount

    def write(self, dialect: Dialect) -> None:
        deltas = [
            {"queue_name": queue_name, "state": str(state), "amount": amount}
            for (queue_name, state), amount in self._states.items()
            if amount
        ]
        dialect.insert_rows(QueueCountDelta, deltas)
        dialect.insert_rows(RollupDelta, [_make_row(*item) for item in self._figures.items()])

    def _get_figures(self, moment: datetime, job: Job) -> dict[str, Any]:
        if not self._minute_begins <= moment < self._minute_ends:
            self._minute = int(moment.timestamp()) // 60
            self._minute_begins = datetime.fromtimestamp(self._minute * 60, UTC)
            self._minute_ends = self._minute_begins + timedelta(minutes=1)
        key = (self._minute, job.queue_name, job.name)
        figures = self._figures.get(key)
        if figures is None:
            figures = self._figures[key] = {**dict.fromkeys(FIGURES, 0), "waits": {}, "runs": {}}
        return figures


def _count(histogram: dict[str, int], seconds: float) -> None:
    bucket = histograms.find_bucket(seconds)
    histogram[bucket] = histogram.get(bucket, 0) + 1


def _make_row(key: tuple[int, str, str], figures: dict[str, Any]) -> dict[str, Any]:
    minute, queue_name, name = key
    return {
        **figures,
        "minute": datetime.fromtimestamp(minute * 60, UTC),
        "queue_name": queue_name,
        "name": name,
        "waits": json.dumps(figures["waits"]),
        "runs": json.dumps(figures["runs"]),
    }


# Reading


def get_finished_totals(alias: str = "default") -> dict[tuple[str, str], int]:
    """How many finished jobs there are, exactly, by queue name and state."""
    # One statement, one snapshot: a fold between two would be counted twice or not at all.
    rows = get_dialect(alias).execute(
        "SELECT queue_name, state, SUM(amount) FROM ("
        " SELECT queue_name, state, amount FROM dbq_queue_count"
        " UNION ALL SELECT queue_name, state, amount FROM dbq_queue_count_delta"
        ") totals GROUP BY queue_name, state"
    )
    return {(queue_name, state): int(amount) for queue_name, state, amount in rows if amount}


# Folding


def fold(alias: str = "default") -> int:
    """Move one chunk of deltas into their totals; return how many there were."""
    try:
        return _fold_counts(alias) + _fold_rollups(alias)
    except IntegrityError:
        # Another worker made the same total first; the deltas are still there for the next turn.
        return 0


def fold_all(alias: str = "default") -> None:
    """Fold until no delta is left."""
    while fold(alias):
        pass


def _fold_counts(alias: str) -> int:
    dialect = get_dialect(alias)
    if not dialect.ask(find_count_delta):
        return 0
    with dialect.write():
        deltas = _remove_deltas(dialect, QueueCountDelta, ("id", "queue_name", "state", "amount"))
        additions: dict[tuple, QueueCount] = {}
        for delta in deltas:
            key = (delta.queue_name, delta.state)
            total = additions.setdefault(key, QueueCount(queue_name=key[0], state=key[1]))
            total.amount += delta.amount
        names = {queue_name for queue_name, _ in additions}
        known = QueueCount.objects.using(alias).filter(queue_name__in=names)
        _add_to_totals(known, COUNT_KEY, ("amount",), additions)
    return len(deltas)


def _fold_rollups(alias: str) -> int:
    dialect = get_dialect(alias)
    if not dialect.ask(find_rollup_delta):
        return 0
    with dialect.write():
        deltas = _remove_deltas(dialect, RollupDelta, ROLLUP_COLUMNS)
        _add_to_rollups(alias, deltas)
    return len(deltas)


def _add_to_rollups(alias: str, figures: Iterable[Figures]) -> None:
    sums: dict[tuple, Rollup] = {}
    for part in figures:
        key = tuple(getattr(part, column) for column in ROLLUP_KEY)
        total = sums.setdefault(key, Rollup(**dict(zip(ROLLUP_KEY, key, strict=True))))
        _add_figures(total, part)
    for minute, keys in groupby(sorted(sums), key=itemgetter(0)):
        additions = {key: sums[key] for key in keys}
        known = Rollup.objects.using(alias).filter(
            minute=minute,
            queue_name__in={queue_name for _, queue_name, _ in additions},
            name__in={name for *_, name in additions},
        )
        _add_to_totals(known, ROLLUP_KEY, (*FIGURES, *HISTOGRAMS), additions)


def _add_to_totals(
    known: QuerySet, key: tuple[str, ...], columns: tuple[str, ...], additions: dict[tuple, Any]
) -> None:
    """Add rows to those that there are, in three statements whatever their number.

    Raises IntegrityError if another worker made one of those that are missing in the meantime.
    """
    # Locked in one order everywhere, so that two folds never wait for each other in a circle.
    found = {
        tuple(getattr(total, column) for column in key): total
        for total in known.order_by(*key).select_for_update()
    }
    changed = [_add(additions[place], total, columns) for place, total in found.items() if place in additions]
    missing = [additions[place] for place in sorted(additions.keys() - found.keys())]
    rows = known.model.objects.using(known.db)
    rows.bulk_create(missing)
    has_target = connections[known.db].features.supports_update_conflicts_with_target
    rows.bulk_create(
        changed,
        # They are there and locked: this writes each of them, and makes none.
        update_conflicts=True,
        update_fields=columns,
        unique_fields=key if has_target else None,
    )


def _add(addition: Any, total: Any, columns: Iterable[str]) -> Any:
    for column in columns:
        if column in HISTOGRAMS:
            histograms.merge(getattr(addition, column), getattr(total, column))
        else:
            setattr(addition, column, getattr(addition, column) + getattr(total, column))
    return addition


def _add_figures(total: Any, addition: Any) -> None:
    _add(total, addition, (*FIGURES, *HISTOGRAMS))


@question
def find_count_delta(alias: str) -> QuerySet:
    """One of the deltas: whether there is anything to fold is asked before a transaction begins."""
    return QueueCountDelta.objects.using(alias).order_by("id").values_list("id")[:1]


@question
def find_rollup_delta(alias: str) -> QuerySet:
    """As `find_count_delta`, of the figures per minute."""
    return RollupDelta.objects.using(alias).order_by("id").values_list("id")[:1]


def _remove_deltas(dialect: Dialect, model: type[Model], columns: tuple[str, ...]) -> list[Any]:
    deltas = model._base_manager.using(dialect.alias).order_by("id")
    return dialect.remove(deltas, FOLD_CHUNK, columns)


def join_old_rollups(alias: str = "default") -> int:
    """Join a chunk of minutes that are longer ago than a day into the rows of their hours.

    Returns how many rows of minutes there were.
    """
    dialect = get_dialect(alias)
    edge = (dialect.read_clock() - MINUTES_KEPT).replace(minute=0, second=0, microsecond=0)
    # Looked for before the transaction: rows of hours lie before it, and more of them every day.
    found = dialect.ask(find_unjoined, edge=edge)
    if not found:
        return 0
    minutes = _minutes_before(alias, edge).filter(minute__gte=dialect.read_moment(found[0][0]))
    try:
        with dialect.write():
            rows = dialect.remove(minutes, FOLD_CHUNK, ROLLUP_COLUMNS)
            for row in rows:
                row.minute = row.minute.replace(minute=0)
            _add_to_rollups(alias, rows)
    except IntegrityError:
        return 0  # as in `fold`
    return len(rows)


@question
def find_unjoined(alias: str) -> QuerySet:
    """The first minute before an edge that is not joined with others."""
    return _minutes_before(alias, Slot("edge", DateTimeField())).values_list("minute")[:1]


def _minutes_before(alias: str, edge: Any) -> QuerySet:
    of_hour = ExtractMinute("minute", tzinfo=UTC)
    minutes = Rollup.objects.using(alias).filter(minute__lt=edge).alias(of_hour=of_hour)
    return minutes.filter(of_hour__gt=0).order_by("minute", "id")


def delete_old_rollups(alias: str, days: int) -> int:
    """Forget the figures of minutes longer ago than that."""
    dialect = get_dialect(alias)
    edge = dialect.read_clock() - timedelta(days=days)
    if not dialect.ask(find_before, edge=edge):
        return 0
    return Rollup.objects.using(alias).filter(minute__lt=edge)._raw_delete(alias)


@question
def find_before(alias: str) -> QuerySet:
    """The first minute before an edge."""
    before = Rollup.objects.using(alias).filter(minute__lt=Slot("edge", DateTimeField()))
    return before.order_by("minute").values_list("minute")[:1]


# Recounting


def recount(alias: str = "default") -> dict[tuple[str, str], int]:
    """Take the finished totals from the jobs themselves, and return how far each one was off."""
    for _ in range(RECOUNT_TRIES - 1):
        try:
            return get_dialect(alias).insist(partial(_recount, alias))
        except IntegrityError:
            # A fold, or another recount, made the same total first.
            continue
    return get_dialect(alias).insist(partial(_recount, alias))


def _recount(alias: str) -> dict[tuple[str, str], int]:
    before = get_finished_totals(alias)
    with get_dialect(alias).write():
        # A fold that is under way waits here and adds its deltas to the new totals afterwards.
        rows = QueueCount.objects.using(alias).order_by("queue_name", "state")
        held = list(rows.select_for_update().values_list("pk", flat=True))
        totals = _count_jobs_without_deltas(alias)
        # A total that a fold has made since is not to go with them: it holds deltas that were counted
        # as still to come. Making it a second time fails, and this begins again.
        QueueCount.objects.using(alias).filter(pk__in=held)._raw_delete(alias)
        now = get_dialect(alias).read_clock()
        QueueCount.objects.using(alias).bulk_create(
            QueueCount(queue_name=queue_name, state=state, amount=amount, recounted=now)
            for (queue_name, state), amount in sorted(totals.items())
        )
    after = get_finished_totals(alias)
    keys = before.keys() | after.keys()
    return {key: after.get(key, 0) - before.get(key, 0) for key in keys if after.get(key) != before.get(key)}


def _count_jobs_without_deltas(alias: str) -> dict[tuple[str, str], int]:
    """What the totals must be for totals and deltas together to tell the truth, in one snapshot."""
    rows = get_dialect(alias).execute(
        "SELECT queue_name, state, SUM(amount) FROM ("
        " SELECT queue_name, state, COUNT(*) AS amount FROM dbq_job WHERE lane = 0"
        " GROUP BY queue_name, state"
        " UNION ALL SELECT queue_name, state, -amount FROM dbq_queue_count_delta"
        ") totals GROUP BY queue_name, state"
    )
    return {(queue_name, state): int(amount) for queue_name, state, amount in rows}

"""How many jobs are not finished, by queue: counted in the lanes' indexes, and never beyond a limit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections
from django.utils import timezone

from dashboard.numbers import COUNT_LIMIT, Number, Quality
from dashboard.snapshots import shared
from dbq.dialects import get_dialect
from dbq.models import Job, Worker
from dbq.states import Lane, State

# Queues whose jobs are counted one by one; a project with more of them sees the first.
QUEUES_MAX = 200
# Due jobs of one queue whose rows are read to tell NEW from READY; of more, the shares are taken.
LOOKED_AT = 1_000
# Of all queues together: where there are many, each is looked at less deeply.
LOOKED_AT_ALL = 5_000
LOOKED_AT_LEAST = 20
# Many who look at once, and a page with its parts, cost one count.
SHARED_SECONDS = 1
# Jobs made within it and not claimed yet belong to the inflow that the roll-ups cannot know of.
FRESH = timedelta(minutes=10)

# Jumps along the index from queue to queue instead of reading all the jobs between.
QUEUE_NAMES = """
    WITH RECURSIVE names (queue_name) AS (
        SELECT MIN(queue_name) FROM dbq_job WHERE lane = 1
        UNION ALL
        SELECT (SELECT MIN(job.queue_name) FROM dbq_job job
                WHERE job.lane = 1 AND job.queue_name > names.queue_name)
        FROM names WHERE names.queue_name IS NOT NULL
    )
    SELECT queue_name FROM names WHERE queue_name IS NOT NULL LIMIT %s
"""
# No column but the index's, and the lane as the index has it: fetching the rows costs ten times as much.
COUNT_SCHEDULED = """
    SELECT 2, queue_name, '', 0, COUNT(*), NULL, 0
    FROM (SELECT queue_name FROM dbq_job WHERE lane = 2 LIMIT %s) part
    GROUP BY queue_name
"""
COUNT_DUE = (
    "SELECT 1, queue_name, '', 0, amount, NULL, fresh",
    """
    SELECT queue_name, COUNT(*) AS amount, COUNT(CASE WHEN id >= %s THEN 1 END) AS fresh
    FROM (SELECT queue_name, id FROM dbq_job WHERE lane = 1 AND queue_name = {name} LIMIT %s) part
    GROUP BY queue_name
    """,
)
# In their turn, as the index has them: in no order PostgreSQL may read the table for them.
LOOK_AT_DUE = (
    "SELECT 1, queue_name, state, 0, amount, oldest, 0",
    """
    SELECT queue_name, state, COUNT(*) AS amount, MIN(enqueued) AS oldest
    FROM (SELECT queue_name, state, enqueued FROM dbq_job WHERE lane = 1 AND queue_name = {name}
          ORDER BY priority DESC, id LIMIT %s) part
    GROUP BY queue_name, state
    """,
)
NONE = Number(0)


@dataclass
class LiveCounts:
    """The unfinished jobs of one queue."""

    # NEW and READY together, without those that are scheduled.
    due: Number = NONE
    new: Number = NONE
    ready: Number = NONE
    scheduled: Number = NONE
    processing: Number = NONE
    # The jobs that run, by the worker that holds them.
    held: dict[int, int] = field(default_factory=dict)
    # Those of them whose worker is dead.
    orphaned: int = 0
    # Due jobs made in the last minutes.
    fresh: int = 0
    # Since when the one that has waited longest is due, as far as was looked.
    oldest: datetime | None = None


@shared(SHARED_SECONDS)
def count_live(alias: str = "default") -> dict[str, LiveCounts]:
    """Count the unfinished jobs of each queue, in two statements whatever the number of queues.

    Shared, so not to be changed by who gets it.
    """
    dialect = get_dialect(alias)
    names = [row[0] for row in dialect.execute(QUEUE_NAMES, [QUEUES_MAX])]
    depth = min(LOOKED_AT, max(LOOKED_AT_LEAST, LOOKED_AT_ALL // max(1, len(names))))
    parts = [
        (COUNT_SCHEDULED, [COUNT_LIMIT + 1]),
        _look_at_running(alias),
        *_ask_each(alias, names, LOOK_AT_DUE, [], [depth + 1]),
        # From the index alone: ids tell their age.
        *_ask_each(alias, names, COUNT_DUE, [get_dialect(alias).adapt(_find_fresh())], [COUNT_LIMIT + 1]),
    ]
    statement = " UNION ALL ".join(part for part, _ in parts)
    rows = dialect.execute(statement, [value for _, values in parts for value in values])
    counts = _gather(alias, rows, depth)
    _count_orphaned(alias, counts)
    return counts


# Each part gives rows of (lane, queue name, state or "" for all, worker, amount, oldest, fresh).
Part = tuple[str, list[Any]]


def _look_at_running(alias: str) -> Part:
    """A lane whose index does not know the queue, and that holds few: read once, for all queues."""
    columns = ("lane", "queue_name", "state", "worker_id", "enqueued")
    running = Job.objects.using(alias).filter(lane=Lane.RUNNING).values_list(*columns)
    source, values = get_dialect(alias).compile(running[: COUNT_LIMIT + 1])
    statement = (
        "SELECT lane, queue_name, state, COALESCE(worker_id, 0), COUNT(*), MIN(enqueued), 0"  # noqa: S608
        f" FROM ({source}) part GROUP BY lane, queue_name, state, COALESCE(worker_id, 0)"
    )
    return statement, list(values)


def _ask_each(
    alias: str, names: list[str], question: tuple[str, str], before: list[Any], after: list[Any]
) -> Iterator[Part]:
    """Ask the same of each queue; the values stand before and after its name."""
    head, part = question
    if names and connections[alias].vendor == "postgresql":
        # Planned once: of two hundred queues, planning each took longer than counting them.
        listed = ", ".join(["(%s)"] * len(names))
        each = f"LATERAL ({part.format(name='names.name')}) each_queue"
        yield f"{head} FROM (VALUES {listed}) names (name), {each}", [*names, *before, *after]
    else:
        for name in names:
            yield f"{head} FROM ({part.format(name='%s')}) each_queue", [*before, name, *after]


def _find_fresh() -> UUID:
    """What the ids of fresh jobs begin with."""
    return UUID(int=int((timezone.now() - FRESH).timestamp() * 1000) << 80)


def _gather(alias: str, rows: list[tuple], depth: int) -> dict[str, LiveCounts]:
    counts: defaultdict[str, LiveCounts] = defaultdict(LiveCounts)
    due: defaultdict[str, dict[str, int]] = defaultdict(dict)
    dialect = get_dialect(alias)
    full = {
        lane
        for lane in (Lane.WAITING, Lane.RUNNING)
        if sum(row[4] for row in rows if row[0] == lane) > COUNT_LIMIT
    }
    for lane, queue_name, state, worker_id, amount, oldest, fresh in rows:
        counted = counts[queue_name]
        if lane == Lane.CLAIMABLE:
            due[queue_name][state] = amount
            counted.fresh += fresh
            since = dialect.read_moment(oldest)
            counted.oldest = min(filter(None, (counted.oldest, since)), default=None)
            continue
        number = Number(min(amount, COUNT_LIMIT), Quality.AT_LEAST if lane in full else Quality.EXACT)
        if lane == Lane.WAITING:
            counted.scheduled += number
        else:
            counted.processing += number
            counted.held[worker_id] = counted.held.get(worker_id, 0) + amount
    for queue_name, amounts in due.items():
        _divide(counts[queue_name], amounts, depth)
    return dict(counts)


def _count_orphaned(alias: str, counts: dict[str, LiveCounts]) -> None:
    """Asked at once: a worker that leaves later, with nothing in its hands, has not orphaned anything."""
    holders = {worker_id for counted in counts.values() for worker_id in counted.held}
    if not holders:
        return
    alive = set(Worker.objects.using(alias).alive().filter(pk__in=holders).values_list("pk", flat=True))
    for counted in counts.values():
        counted.orphaned = sum(amount for worker_id, amount in counted.held.items() if worker_id not in alive)


def _divide(counted: LiveCounts, amounts: dict[str, int], depth: int) -> None:
    """Tell NEW from READY: exactly where all rows were looked at, by their shares otherwise."""
    new, ready = amounts.get(State.NEW, 0), amounts.get(State.READY, 0)
    looked_at = new + ready
    counted.due = Number.bounded(amounts.get("", looked_at), COUNT_LIMIT)
    if looked_at <= depth:
        # The two were counted one after the other; what was looked at agrees with itself.
        counted.due = Number(looked_at)
        counted.new, counted.ready = Number(new), Number(ready)
        return
    quality = Quality.AT_LEAST if counted.due.quality is Quality.AT_LEAST else Quality.ESTIMATE
    share = new / looked_at
    counted.new = _estimate(counted.due.value * share, quality, is_none=not new)
    counted.ready = _estimate(counted.due.value * (1 - share), quality, is_none=not ready)


def _estimate(value: float, quality: Quality, *, is_none: bool) -> Number:
    # None among thousands is none as far as can be said.
    return Number(0) if is_none else Number(max(1, round(value)), quality)

"""A large history, written straight into the tables: what a queue looks like after a month of work.

PostgreSQL makes its rows itself, ten million within minutes: see benchmarks/series.py.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import chain, islice
from typing import Any

from django.core.management.color import no_style
from django.db import connection, transaction
from django.db.models import Count
from django.utils import timezone

from dbq.counts import MINUTES_KEPT
from dbq.histograms import find_bucket
from dbq.identifiers import uuid7_floor
from dbq.models import Attempt, Job, QueueCount, QueueCountDelta, Rollup, RollupDelta, Worker
from dbq.states import Lane, Outcome, State

DAYS = 30
BATCH = 5_000
SEED = 7
WORKERS = 4
HELD = 50  # by each worker
FAILURE_KINDS = 40
# The names and queues of the jobs, and how often they come.
NAMES = {"log": 6, "three": 3, "stamp": 1}
QUEUES = {"default": 60, "mail": 25, "reports": 10, "imports": 4.9, "rare": 0.1}
# Beside them there are small ones, which share a tenth of all jobs.
SMALL_SHARE = 100 / 9
TASKS = {"log": "benchmarks.jobs.log", "three": "benchmarks.jobs.log_again", "stamp": "benchmarks.jobs.stamp"}
FAILED_SHARE = CANCELLED_SHARE = 0.05
ERROR_TYPES = ("ValueError", "KeyError", "project.errors.Refused", "TimeoutError")
TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/app/project/orders/steps.py", line {line}, in step_{line}\n    value = read(row[{line}])\n'
    for line in range(20)
)
DISCARDED = json.dumps([{"op": "replace", "path": "/rows", "value": 7}])


@dataclass
class Filling:
    """How many jobs of which kind, in how many queues."""

    finished: int
    waiting: int
    failed: int
    queues: int
    now: datetime
    dice: random.Random

    @classmethod
    def of(cls, finished: int, waiting: int, failed: int | None, queues: int) -> Filling:
        """Without a number of failed ones, one in twenty is."""
        failed = round(finished * FAILED_SHARE) if failed is None else failed
        return cls(finished, waiting, failed, queues, timezone.now(), random.Random(SEED))

    @cached_property
    def states(self) -> dict[str, float]:
        """The states of finished jobs, and how often they come."""
        failed = self.failed / max(self.finished, 1)
        shares = {State.FAILED: failed, State.CANCELLED: CANCELLED_SHARE}
        return {str(State.COMPLETED): 1 - sum(shares.values())} | {str(s): n for s, n in shares.items()}

    @cached_property
    def shares(self) -> dict[str, float]:
        """The queues, and how often they come: a few large ones and many small ones."""
        small = [f"customer-{number:03d}" for number in range(self.queues - len(QUEUES))]
        return QUEUES | {name: SMALL_SHARE / len(small) for name in small}

    @property
    def step(self) -> timedelta:
        """From the creation of one finished job to the next."""
        return timedelta(days=DAYS) / max(self.finished, 1)


def fill(finished: int, waiting: int, failed: int | None = None, queues: int = len(QUEUES)) -> None:
    """Fill empty tables with finished jobs of the last month and with jobs that wait, and analyse them."""
    filling = Filling.of(finished, waiting, failed, queues)
    workers = make_workers(filling)
    if connection.vendor == "postgresql":
        from benchmarks import series

        series.fill(filling, workers)
    else:
        insert(Job, make_jobs(filling, workers))
        insert(Attempt, make_attempts())
    insert(Rollup, make_rollups(filling))
    count_states()
    take_statistics()


def empty() -> None:
    """Take all that was filled away again, so that another size can be filled."""
    tables = [model._meta.db_table for model in (Job, Attempt, Worker, Rollup, RollupDelta)]
    tables += [model._meta.db_table for model in (QueueCount, QueueCountDelta)]
    with connection.cursor() as cursor:
        for statement in connection.ops.sql_flush(no_style(), tables, reset_sequences=True):
            cursor.execute(statement)


def make_workers(filling: Filling) -> list[int]:
    """Workers that will be taken for alive as long as anyone measures."""
    now = filling.now
    return [
        Worker.objects.create(
            name=f"bench-host:{number}",
            host="bench-host",
            pid=number,
            queue_names=list(filling.shares),
            version="1",
            started=now,
            beat=now,
            expires_at=now + timedelta(days=1),
        ).pk
        for number in range(1, WORKERS + 1)
    ]


# Rows


def make_jobs(filling: Filling, workers: list[int]) -> Iterator[dict[str, Any]]:
    """The columns of every job, the oldest first, as their ids are."""
    start = filling.now - timedelta(days=DAYS)
    for number in range(filling.finished):
        yield make_finished(filling, number, start + filling.step * number)
    for number in range(filling.waiting):
        yield make_waiting(filling, number)
    for number in range(HELD * len(workers)):
        yield make_running(filling, number, workers[number % len(workers)])


def make_finished(filling: Filling, number: int, created: datetime) -> dict[str, Any]:
    dice = filling.dice
    state = pick(dice, filling.states)
    row = make_row(filling, number, created)
    started = created + timedelta(seconds=dice.expovariate(1 / 5))
    finished = min(filling.now, started + timedelta(seconds=dice.expovariate(1 / 3)))
    row |= {"state": state, "lane": int(Lane.FINISHED), "started": started, "finished": finished}
    row |= {"attempt": 1, "fence": 1}
    if state == State.FAILED:
        kind = dice.randrange(FAILURE_KINDS)
        row |= {
            "error_type": ERROR_TYPES[kind % len(ERROR_TYPES)],
            "error_message": f"row {number} of file {kind}.csv has no column {kind}",
            "fingerprint": f"{kind:016x}",
        }
    return row


def make_waiting(filling: Filling, number: int) -> dict[str, Any]:
    created = filling.now - timedelta(milliseconds=36 * (filling.waiting - number))
    row = make_row(filling, number, created)
    if number % 5 == 0:
        later = filling.now + timedelta(seconds=filling.dice.randrange(60, 86_400))
        row |= {"lane": int(Lane.WAITING), "run_after": later}
    if number % 7 == 0:
        row |= {"state": str(State.READY), "fence": 1, "started": created}
    return row


def make_running(filling: Filling, number: int, worker_id: int) -> dict[str, Any]:
    row = make_row(filling, number, filling.now - timedelta(seconds=1))
    row |= {"state": str(State.PROCESSING), "lane": int(Lane.RUNNING), "worker_id": worker_id}
    row |= {"started": filling.now, "attempt": 1, "fence": 1}
    return row


def make_row(filling: Filling, number: int, created: datetime) -> dict[str, Any]:
    name, queue_name = pick(filling.dice, NAMES), pick(filling.dice, filling.shares)
    workspace = {
        "customer": {"id": number, "name": f"Customer {number}"},
        "file": f"uploads/{number % 1000}/orders-{number}.csv",
        "rows": number % 5000,
    }
    return BLANK | {
        "id": make_id(filling.dice, created),
        "name": name,
        "queue_name": queue_name,
        "state": str(State.NEW),
        "lane": int(Lane.CLAIMABLE),
        "priority": number % 3,
        "next_task": TASKS[name],
        "workspace": json.dumps(workspace),
        "created": created,
        "enqueued": created,
    }


BLANK = {field.attname: field.get_default() for field in Job._meta.concrete_fields} | {
    "definition_hash": "0" * 16,
    "initial_workspace": None,
    "progress": None,
}


def make_id(dice: random.Random, moment: datetime) -> uuid.UUID:
    return uuid.UUID(int=uuid7_floor(moment).int | dice.getrandbits(62))


def pick(dice: random.Random, shares: dict[Any, float]) -> Any:
    return dice.choices(list(shares), list(shares.values()))[0]


def make_attempts() -> Iterator[dict[str, Any]]:
    """The attempt of every finished job: what its page shows, and what goes with it."""
    columns = (
        "id",
        "state",
        "next_task",
        "started",
        "finished",
        "error_type",
        "error_message",
        "fingerprint",
    )
    for row in Job.objects.filter(lane=Lane.FINISHED).values_list(*columns).iterator():
        pk, state, task, started, finished, error_type, message, fingerprint = row
        has_failed = state == State.FAILED
        yield {
            "job_id": pk,
            "task": task,
            "number": 1,
            "fence": 1,
            "worker_name": "bench-host:1",
            "started": started,
            "finished": finished,
            "outcome": str(Outcome[state]),
            "error_type": error_type,
            "error_message": message,
            "traceback": f"{TRACEBACK}{error_type}: {message}\n" if has_failed else "",
            "fingerprint": fingerprint,
            "changes": None,
            "discarded_changes": DISCARDED if has_failed else None,
        }


def make_rollups(filling: Filling) -> Iterator[dict[str, Any]]:
    """The month of a busy project, as its workers leave it: minutes of the last day, hours before it."""
    waits = json.dumps({find_bucket(0.05): 9, find_bucket(5): 1})
    for moment, minutes in list_moments(filling.now):
        for queue_name in filling.shares:
            # A small queue has jobs of one name.
            for name in NAMES if queue_name in QUEUES else ("log",):
                yield {
                    "minute": moment,
                    "queue_name": queue_name,
                    "name": name,
                    "created": 10 * minutes,
                    "completed": 9 * minutes,
                    "failed": minutes,
                    "cancelled": 0,
                    "retried": 0,
                    "wait_seconds": 5.5,
                    "run_seconds": 5.5,
                    "waits": waits,
                    "runs": waits,
                }


def list_moments(now: datetime) -> Iterator[tuple[datetime, int]]:
    """When a row of the roll-ups begins, and how many minutes it tells of."""
    last = now.replace(second=0, microsecond=0)
    joined = (now - MINUTES_KEPT).replace(minute=0, second=0, microsecond=0)
    while last >= joined:
        yield last, 1
        last -= timedelta(minutes=1)
    for hours in range(1, DAYS * 24):
        yield joined - timedelta(hours=hours), 60


# Writing them


def count_states() -> None:
    """The finished totals, as they would have been counted one by one."""
    totals = Job.objects.filter(lane=Lane.FINISHED).order_by().values_list("queue_name", "state")
    QueueCount.objects.bulk_create(
        QueueCount(queue_name=queue_name, state=state, amount=amount)
        for queue_name, state, amount in totals.annotate(amount=Count("pk"))
    )


def insert(model: Any, rows: Iterable[dict[str, Any]]) -> None:
    write = copy_rows if connection.vendor == "postgresql" else insert_rows
    write(model._meta.db_table, rows)


def copy_rows(table: str, rows: Iterable[dict[str, Any]]) -> None:
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        return
    names = ", ".join(connection.ops.quote_name(name) for name in first)
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in chain([first], remaining):
            copy.write_row(list(row.values()))


def insert_rows(table: str, rows: Iterable[dict[str, Any]]) -> None:
    remaining = iter(rows)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            # In kibibytes: a cache of the usual 2 MB would read every index again for every row.
            cursor.execute("PRAGMA cache_size = -500000")
    with transaction.atomic():
        while batch := list(islice(remaining, BATCH)):
            insert_batch(table, batch)


def insert_batch(table: str, batch: list[dict[str, Any]]) -> None:
    names = ", ".join(connection.ops.quote_name(name) for name in batch[0])
    values = ", ".join(["%s"] * len(batch[0]))
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({values})",
            [[adapt(value) for value in row.values()] for row in batch],
        )


def adapt(value: Any) -> Any:
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, uuid.UUID):
        return value.hex if not connection.features.has_native_uuid_field else str(value)
    return value


def take_statistics() -> None:
    """As autovacuum, or a night, would have done."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM (ANALYZE)")
            # What was filled in goes to the disk now, and not beside what is measured next.
            cursor.execute("CHECKPOINT")
        elif connection.vendor == "mysql":
            cursor.execute("ANALYZE TABLE dbq_job, dbq_attempt, dbq_rollup")
        else:
            cursor.execute("ANALYZE")

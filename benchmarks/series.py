"""The rows of a large history made by PostgreSQL itself, from a series of numbers.

Ten million that travelled from Python would take half an hour. Indexes are made after the rows, and the
rows come in the order of their ids, as they do in life.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from django.db import connection
from django.db.models import Model

from benchmarks.filling import (
    BLANK,
    DAYS,
    DISCARDED,
    ERROR_TYPES,
    FAILURE_KINDS,
    HELD,
    NAMES,
    SEED,
    TASKS,
    TRACEBACK,
    Filling,
)
from dbq.models import Attempt, Job
from dbq.states import FINISHED, Lane, Outcome, State

# Milliseconds from the creation of one waiting job to the next.
WAITING_STEP = 36
MEMORY = ("maintenance_work_mem = '1GB'", "max_parallel_maintenance_workers = 2", "synchronous_commit = off")


def fill(filling: Filling, workers: list[int]) -> None:
    """Fill the empty tables of jobs and attempts."""
    with connection.cursor() as cursor:
        for setting in MEMORY:
            cursor.execute(f"SET {setting}")
        cursor.execute("SELECT setseed(%s)", [SEED / 10])
    with without_indexes(Job):
        insert_finished(filling)
        insert_waiting(filling)
        insert_running(filling, workers)
    with without_indexes(Attempt):
        insert_attempts()


@contextmanager
def without_indexes(model: type[Model]) -> Iterator[None]:
    """Leave out all indexes that no constraint needs, and make them anew at the end."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s"
            " AND indexname NOT IN (SELECT conname FROM pg_constraint)",
            [table],
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        yield
        for _, definition in indexes:
            cursor.execute(definition)


# Jobs: what each has comes from its number n, its moment and four dice, d1 to d4


def insert_finished(filling: Filling) -> None:
    own = {
        "state": pick("d1", filling.states),
        "lane": str(int(Lane.FINISHED)),
        "started": "moment + d3 * interval '10 seconds'",
        "finished": "least(now(), moment + d3 * interval '10 seconds' + d4 * interval '6 seconds')",
        "attempt": "1",
        "fence": "1",
    }
    failed = f"{own['state']} = '{State.FAILED}'"
    kind = f"(n * 7 %% {FAILURE_KINDS})"
    message = f"format('row %%s of file %%s.csv has no column %%s', n, {kind}, {kind})"
    own |= {
        "error_type": when(failed, f"({quote_array(ERROR_TYPES)})[{kind} %% {len(ERROR_TYPES)} + 1]"),
        "error_message": when(failed, message),
        "fingerprint": when(failed, f"lpad(to_hex({kind}), 16, '0')"),
    }
    start = count_milliseconds(filling.now - timedelta(days=DAYS))
    step = filling.step / timedelta(milliseconds=1)
    insert_jobs(filling, filling.finished, f"{start} + floor(n * {step})", own)


def insert_waiting(filling: Filling) -> None:
    scheduled, is_ready = "n %% 5 = 0", "n %% 7 = 0"
    later = "now() + interval '1 minute' + d3 * interval '1 day'"
    own = {
        "lane": f"CASE WHEN {scheduled} THEN {int(Lane.WAITING)} ELSE {int(Lane.CLAIMABLE)} END",
        "run_after": f"CASE WHEN {scheduled} THEN {later} END",
        "state": f"CASE WHEN {is_ready} THEN '{State.READY}' ELSE '{State.NEW}' END",
        "fence": f"CASE WHEN {is_ready} THEN 1 ELSE 0 END",
        "started": f"CASE WHEN {is_ready} THEN moment END",
    }
    now = count_milliseconds(filling.now)
    insert_jobs(filling, filling.waiting, f"{now} - ({filling.waiting} - n) * {WAITING_STEP}", own)


def insert_running(filling: Filling, workers: list[int]) -> None:
    own = {
        "lane": str(int(Lane.RUNNING)),
        "state": f"'{State.PROCESSING}'",
        "worker_id": f"(ARRAY{workers})[n %% {len(workers)} + 1]",
        "started": "now()",
        "attempt": "1",
        "fence": "1",
    }
    insert_jobs(filling, HELD * len(workers), f"{count_milliseconds(filling.now)} - 1000", own)


def count_milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def insert_jobs(filling: Filling, amount: int, ticks: str, own: dict[str, str]) -> None:
    """Insert so many jobs; `ticks` says in which millisecond number n was created, as ids know no less."""
    name = pick("d1 * 1000 - floor(d1 * 1000)", NAMES)
    expressions: dict[str, str] = {
        "id": MAKE_ID,
        "name": name,
        "queue_name": pick("d2", filling.shares),
        "state": f"'{State.NEW}'",
        "priority": "n %% 3",
        "next_task": choose(name, TASKS),
        "workspace": MAKE_WORKSPACE,
        "created": "moment",
        "enqueued": "moment",
    } | own
    numbers = (
        "SELECT n, ticks, to_timestamp(ticks / 1000.0::float) AS moment, d1, d2, d3, d4 FROM ("
        f"SELECT n, ({ticks})::bigint AS ticks,"
        " random() AS d1, random() AS d2, random() AS d3, random() AS d4"
        f" FROM generate_series(0, {amount - 1}) AS n) AS numbers"
    )
    blank = {column: value for column, value in BLANK.items() if column not in expressions}
    insert_from(Job, expressions | dict.fromkeys(blank, "%s"), numbers, list(blank.values()))


# Of version 7 (RFC 9562 §5.7): milliseconds, and what makes it unique.
MAKE_ID = "(lpad(to_hex(ticks), 12, '0') || '70008' || right(md5(n::text), 15))::uuid"
MAKE_WORKSPACE = (
    """('{"customer": {"id": ' || n || ', "name": "Customer ' || n || '"}, "file": "uploads/' || n %% 1000"""
    """ || '/orders-' || n || '.csv", "rows": ' || n %% 5000 || '}')::jsonb"""
)


# Attempts


def insert_attempts() -> None:
    """The attempt of every finished job: what its page shows, and what goes with it."""
    failed = f"state = '{State.FAILED}'"
    expressions = {
        "job_id": "id",
        "task": "next_task",
        "number": "1",
        "fence": "1",
        "worker_name": "'bench-host:1'",
        "started": "started",
        "finished": "finished",
        "outcome": choose("state", {state: Outcome[state] for state in FINISHED}),
        "error_type": "error_type",
        "error_message": "error_message",
        "traceback": when(failed, "%s || error_type || ': ' || error_message"),
        "fingerprint": "fingerprint",
        "discarded_changes": f"CASE WHEN {failed} THEN %s::jsonb END",
    }
    finished = f"SELECT * FROM dbq_job WHERE lane = {int(Lane.FINISHED)} ORDER BY id"
    insert_from(Attempt, expressions, finished, [TRACEBACK, DISCARDED])


# SQL


def insert_from(model: type[Model], expressions: dict[str, str], source: str, values: list[Any]) -> None:
    names = ", ".join(map(connection.ops.quote_name, expressions))
    statement = f"INSERT INTO {model._meta.db_table} ({names}) SELECT {', '.join(expressions.values())}"
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} FROM ({source}) AS source", values)


def pick(die: str, shares: dict[Any, float]) -> str:
    """One of them, by a die from 0 to 1."""
    whole = sum(shares.values())
    edges = [edge / whole for edge in accumulate(shares.values())][:-1]
    return f"({quote_array(shares)})[width_bucket(({die})::float, ARRAY{edges}::float[]) + 1]"


def quote_array(texts: Iterable[str]) -> str:
    return "ARRAY[" + ", ".join(f"'{text}'" for text in texts) + "]"


def choose(expression: str, values: dict[str, str]) -> str:
    cases = " ".join(f"WHEN '{key}' THEN '{value}'" for key, value in values.items())
    return f"CASE {expression} {cases} END"


def when(condition: str, expression: str) -> str:
    return f"CASE WHEN {condition} THEN {expression} ELSE '' END"

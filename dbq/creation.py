"""The rows of new jobs: of one by a statement that is made once, of many with what they share sent once.

Django makes the statement for each row anew, which takes as long as half a commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import JSONField

from dbq import wakeup, workspaces
from dbq.dialects import get_dialect
from dbq.dialects.base import CallFailed, Dialect
from dbq.models.job import Job
from dbq.states import Lane, State

# More make no statement quicker, and its document is held in memory.
ROWS_PER_STATEMENT = 1000


def insert(job: Job, alias: str) -> None:
    """Insert a job that is filled and checked."""
    dialect = get_dialect(alias)
    row = _make_row(job)
    names = tuple(name for name in _NAMES if name not in _USUAL or row[name] != _USUAL[name])
    values = [dialect.adapt_value(row[name]) for name in names]
    statement = _compile_insert(alias, names)
    # As Django's own `save`: who catches an error within a transaction must not go on with it.
    with transaction.mark_for_rollback_on_error(using=alias):
        calls = job.lane == Lane.CLAIMABLE and wakeup.take_call(alias, job.queue_name)
        run = partial(_insert_and_call, dialect, job) if calls else dialect.execute
        dialect.repeat(run, statement, values)
    _mark_as_saved(job, alias)


def _insert_and_call(dialect: Dialect, job: Job, statement: str, values: Sequence[Any]) -> None:
    """Spare a worker that waits for this job the round trip before it is called."""
    try:
        dialect.execute_and_call(statement, values, job.queue_name)
    except DatabaseError as error:
        wakeup.give_back_call(dialect.alias, job.queue_name)
        if not isinstance(error, CallFailed):
            raise
        if not Job.objects.using(dialect.alias).filter(pk=job.pk).exists():
            raise error.reason from None
        wakeup.report_failed_call([job.queue_name])


@lru_cache(maxsize=1000)
def _compile_insert(alias: str, names: tuple[str, ...]) -> str:
    usual = {name: value for name, value in _USUAL.items() if name not in names}
    return get_dialect(alias).make_row_insert(Job, names, usual)


def insert_many(jobs: list[Job], alias: str, rows_per_statement: int | None = None) -> None:
    """Insert jobs that are filled and checked, all or none."""
    rows = [_make_row(job) for job in jobs]
    step = rows_per_statement or ROWS_PER_STATEMENT
    with transaction.atomic(using=alias, savepoint=False):
        for start in range(0, len(rows), step):
            get_dialect(alias).insert_rows(Job, rows[start : start + step])
    for job in jobs:
        _mark_as_saved(job, alias)


def _mark_as_saved(job: Job, alias: str) -> None:
    job._state.adding = False
    job._state.db = alias


def _make_row(job: Job) -> dict[str, Any]:
    row = {name: getattr(job, name) for name in _NAMES}
    # Members of an enumeration are not what a driver expects.
    row["state"], row["lane"] = str(job.state), int(job.lane)
    for name in _TEXTS:
        row[name] = None if row[name] is None else workspaces.write(row[name])
    return row


_NAMES = tuple(field.attname for field in Job._meta.concrete_fields)
# What most new jobs have stands in the statement itself: two thirds of the columns.
_USUAL: dict[str, Any] = {
    "state": str(State.NEW),
    "lane": int(Lane.CLAIMABLE),
    **dict.fromkeys(("attempt", "crash_count", "fence", "round_fence", "version"), 0),
    **dict.fromkeys(("error_type", "error_message", "fingerprint"), ""),
    **dict.fromkeys(("run_after", "worker_id", "unique_key", "initial_workspace", "progress"), None),
    **dict.fromkeys(("started", "finished"), None),
    "cancel_requested": False,
}
_TEXTS = tuple(field.attname for field in Job._meta.concrete_fields if isinstance(field, JSONField))

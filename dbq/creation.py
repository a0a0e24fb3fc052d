"""The rows of new jobs, many in a statement: columns that all share, which are most, travel once."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models import JSONField

from dbq import workspaces
from dbq.dialects import get_dialect
from dbq.models.job import Job

# More make no statement quicker, and its document is held in memory.
ROWS_PER_STATEMENT = 1000


def insert(jobs: list[Job], alias: str, rows_per_statement: int | None = None) -> None:
    """Insert jobs that are filled and checked, all or none."""
    rows = [_make_row(job) for job in jobs]
    step = rows_per_statement or ROWS_PER_STATEMENT
    with transaction.atomic(using=alias, savepoint=False):
        for start in range(0, len(rows), step):
            get_dialect(alias).insert_rows(Job, rows[start : start + step])
    for job in jobs:
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
_TEXTS = tuple(field.attname for field in Job._meta.concrete_fields if isinstance(field, JSONField))

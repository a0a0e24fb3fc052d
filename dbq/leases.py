"""The rows of workers, and the lease that everything a worker claims hangs on.

Their statements are compiled once, by the supervisor where there is one: compiling writes to some three
megabytes of pages, which a worker that is idle goes on sharing with its supervisor.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from django.db.models import BigIntegerField, DateTimeField, QuerySet

from dbq.dialects import Dialect
from dbq.dialects.base import DatabaseNow, Slot, change, question
from dbq.models.job import Job
from dbq.models.worker import Worker
from dbq.states import Lane

DEAD_WORKER_KEPT_HOURS = 1

_WORKER_ID = Slot("worker_id", BigIntegerField())


def make_worker(dialect: Dialect, **values: Any) -> Worker:
    """Make a worker and its row, which has the key that the database gave it."""
    worker = Worker(**values)
    row = {
        field.attname: getattr(worker, field.attname)
        for field in Worker._meta.concrete_fields
        if not field.primary_key
    }
    worker.pk = dialect.insert_row(Worker, {**row, "queue_names": json.dumps(worker.queue_names)})
    worker._state.adding = False
    worker._state.db = dialect.alias
    return worker


def renew(dialect: Dialect, worker: Worker, now: datetime, seconds: float, **figures: int) -> bool | None:
    """Move the end of a worker's lease to so many seconds after now.

    Args:
        figures: its `jobs_done` and `memory_bytes`.

    Returns: whether an operator asked it to stop; None if its lease was taken from it, and stays so.
    """
    values = {"worker_id": worker.pk, "now": now, "end": now + timedelta(seconds=seconds), **figures}
    dialect.tell(renewal, **values)
    held = dialect.ask(find_stop_request, worker_id=worker.pk)
    return bool(held[0][0]) if held else None


@change
def renewal(alias: str) -> tuple[QuerySet, dict[str, Any]]:
    """A worker's row as long as nobody declared it dead, and what its beat writes there."""
    return _find_own(alias), {
        "beat": Slot("now", DateTimeField()),
        "expires_at": Slot("end", DateTimeField()),
        "jobs_done": Slot("jobs_done", BigIntegerField()),
        "memory_bytes": Slot("memory_bytes", BigIntegerField()),
    }


@question
def find_stop_request(alias: str) -> QuerySet:
    """Whether an operator asked the worker to stop; no row if it was declared dead."""
    return _find_own(alias).values_list("stop_requested")


def _find_own(alias: str) -> QuerySet:
    return Worker.objects.using(alias).filter(pk=_WORKER_ID, expires_at__isnull=False).order_by()


@question
def find_held(alias: str) -> QuerySet:
    """The ids of the jobs that the database holds for a worker, each in a row."""
    held = Job.objects.using(alias).filter(lane=Lane.RUNNING, worker_id=_WORKER_ID)
    return held.order_by().values_list("pk")


def forget_dead(dialect: Dialect) -> None:
    """Drop the rows of workers that died a while ago and hold no job any more."""
    if not dialect.ask(find_dead):
        return
    horizon = DatabaseNow() - timedelta(hours=DEAD_WORKER_KEPT_HOURS)
    dead = Worker.objects.using(dialect.alias).filter(expires_at__isnull=True, beat__lt=horizon)
    dead.exclude(pk__in=Job.objects.using(dialect.alias).running().values("worker_id")).delete()


@question
def find_dead(alias: str) -> QuerySet:
    """One of the workers that were declared dead: the question before `forget_dead`."""
    return Worker.objects.using(alias).filter(expires_at__isnull=True).order_by().values_list("pk")[:1]

"""The moment that the screenshots show: what runs, waits and failed, and what was done about it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import time_machine
from django.contrib.auth.models import Permission, User
from django.db.models import F, Value
from django.db.models.functions import Replace

from dbq import bulk, counts, identifiers, operations
from dbq.engine import Engine
from dbq.models import Attempt, Job, Worker
from dbq.operations import Actor
from dbq.states import Lane, State
from dbq.testing import run_jobs
from shop import history
from shop.jobs import SETTLEMENT

NOW = datetime(2026, 3, 12, 14, 5, 30, tzinfo=UTC)
OPERATOR = Actor("1", "operator")
QUEUES = ("default", "imports", "mail", "reports")
MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Scene:
    """What the pages that show one thing show."""

    completed: Job
    failed: Job
    paused: Job
    scheduled: Job
    long: Job
    cleanup: int
    operation: int
    running_operation: int
    worker: int


def set_up() -> Scene:
    """Fill an empty database, the same each time, as of NOW."""
    User.objects.create_superuser("operator")
    viewer = User.objects.create_user("viewer")
    viewer.user_permissions.add(Permission.objects.get(codename="view_job"))
    with time_machine.travel(NOW, tick=False):
        history.fill(NOW)
    with moving_clock(NOW - timedelta(hours=8)):
        cleanup = clean_up()
    with moving_clock(NOW - timedelta(minutes=52)):
        completed = run_one("import_orders", make_import("south", decimal_comma=True))
        failed = fail_twice()
    with moving_clock(NOW - history.PAUSED["mail"]) as clock:
        run_one("send_receipt", {"order": 88_117, "provider": "smtp-2"})
        pause_mail()
        retry_receipts(clock)
        operation = retry_ticked()
    with moving_clock(NOW - timedelta(minutes=14)) as clock:
        refuse(completed)
        long, worker = run_workers(clock)
    paused, scheduled = wait()
    with time_machine.travel(NOW, tick=False):
        running_operation = begin_deletion()
        counts.fold_all()
    return Scene(completed, failed, paused, scheduled, long, cleanup, operation, running_operation, worker)


@contextmanager
def moving_clock(moment: datetime) -> Iterator[Any]:
    """Stop the clock at a moment; whoever sleeps moves it on. Ids, too, are the same each time."""
    random.seed(7)
    dice = random.Random(moment.timestamp())  # noqa: S311
    with (
        time_machine.travel(moment, tick=False) as clock,
        patch.object(time, "sleep", clock.shift),
        patch.object(time, "monotonic", time.time),
        patch.object(os, "urandom", dice.randbytes),
        patch.object(identifiers, "_last", 0),
    ):
        yield clock


# What was done


def clean_up() -> int:
    operation = bulk.start(OPERATOR, bulk.propose_cleanup(hours=62), reason="As every morning")
    while bulk.run_chunk("default", operation.pk):
        time.sleep(0.31)
    return operation.pk


def run_one(name: str, workspace: dict[str, Any]) -> Job:
    job = Job.objects.create(name=name, workspace=workspace)
    run_jobs([job.queue_name])
    move_to_the_shop()
    return Job.objects.get(pk=job.pk)


def move_to_the_shop() -> None:
    """Have history tell of the shop's worker and files, not of this process and checkout."""
    here = str(Path(__file__).parent)
    told = Replace(F("traceback"), Value(here), Value("/srv/shop"))
    runs = Attempt.objects.exclude(worker_name__in=["", history.WORKER])
    runs.update(worker_name=history.WORKER, traceback=told)


def make_import(partner: str, **options: Any) -> dict[str, Any]:
    return {
        "source": {
            "partner": partner,
            "url": f"https://{partner}.partners.example/export/orders-2026-03-12.csv",
            "user": "shop",
            "api_token": "not-a-real-token-0123456789",
        },
        "currency": "EUR",
        "notify": ["orders@shop.example", "stock@shop.example"],
        "dry_run": False,
        **options,
    }


def fail_twice() -> Job:
    """An import that failed, was retried by an operator, and failed again."""
    job = fail_for_good(run_one("import_orders", make_import("north")))
    time.sleep(600)
    operations.act(OPERATOR, "retry", job.pk, reason="The partner says the file is mended")
    return fail_for_good(job)


def fail_for_good(job: Job) -> Job:
    """Run a job until it has no attempt left."""
    while Job.objects.get(pk=job.pk).is_waiting:
        time.sleep(15)
        run_jobs([job.queue_name])
    move_to_the_shop()
    return Job.objects.get(pk=job.pk)


def pause_mail() -> None:
    operations.act(
        OPERATOR,
        "pause_queue",
        "mail",
        reason="The mail provider is down; see status.mail.example",
        until=NOW + timedelta(minutes=34),
    )


def retry_receipts(clock: Any) -> None:
    """Retry all receipts that failed of one kind, two of them by themselves."""
    _, message, _, _ = history.FAILURES["send_receipt"][0]
    failed = Job.objects.filter(name="send_receipt", state=State.FAILED, error_message=message)
    [fingerprint] = set(failed.values_list("fingerprint", flat=True))
    for job in failed.order_by("pk")[:2]:
        operations.act(OPERATOR, "requeue", job.pk, reason="These two are urgent")
        clock.shift(25)
    chosen = [["state", "in", ["FAILED"]], ["fingerprint", "exact", fingerprint]]
    proposal = bulk.propose("retry", chosen, filters=f"state=FAILED&fingerprint={fingerprint}")
    bulk.start(OPERATOR, proposal, reason="The provider is back at 14:40")


def retry_ticked() -> int:
    """Retry ticked imports, of which two have nothing to retry."""
    imports = Job.objects.filter(name="import_orders", lane=Lane.FINISHED).order_by("-pk")
    failed = list(imports.filter(state=State.FAILED, error_type="KeyError").values_list("pk", flat=True)[:6])
    completed = list(imports.filter(state=State.COMPLETED).values_list("pk", flat=True)[:2])
    proposal = bulk.propose("retry", ids=[*failed, *completed])
    operation = bulk.start(OPERATOR, proposal, reason="The partner added the column")
    run_jobs(["imports"])
    move_to_the_shop()
    return operation.pk


def refuse(job: Job) -> None:
    operations.act(OPERATOR, "cancel", job.pk)
    operations.act(OPERATOR, "resume_queue", "reports")


def begin_deletion() -> int:
    """A bulk act that is under way."""
    chosen = [
        ["state", "in", ["COMPLETED"]],
        ["queue_name", "exact", "default"],
        ["created", "lt", NOW - timedelta(hours=48)],
    ]
    filters = "state=COMPLETED&queue=default&created_before=2026-03-10T14:05"
    proposal = bulk.propose("delete", chosen, filters=filters)
    operation = bulk.start(OPERATOR, proposal, reason="Room for the spring catalogue")
    for _ in range(11):
        bulk.run_chunk("default", operation.pk)
    return operation.pk


# What runs


def run_workers(clock: Any) -> tuple[Job, int]:
    """Two workers in the middle of their work, and one that died in its own; the long job, and a worker."""
    long = Job.objects.create(name=SETTLEMENT, workspace=make_settlement(), priority=20)
    Job.objects.create(name="monthly_report", workspace={"month": "2026-02", "shop": "main"})
    first = start_worker(["reports", "mail"], threads=2)
    show_progress(first, long, 803, 1_204, "account 803, marketplace of the north")
    lost = [
        Job.objects.create(name="import_orders", workspace=make_import(name)) for name in ("east", "west")
    ]
    dead = start_worker(["imports"], threads=2)
    clock.move_to(NOW - timedelta(seconds=48))
    for number in range(2):
        Job.objects.create(name="resize_picture", workspace={"picture": f"catalogue/{4711 + number}.jpg"})
    Job.objects.create(name="import_orders", workspace=make_import("coast", decimal_comma=True))
    second = start_worker(["default", "imports"], threads=4)
    name_worker(first, "jobs-2:3920", done=1_204_311, memory=212)
    name_worker(second, "jobs-1:4117", done=3_406_882, memory=148)
    name_worker(dead, "batch-eu-west-1a-7f9c8d6b5-x2x9k:17", done=96, memory=77, silent=200, version="0.0.9")
    assert all(Job.objects.get(pk=job.pk).state == State.PROCESSING for job in lost)  # noqa: S101
    return Job.objects.get(pk=long.pk), first.get_worker().pk


def start_worker(queue_names: list[str], threads: int) -> Engine:
    """A worker that has taken up as much as it has threads for, and goes no further."""
    engine = Engine(queue_names, threads=threads)
    engine.turn()
    for thread in range(threads):
        engine.next_run(thread, wait_seconds=0)
    return engine


def show_progress(engine: Engine, job: Job, done: int, total: int, note: str) -> None:
    [run] = [run for run in engine.running if run is not None and run.job.pk == job.pk]
    run.set_progress(done, total, note)
    time.sleep(2)
    engine.turn()


def name_worker(
    engine: Engine, name: str, *, done: int, memory: int, silent: float = 4, version: str = "0.1.0"
) -> None:
    """Have it be a process of the shop, that many seconds after its last sign of life."""
    host, _, pid = name.partition(":")
    beat = NOW - timedelta(seconds=silent)
    Worker.objects.filter(pk=engine.get_worker().pk).update(
        name=name,
        host=host,
        pid=pid,
        version=version,
        started=NOW - timedelta(hours=31),
        beat=beat,
        expires_at=beat + timedelta(seconds=60),
        jobs_done=done,
        memory_bytes=memory * MEGABYTE,
    )


def make_settlement() -> dict[str, Any]:
    return {
        "period": {"from": "2026-02-01", "to": "2026-02-28"},
        "ledger": "https://ledger.shop.example/books/2026/02/marketplaces/north-sea-and-baltic?format=json",
        "accounts": {
            f"marketplace-{number:02}": {
                "currency": ("EUR", "SEK", "DKK")[number % 3],
                "balance": 100_003 * number % 987_654,
                "is_settled": number % 4 != 0,
                "contact": None,
            }
            for number in range(1, 25)
        },
        "secret_key": "not-a-real-key-0123456789",
    }


# What waits


def wait() -> tuple[Job, Job]:
    """Jobs in every queue that wait, each for a reason of its own; a paused one and a scheduled one."""
    with moving_clock(NOW - timedelta(minutes=9)):
        create_later("export_catalogue", {"language": "de"}, queue_name="archive")
        create_later("export_catalogue", {"language": "fr"}, queue_name="archive")
        receipts = [
            create_later("send_receipt", {"order": number}, seconds=9) for number in range(88_120, 88_176)
        ]
    with moving_clock(NOW - timedelta(seconds=100)):
        for number in range(128):
            create_later("resize_picture", {"picture": f"catalogue/{4800 + number}.jpg"}, seconds=0.6)
        create_later("import_orders", make_import("islands"), priority=5)
        create_later("send_receipt", {"order": 88_176})
        create_later("import_orders", make_import("lakes"))
        create_later("send_receipt", {"order": 88_177})
        scheduled = create_later(
            "monthly_report",
            {"month": "2026-03", "shop": "main"},
            run_after=datetime(2026, 4, 1, 3, 0, tzinfo=UTC),
            unique_key="monthly_report-2026-03",
        )
        create_later("export_catalogue", {"language": "nl"}, run_after=NOW + timedelta(hours=7))
    return receipts[4], scheduled


def create_later(name: str, workspace: dict[str, Any], *, seconds: float = 1, **fields: Any) -> Job:
    time.sleep(seconds)
    return Job.objects.create(name=name, workspace=workspace, **fields)

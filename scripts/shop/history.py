"""What the shop's queue did before: three days of jobs, and the figures of a month."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from benchmarks.filling import BLANK, insert, make_id
from dbq import counts
from dbq.failures import make_fingerprint
from dbq.histograms import find_bucket
from dbq.models import Attempt, Job, Rollup
from dbq.states import Lane, Outcome, State
from shop.jobs import JOBS

DAYS = 30
# Older jobs were cleaned up.
KEPT = timedelta(days=3)
A_MINUTE = timedelta(minutes=1)
WORKER = "jobs-1:4117"
# Of each name: its queue, jobs a minute at noon, seconds of a run, and one failure in so many.
NAMES: dict[str, tuple[str, float, float, int]] = {
    "resize_picture": ("default", 9, 0.7, 600),
    "send_receipt": ("mail", 6, 0.5, 140),
    "import_orders": ("imports", 0.8, 14, 45),
    "monthly_report": ("reports", 0.1, 52, 40),
}
PAUSED = {"mail": timedelta(minutes=26)}
# How each name fails: type, message, the file and the line that say it.
FAILURES = {
    "resize_picture": [
        ("OSError", "image file is truncated (27 bytes not processed)", "catalogue/pictures.py", 61),
    ],
    "send_receipt": [
        ("smtplib.SMTPServerDisconnected", "Connection unexpectedly closed", "mail/delivery.py", 88),
        ("shop.errors.NoAddress", "order {number} has no e-mail address", "mail/receipts.py", 35),
    ],
    "import_orders": [
        ("ValueError", "row {number}: the price '8,90' is no number", "orders/parsing.py", 112),
        ("KeyError", "'currency'", "orders/parsing.py", 97),
        ("TimeoutError", "the partner's server did not answer within 30 s", "orders/fetching.py", 44),
    ],
    "monthly_report": [("dbq.TaskTimeout", "collect_figures ran for 3,600 s", "reports/figures.py", 203)],
}
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/shop/{file}", line {line}, in run
    work(job.workspace)
{error_type}: {message}
"""


def fill(now: datetime) -> None:
    """Fill empty tables with what went before `now`: jobs, their failures, and figures."""
    dice = random.Random(7)  # noqa: S311  (a shape, not a secret)
    figures: dict[tuple, Counter[str]] = {}
    insert(Job, count(make_jobs(now, dice), figures))
    insert(Attempt, make_attempts())
    insert(Rollup, make_minutes(figures))
    insert(Rollup, make_hours(now))
    counts.recount()


def measure_load(moment: datetime) -> float:
    """How busy the shop is, with 1 at noon: nights are quiet, Sundays quieter, and no two hours alike."""
    hour = moment.hour + moment.minute / 60
    day = 0.6 - 0.4 * math.cos((hour - 1) * math.tau / 24)
    week = 0.65 if moment.weekday() == 6 else 1
    return day * week * (1 + 0.15 * math.sin(moment.timestamp() / 5_000))


# Jobs


def make_jobs(now: datetime, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Rows of finished jobs, the oldest first."""
    minute = (now - KEPT).replace(second=0, microsecond=0)
    while minute < now:
        for name, (queue_name, rate, _, _) in NAMES.items():
            if minute > now - PAUSED.get(queue_name, timedelta(0)):
                continue
            for _ in range(int(rate * measure_load(minute) + dice.random())):
                job = make_job(name, minute + timedelta(seconds=dice.uniform(0, 60)), dice)
                if job["finished"] < now:
                    yield job
        minute += A_MINUTE


def make_job(name: str, created: datetime, dice: random.Random) -> dict[str, Any]:
    queue_name, _, seconds, failure_of = NAMES[name]
    started = created + timedelta(seconds=dice.expovariate(1 / 1.5))
    row = BLANK | {
        "id": make_id(dice, created),
        "name": name,
        "queue_name": queue_name,
        "priority": 0,
        "state": str(State.COMPLETED),
        "lane": int(Lane.FINISHED),
        "next_task": find_tasks(name)[-1],
        "workspace": json.dumps({"order": dice.randrange(70_000, 99_000)}),
        "attempt": 1,
        "fence": 1,
        "created": created,
        "enqueued": created,
        "started": started,
        "finished": started + timedelta(seconds=seconds * dice.uniform(0.6, 1.8)),
    }
    if dice.randrange(failure_of) == 0:
        row |= make_failure(name, dice)
    elif dice.randrange(400) == 0:
        row |= {"state": str(State.CANCELLED)}
    return row


def make_failure(name: str, dice: random.Random) -> dict[str, Any]:
    error_type, message, _, _ = FAILURES[name][int(dice.triangular(0, len(FAILURES[name]), 0))]
    return {
        "state": str(State.FAILED),
        "error_type": error_type,
        "error_message": message.format(number=dice.randrange(100, 19_000)),
        "fingerprint": make_fingerprint(error_type, message, name),
    }


def find_tasks(name: str) -> list[str]:
    definition = JOBS[name]
    return definition["tasks"] if isinstance(definition, dict) else definition


def make_attempts() -> Iterator[dict[str, Any]]:
    """The last run of every failed job."""
    columns = ("id", "name", "next_task", "started", "finished", "error_type", "error_message", "fingerprint")
    for row in list(Job.objects.filter(lane=Lane.FINISHED, state=State.FAILED).values(*columns)):
        name = row.pop("name")
        [(file, line)] = [failure[2:] for failure in FAILURES[name] if failure[0] == row["error_type"]]
        yield {
            "job_id": row["id"],
            "task": row["next_task"],
            "number": 1,
            "fence": 1,
            "worker_name": WORKER,
            "outcome": str(Outcome.FAILED),
            "traceback": TRACEBACK.format(
                file=file, line=line, error_type=row["error_type"], message=row["error_message"]
            ),
            "changes": None,
            "discarded_changes": None,
            **{key: row[key] for key in columns[3:]},
        }


# Figures


def count(rows: Iterable[dict[str, Any]], figures: dict[tuple, Counter[str]]) -> Iterator[dict[str, Any]]:
    """Pass jobs on and add them to the figures of their minute."""
    for row in rows:
        key = (row["finished"].replace(second=0, microsecond=0), row["queue_name"], row["name"])
        minute = figures.setdefault(key, Counter())
        minute.update(["created", row["state"].lower()])
        minute["wait " + find_bucket((row["started"] - row["created"]).total_seconds())] += 1
        minute["run " + find_bucket((row["finished"] - row["started"]).total_seconds())] += 1
        yield row


def make_minutes(figures: dict[tuple, Counter[str]]) -> Iterator[dict[str, Any]]:
    for key, minute in figures.items():
        yield make_rollup(key, minute, find_histogram(minute, "wait "), find_histogram(minute, "run "))


def find_histogram(minute: Counter[str], prefix: str) -> dict[str, int]:
    return {key.removeprefix(prefix): amount for key, amount in minute.items() if key.startswith(prefix)}


def make_hours(now: datetime) -> Iterator[dict[str, Any]]:
    """The rest of the month, from the shape that the jobs have too."""
    hour = (now - timedelta(days=DAYS)).replace(minute=0, second=0, microsecond=0)
    while hour < now - KEPT - timedelta(hours=1):
        for name, (queue_name, rate, seconds, failure_of) in NAMES.items():
            total = round(60 * rate * measure_load(hour))
            failed = round(total / failure_of)
            figures = Counter(created=total, completed=total - failed, failed=failed)
            waits, runs = {find_bucket(1.5): total}, {find_bucket(seconds): total}
            yield make_rollup((hour, queue_name, name), figures, waits, runs)
        hour += timedelta(hours=1)


def make_rollup(
    key: tuple[datetime, str, str], figures: Counter[str], waits: dict[str, int], runs: dict[str, int]
) -> dict[str, Any]:
    minute, queue_name, name = key
    return {
        "minute": minute,
        "queue_name": queue_name,
        "name": name,
        **{column: figures[column] for column in ("created", "completed", "failed", "cancelled", "retried")},
        "wait_seconds": 1.5 * sum(waits.values()),
        "run_seconds": NAMES[name][2] * sum(runs.values()),
        "waits": json.dumps(waits),
        "runs": json.dumps(runs),
    }

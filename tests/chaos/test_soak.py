"""Half an hour at a steady rate: nothing that a worker holds grows, and nothing that it keeps."""

import os
import threading
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

import pytest
from django.db import connection
from django.db.models import Sum

from dbq.models import Job, Rollup
from dbq.states import Lane
from tests.chaos.curves import draw
from tests.chaos.sampling import sample
from tests.process.workers import wait_until, wait_until_drained

pytestmark = [pytest.mark.process, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

SECONDS = float(os.environ.get("DBQ_SOAK_SECONDS", "1800"))
JOBS_PER_SECOND = 200
BATCH_SECONDS = 0.5
SAMPLE_SECONDS = SECONDS / 180
# Finished jobs older than this share of the run are deleted, as often as samples are taken.
KEPT_SHARE = 0.1
# What may be more at the end than in the middle: noise, and what databases keep in reserve.
GROWTH = {"memory, MiB": 1.03, "open files": 1, "threads": 1, "connections": 1}
GROWTH_OF_SIZES = 1.15
BACKLOG_SECONDS = 10


@pytest.mark.fault(50)
def test_nothing_grows_in_a_long_run(workers, tmp_path, record_property):
    commands = [workers.start() for _ in range(2)]
    for command in commands:
        command.wait_until_ready()
    pids = [pid for command in commands for pid in command.get_pids()]

    curves = defaultdict(list)
    created = 0
    began = time.monotonic()
    next_sample = began
    for moment in tick(began):
        created += len(Job.objects.bulk_create(make_jobs()))
        if moment >= next_sample:
            next_sample += SAMPLE_SECONDS
            take_sample(curves, pids, moment - began)
    wait_until_drained(120)
    rate = created / (time.monotonic() - began)

    path = find_folder(tmp_path) / f"soak-{connection.vendor}.svg"
    minutes = curves.pop("minutes")
    path.write_text(draw(f"{rate:.0f} jobs a second, two workers", minutes, curves))
    record_property("curves", path.name)
    record_property("jobs", created)
    for name, values in curves.items():
        middle, end = compare(values)
        record_property(f"{name}, second and last third", f"{middle:.1f} / {end:.1f}")
    assert {pid for command in commands for pid in command.get_pids()} == set(pids)
    assert wait_until(lambda: count_completed() == created, what="all are counted")
    assert find_grown(curves) == []


def find_folder(tmp_path):
    """Where the report goes, if there is one."""
    return Path(os.environ.get("DBQ_CHAOS_FOLDER") or tmp_path)


def tick(began):
    """The moments at which a batch is due; if one comes late, the next ones make up for it."""
    pause = threading.Event()
    for number in range(int(SECONDS / BATCH_SECONDS)):
        due = began + number * BATCH_SECONDS
        pause.wait(max(0, due - time.monotonic()))
        yield due


def make_jobs():
    amount = int(JOBS_PER_SECOND * BATCH_SECONDS)
    return [Job(name="plain", workspace={"number": number, "text": "x" * 200}) for number in range(amount)]


def take_sample(curves, pids, elapsed):
    Job.objects.delete_old(hours=SECONDS * KEPT_SHARE / 3600)
    curves["minutes"].append(elapsed / 60)
    for name, value in sample(pids).items():
        curves[name].append(value)
    curves["backlog"].append(Job.objects.exclude(lane=Lane.FINISHED).count())


def compare(values):
    """The medians of the second and of the last third: the first one warms up."""
    third = len(values) // 3
    return median(values[third : 2 * third]), median(values[2 * third :])


def find_grown(curves):
    """The figures that are higher at the end than in the middle, or than can be."""
    grown = []
    for name, values in curves.items():
        middle, end = compare(values)
        if name == "backlog":
            # Whatever else the machine does may hold them up for a while.
            too_much = BACKLOG_SECONDS * JOBS_PER_SECOND
        else:
            too_much = middle * GROWTH.get(name, GROWTH_OF_SIZES)
        if end > too_much:
            grown.append(f"{name}: {middle:.1f}, then {end:.1f}")
    return grown


def count_completed():
    return Rollup.objects.aggregate(total=Sum("completed"))["total"]

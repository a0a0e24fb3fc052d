"""Operators, clean-ups, creators and workers at the same rows, at full tilt."""

import threading
import time

import pytest

from dbq.models import Job
from dbq.states import Lane, State
from tests.chaos.load import make_jobs
from tests.helpers import Race, assert_totals_are_exact
from tests.process.workers import wait_until_drained

pytestmark = [
    pytest.mark.process,
    pytest.mark.chaos,
    pytest.mark.on("postgresql", "mysql"),
    pytest.mark.django_db(transaction=True),
]

SECONDS = 20
JOBS = 600


@pytest.mark.fault(18)
def test_nobody_fails_for_a_deadlock_while_all_are_at_the_same_rows(workers, record_property):
    command = workers.start("--processes", "3", "--threads", "2", LEASE_SECONDS=60, HEARTBEAT_SECONDS=10)
    command.wait_until_ready(3)
    children = command.get_children()
    make_jobs(JOBS)
    done = dict.fromkeys(["requeued", "retried", "cancelled", "deleted", "created"], 0)
    end = time.monotonic() + SECONDS
    contest = Race()

    def repeat(name, act):
        while time.monotonic() < end:
            done[name] += act()
            threading.Event().wait(0.01)

    def create():
        return len(make_jobs(20)) + len(Job.objects.bulk_create(Job(name="work") for _ in range(10)))

    acts = {
        "requeued": lambda: Job.objects.filter(state=State.COMPLETED).requeue(),
        "retried": lambda: Job.objects.filter(state=State.CANCELLED).retry(),
        "cancelled": lambda: Job.objects.filter(lane=Lane.CLAIMABLE, name="work").cancel(),
        "deleted": lambda: Job.objects.delete_old(hours=0),
        "created": create,
    }
    for name, act in acts.items():
        contest.start(name, lambda name=name, act=act: repeat(name, act))
    contest.join()

    Job.objects.filter(state=State.CANCELLED).retry()
    wait_until_drained(120)
    for name, amount in done.items():
        record_property(name, amount)
        assert amount > 0
    assert set(Job.objects.values_list("state", flat=True)) <= {State.COMPLETED, State.CANCELLED}
    assert command.get_children() == children
    assert "Traceback" not in command.read_output()
    command.signal(15)
    assert command.wait() == 0
    assert_totals_are_exact()

"""What a worker does beside its jobs comes in pieces: a job that comes meanwhile waits for one of them."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dbq import counts, engine, transitions
from dbq.engine import Duty
from dbq.models import Job, QueueCount, QueueCountDelta, Rollup, RollupDelta
from dbq.runner import Runner
from tests.helpers import let_time_pass, start_engine

MANY = 120
MINUTE = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class Work:
    """So many pieces; says whether more are left."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces

    def __call__(self) -> bool:
        self.left -= 1
        return self.left > 0


# Duties


def test_a_duty_with_more_to_do_goes_on_after_a_rest_and_one_without_waits_its_time():
    work = Work(2)
    duty = Duty(work, 60)
    duty.do_if_due(time.monotonic())
    assert (work.left, duty.is_unfinished) == (1, True)
    assert duty.due < time.monotonic() + 1
    duty.do_if_due(duty.due)
    assert (work.left, duty.is_unfinished) == (0, False)
    assert duty.due > time.monotonic() + 50


def test_a_busy_worker_rests_longer_between_pieces(monkeypatch):
    rests = []
    for is_busy in (True, False):
        moments = iter([100.0, 100.0, 101.0])
        with monkeypatch.context() as patch:
            patch.setattr(engine.time, "monotonic", lambda moments=moments: next(moments))
            duty = Duty(Work(5), 3600)
            duty.do_if_due(100.0, lambda is_busy=is_busy: is_busy)
        rests.append(duty.due - 101.0)
    assert rests == [engine.PAUSE_WHILE_BUSY, engine.PAUSE_WHILE_IDLE]


def test_a_duty_that_fails_is_not_taken_for_unfinished():
    duty = Duty(Work(5), 60)
    duty.do_if_due(time.monotonic())

    def fail():
        raise ValueError("no")

    duty.act = fail
    duty.do_if_due(duty.due)
    assert not duty.is_unfinished


@pytest.mark.django_db(transaction=True)
def test_an_idle_worker_sleeps_no_longer_than_until_a_duty_goes_on():
    idle = start_engine()
    assert idle.upkeep_pause == float("inf")
    duty = Duty(Work(2), 60)
    idle._duties = [duty]
    duty.do_if_due(time.monotonic())
    runner = Runner(idle)
    duty.due = time.monotonic()
    assert runner._next_poll(time.monotonic()) == 0


@pytest.mark.django_db(transaction=True)
def test_jobs_that_become_due_by_the_hundred_are_promoted_in_pieces(monkeypatch):
    monkeypatch.setattr(transitions, "CHUNK", 10)
    due = timezone.now() + timedelta(minutes=1)
    for _ in range(25):
        Job.objects.create(name="edit", run_after=due)
    let_time_pass(120)
    idle = start_engine()
    assert [idle.promote_chunk() for _ in range(4)] == [True, True, False, False]


# Folding


def make_deltas(amount: int) -> None:
    for place in range(amount):
        name = f"queue-{place:03}"
        QueueCountDelta.objects.create(queue_name=name, state="COMPLETED", amount=2)
        RollupDelta.objects.create(
            minute=MINUTE, queue_name=name, name="edit", completed=2, wait_seconds=1.5, waits={"3": 2}
        )


@pytest.mark.django_db(transaction=True)
def test_folding_asks_no_more_of_many_queues_than_of_one():
    asked = []
    for amount in (1, MANY, MANY):
        make_deltas(amount)
        with CaptureQueriesContext(connection) as queries:
            counts.fold()
        asked.append(len(queries))
    # Once of queues that are all new, once of queues that are all known.
    assert max(asked[1:]) <= asked[0] + 4


@pytest.mark.django_db(transaction=True)
def test_folding_adds_to_what_is_known_and_makes_what_is_not():
    make_deltas(3)
    counts.fold_all()
    QueueCount.objects.update(recounted=timezone.now())
    make_deltas(5)
    counts.fold_all()
    assert not QueueCountDelta.objects.exists()
    assert not RollupDelta.objects.exists()
    amounts = dict(QueueCount.objects.values_list("queue_name", "amount"))
    assert amounts == {f"queue-{place:03}": 4 if place < 3 else 2 for place in range(5)}
    # That it was recounted stays true of a total that grows.
    assert QueueCount.objects.filter(recounted__isnull=False).count() == 3
    for row in Rollup.objects.all():
        times = 2 if row.queue_name < "queue-003" else 1
        assert (row.completed, row.wait_seconds, row.waits) == (2 * times, 1.5 * times, {"3": 2 * times})

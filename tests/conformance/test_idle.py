"""What a worker asks while it has nothing to do: all at once, and no more often than it must."""

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import OperationalError, ProgrammingError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dbq import bulk, counts, transitions
from dbq.engine import ALONG_SECONDS, Duty, Engine
from dbq.models import Job, Operation, Queue, QueueCountDelta, RollupDelta
from dbq.models.queue import find_pause
from dbq.runner import Runner
from dbq.states import State
from dbq.threads import KEEP_SECONDS, REST_SECONDS, TaskThread
from tests.helpers import assert_state, dialect, let_time_pass, make_job, start_engine

# What the statement that looks for a job begins with, wherever it stands.
LOOK = "SELECT 1 FROM (SELECT id"


@pytest.fixture
def idle() -> Engine:
    """An engine that has said what each one says once, and whose duties that ask are all due."""
    engine = start_engine()
    engine.turn()
    engine._duties = [duty for duty in engine._duties if duty.questions]
    make_due(engine)
    return engine


def make_due(engine: Engine) -> None:
    for duty in engine._duties:
        duty.due = time.monotonic()


def note_acts(engine: Engine) -> list[str]:
    acted: list[str] = []
    for duty in engine._duties:
        name = duty.act.__name__
        duty.act = lambda name=name: acted.append(name)
    return acted


def ask_of(act: Callable[[], object]) -> list[str]:
    """What it asks of the database."""
    with CaptureQueriesContext(connection) as queries:
        act()
    return [query["sql"] for query in queries]


def schedule() -> Job:
    job = make_job(run_after=timezone.now() + timedelta(minutes=1))
    let_time_pass(120)
    counts.fold_all()
    return job


CAUSES: dict[str, Callable[[], object]] = {
    "promote_chunk": schedule,
    "refresh": lambda: Queue(name="mail").pause(),
    "fold": lambda: QueueCountDelta.objects.create(queue_name="mail", state="COMPLETED", amount=1),
    "act_in_bulk": lambda: Operation.objects.create(
        created=timezone.now(), actor_name="ann", verb="cleanup", state=Operation.State.RUNNING
    ),
}


# All at once


def test_all_its_duties_and_its_look_for_jobs_are_one_question(idle):
    assert {duty.act.__name__ for duty in idle._duties} == set(CAUSES)
    acted = note_acts(idle)

    assert len(ask_of(idle.turn)) == 1
    assert acted == []
    assert all(duty.due > time.monotonic() for duty in idle._duties)
    # A turn that has nothing to do but look.
    assert len(ask_of(idle.turn)) == 1


@pytest.mark.parametrize("name", CAUSES)
def test_a_duty_that_has_something_to_do_does_it(idle, name):
    acted = note_acts(idle)
    CAUSES[name]()

    idle.turn()

    assert acted == [name]
    assert all(duty.due > time.monotonic() for duty in idle._duties)


def test_folding_hears_of_figures_as_well_as_of_totals(idle):
    acted = note_acts(idle)
    RollupDelta.objects.create(minute=timezone.now(), queue_name="mail", name="edit", completed=1)

    idle.turn()

    assert acted == ["fold"]


def test_a_job_that_it_sees_by_the_way_is_claimed(idle):
    make_job()
    counts.fold_all()

    asked = ask_of(idle.turn)

    assert len(idle.ready) == 1
    assert sum(LOOK in statement for statement in asked) == 1


def test_a_job_that_it_makes_claimable_is_claimed_in_the_same_turn(idle):
    job = schedule()

    assert idle.turn()

    assert [run.job.id for run in idle.ready] == [job.id]


def test_what_would_come_soon_comes_along_and_what_would_come_late_does_not(idle):
    _due, soon, late, _due_as_well = idle._duties
    now = time.monotonic()
    soon.due, late.due = now + ALONG_SECONDS / 2, now + 10 * ALONG_SECONDS

    idle.turn()

    assert soon.due > now + ALONG_SECONDS
    assert late.due == now + 10 * ALONG_SECONDS


@pytest.mark.parametrize("reason", ["something runs", "a queue is paused"])
def test_a_worker_that_is_not_idle_leaves_nothing_out(idle, reason):
    acted = note_acts(idle)
    if reason == "something runs":
        make_job()
        assert idle.cycle()
    else:
        idle._paused = {"default"}

    idle.turn()

    assert set(acted) == set(CAUSES)


def test_nothing_is_asked_before_a_heartbeat_that_is_due(idle):
    asked_before: list[int] = []
    with CaptureQueriesContext(connection) as queries:
        beat = Duty(lambda: asked_before.append(len(queries)), 60, is_vital=True)
        idle._duties.insert(0, beat)
        idle.turn()

    assert asked_before == [0]


# When it fails


def test_a_duty_that_cannot_even_ask_keeps_no_other_from_its_own(idle, caplog):
    def find_nothing(alias):
        raise ProgrammingError("There is no such table.")

    def act_in_vain():
        raise ProgrammingError("There is no such table.")

    job = schedule()
    broken = idle._duties[-1]
    broken.questions, broken.act = (find_nothing,), act_in_vain

    assert idle.turn()

    assert [run.job.id for run in idle.ready] == [job.id]
    assert "The worker's act_in_vain failed." in caplog.text


def test_an_outage_is_not_taken_for_an_answer(idle):
    def fail(*_):
        raise OperationalError("The database is away.")

    with connection.execute_wrapper(fail), pytest.raises(OperationalError):
        idle.turn()

    assert all(duty.due <= time.monotonic() for duty in idle._duties)


# What the database answers


def test_each_question_has_an_answer_of_its_own():
    look = ("SELECT id FROM dbq_job WHERE queue_name = %s LIMIT 1", ["mail"])
    questions = [transitions.find_due, find_pause, bulk.find_running]
    assert dialect().ask_whether(questions, look) == [False, False, False, False]

    CAUSES["refresh"]()
    make_job(queue_name="mail")
    assert dialect().ask_whether(questions, look) == [False, True, False, True]
    assert dialect().ask_whether(questions) == [False, True, False, None]


# Looking


class TestAWorkerThatNobodyCalls:
    @pytest.fixture
    def runner(self, settings):
        settings.DBQ = {"NOTIFY": False}
        runner = Runner(start_engine())
        runner.engine.turn()
        while runner._next_poll(time.monotonic()) < runner._longest_poll / 2:
            runner._alert_until = 0
        runner._poll = runner._longest_poll
        return runner

    def test_is_at_rest_when_it_had_nothing_to_do_for_a_while(self, runner):
        assert runner._is_at_rest
        runner._poll = runner._longest_poll / 2
        assert not runner._is_at_rest

    def test_is_not_at_rest_while_something_runs(self, runner):
        make_job()
        runner.engine.cycle()

        assert not runner._is_at_rest

    def test_sees_a_job_and_claims_it_first_of_all(self, runner):
        job = make_job()

        runner._wait_for_work(0)

        asked = ask_of(runner.engine.turn)
        assert not any(LOOK in statement for statement in asked)
        assert_state(job, State.PROCESSING)

    def test_looks_until_a_duty_is_due_and_asks_nothing_else(self, runner, monkeypatch):
        monkeypatch.setattr(Engine, "next_due", Moment(after=3))

        asked = ask_of(lambda: runner._wait_for_work(0))

        assert len(asked) == 3
        assert all(LOOK in statement for statement in asked)

    def test_stops_looking_when_it_is_woken(self, runner):
        runner.wake()

        assert ask_of(lambda: runner._wait_for_work(60)) == []

    def test_waits_out_an_outage_that_a_look_meets(self, runner, monkeypatch):
        waited = []
        monkeypatch.setattr(runner, "_wait_out", waited.append)

        def fail(*_):
            raise OperationalError("The database is away.")

        with connection.execute_wrapper(fail):
            runner._wait_for_work(0)

        assert len(waited) == 1


class Moment:
    """A moment that was not there yet when somebody looked at the clock for the first times."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __gt__(self, now: float) -> bool:
        self.left -= 1
        return self.left >= 0


def test_a_thread_without_work_waits_to_be_woken():
    class Idle:
        waits: list[float] = []

        def next_run(self, place: int, wait_seconds: float) -> None:
            self.waits.append(wait_seconds)
            thread.stopping = len(self.waits) == 3

    thread = TaskThread(Idle(), 0)  # type: ignore[arg-type]
    thread.run()

    assert Idle.waits == [KEEP_SECONDS, REST_SECONDS, REST_SECONDS]

"""A task that outlives its soft time-out gets an exception; the thread goes on with the next job."""

import threading
import time

import pytest

from dbq.execution import execute
from dbq.models import Attempt
from dbq.states import State
from dbq.threads import TaskThread
from tests import jobs
from tests.helpers import (
    RACE_SECONDS,
    Race,
    assert_state,
    flush,
    make_job,
    start_engine,
    work_off,
)

LATER = 31  # past the time-out of the sample jobs


@pytest.fixture
def engine():
    """An engine with a real task thread; the test turns it."""
    engine = start_engine()
    thread = TaskThread(engine, 0)
    thread.start()
    yield engine
    jobs.may_end.set()
    thread.stopping = True
    with engine.work_arrived:
        engine.work_arrived.notify_all()
    thread.join(RACE_SECONDS)
    assert not thread.is_alive()


def start(engine):
    """Hand the next job to the thread and wait until its task has begun."""
    engine.cycle()
    assert jobs.begun.wait(RACE_SECONDS)


def wait_for_result(engine):
    """Until the thread has handed a result in."""
    arrived = threading.Event()
    engine.wake = arrived.set
    if not engine.results:
        assert arrived.wait(RACE_SECONDS)


def test_a_task_that_outlives_its_timeout_fails(engine):
    job = make_job(name="limited")
    start(engine)

    engine.interrupt_overdue(time.monotonic() + LATER)
    wait_for_result(engine)
    flush(engine)

    fresh = assert_state(job, State.FAILED)
    assert fresh.error_type == "dbq.exceptions.TaskTimeout"
    assert fresh.error_message == "The task ran longer than 30 s."
    assert "in outlive_the_timeout" in Attempt.objects.get(job=job).traceback


def test_the_thread_runs_the_next_job_after_a_timeout(engine):
    make_job(name="limited")
    start(engine)
    engine.interrupt_overdue(time.monotonic() + LATER)
    wait_for_result(engine)
    flush(engine)
    good = make_job(name="edit")

    engine.cycle()
    wait_for_result(engine)
    flush(engine)

    assert_state(good, State.COMPLETED)


def test_a_task_within_its_timeout_is_left_alone(engine):
    job = make_job(name="limited")
    start(engine)

    engine.interrupt_overdue(time.monotonic() + LATER - 5)
    jobs.may_end.set()
    wait_for_result(engine)
    flush(engine)

    assert_state(job, State.COMPLETED)


def test_a_task_without_a_timeout_is_left_alone(engine):
    job = make_job(name="wait")
    start(engine)

    engine.interrupt_overdue(time.monotonic() + 10**9)
    jobs.may_end.set()
    wait_for_result(engine)
    flush(engine)

    assert_state(job, State.COMPLETED)


def test_a_timeout_strikes_once(engine):
    make_job(name="limited_in_a_sleep")
    start(engine)

    for _ in range(3):
        engine.interrupt_overdue(time.monotonic() + LATER)
    wait_for_result(engine)
    flush(engine)
    good = make_job(name="edit")
    engine.cycle()
    wait_for_result(engine)
    flush(engine)

    assert_state(good, State.COMPLETED)


def test_a_timeout_counts_as_an_attempt_and_may_be_tried_again(engine, settings):
    settings.JOBS = {
        "patient": {
            "tasks": ["tests.jobs.outlive_the_timeout"],
            "timeout": 30,
            "max_attempts": 2,
        }
    }
    job = make_job(name="patient")
    start(engine)

    engine.interrupt_overdue(time.monotonic() + LATER)
    wait_for_result(engine)
    flush(engine)

    fresh = assert_state(job, State.READY)
    assert (fresh.attempt, fresh.error_message) == (1, "The task ran longer than 30 s.")


def test_a_run_that_is_over_is_not_struck_any_more():
    """The clock overtakes a run between its end and the moment its result is handed in."""
    job = make_job(name="limited")
    engine = start_engine()
    engine.cycle()
    run = engine.next_run(0, 0)
    jobs.may_end.set()
    result = execute(run, engine.clock)

    engine.interrupt_overdue(time.monotonic() + LATER)
    engine.put(0, run, result)
    flush(engine)

    assert not run.has_timed_out
    assert_state(job, State.COMPLETED)


def test_a_coroutine_that_outlives_its_timeout_fails():
    job = make_job(name="limited_asynchronously")

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert fresh.error_type == "dbq.exceptions.TaskTimeout"
    assert fresh.error_message == "The task ran longer than 0.01 s."


def test_a_timeout_of_the_tasks_own_keeps_its_name():
    job = make_job(name="limited_generously")

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert (fresh.error_type, fresh.error_message) == ("TimeoutError", "a socket, not the task")


def test_the_hard_timeout_stands_on_the_board(settings):
    settings.JOBS = {
        "soft": {"tasks": ["tests.jobs.nothing"], "timeout": 40},
        "hard": {"tasks": ["tests.jobs.nothing"], "timeout": 40, "hard_timeout": 50},
        "none": {"tasks": ["tests.jobs.nothing"]},
    }
    engine = start_engine()
    for name, seconds in [("soft", 70), ("hard", 50), ("none", None)]:
        job = make_job(name=name)
        engine.cycle()
        run = engine.next_run(0, 0)
        assert engine.board.get_running() == [job.pk]
        deadline, _ = engine.board._read(0)
        if seconds is None:
            assert deadline == 0
        else:
            assert seconds - 5 < deadline - time.monotonic() <= seconds
        engine.put(0, run, execute(run, engine.clock))
        assert engine.board.get_running() == []
        flush(engine)


def test_two_threads_run_two_jobs_at_once():
    engine = start_engine(threads=2)
    made = [make_job(name="wait") for _ in range(2)]
    together = threading.Barrier(2, timeout=RACE_SECONDS)
    engine.cycle()
    contest = Race()

    def work(place):
        run = engine.next_run(place, RACE_SECONDS)
        together.wait()
        jobs.may_end.set()
        engine.put(place, run, execute(run, engine.clock))

    for place in (0, 1):
        contest.start(str(place), lambda place=place: work(place))
    contest.join()
    flush(engine)

    for job in made:
        assert_state(job, State.COMPLETED)

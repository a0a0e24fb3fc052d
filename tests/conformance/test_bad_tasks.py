"""Whatever a task does, its job ends with a reason, and the next job runs as if nothing had been."""

import asyncio
import os
import threading

import pytest
from django.db import connection

from dbq.engine import Engine
from dbq.execution import execute
from dbq.models import Attempt, Job, Queue
from dbq.states import Outcome, State
from dbq.threads import TaskThread
from tests import jobs
from tests.helpers import (
    RACE_SECONDS,
    assert_state,
    dialect,
    flush,
    make_job,
    reload,
    start_engine,
    step,
    work_off,
)

ENDS = {
    "exit_with_zero": ("SystemExit", "0"),
    "exit_with_one": ("SystemExit", "1"),
    "press_ctrl_c": ("KeyboardInterrupt", ""),
    "close_a_generator": ("GeneratorExit", ""),
    "cancel_a_coroutine": ("asyncio.exceptions.CancelledError", ""),
    "run_out_of_memory": ("MemoryError", ""),
    "stop_iterating": ("StopIteration", ""),
    "raise_the_unspeakable": ("tests.jobs.Unspeakable", "(its text raised RuntimeError)"),
    "raise_a_group": ("ExceptionGroup", "several (2 sub-exceptions)"),
    "fail_asynchronously": ("LookupError", "within a coroutine"),
}


def run_in_a_thread(engine: Engine) -> None:
    """One run in a thread of its own, as under a worker: what it breaks, it breaks there."""
    thread = TaskThread(engine, 0)
    engine.cycle()
    run = engine.next_run(0, 0)
    assert run is not None

    def work() -> None:
        engine.put(0, run, thread._execute(run))
        # The next task of this thread, on the connections that the first one left.
        follower = engine.next_run(0, 0)
        if follower is not None:
            engine.put(0, follower, thread._execute(follower))
        thread.stopping = True
        thread.run()

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(RACE_SECONDS)
    assert not worker.is_alive()
    flush(engine)


def fail_and_go_on(name: str) -> Job:
    """Run the job, then another on the same thread; return the first as it is in the database."""
    bad, good = make_job(name=name), make_job(name="edit")
    engine = start_engine()
    engine._prefetch = 1

    run_in_a_thread(engine)

    assert assert_state(good, State.COMPLETED).workspace == {"edited": 1}
    return reload(bad)


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.fault(25, 27)
def test_whatever_a_task_raises_fails_its_job_and_nobody_elses(name):
    job = fail_and_go_on(name)

    error_type, message = ENDS[name]
    assert (job.state, job.error_type, job.error_message) == (State.FAILED, error_type, message)
    attempt = Attempt.objects.get(job=job)
    assert attempt.outcome == Outcome.FAILED
    assert error_type.rpartition(".")[2] in attempt.traceback


@pytest.mark.fault(27)
def test_endless_recursion_fails_its_job():
    job = fail_and_go_on("recurse_for_ever")

    assert (job.state, job.error_type) == (State.FAILED, "RecursionError")
    assert job.error_message.startswith("maximum recursion depth exceeded")


def test_what_a_task_returns_does_not_matter():
    assert fail_and_go_on("return_garbage").state == State.COMPLETED


def test_a_coroutine_is_run_to_its_end():
    job = fail_and_go_on("succeed_asynchronously")

    assert job.state == State.COMPLETED
    assert job.workspace["loop"].endswith("EventLoop")


def test_a_coroutine_leaves_no_event_loop_behind():
    make_job(name="succeed_asynchronously")
    # A browser test that came before may have left the loop of its driver.
    before = find_running_loop()

    work_off()

    assert find_running_loop() is before


def find_running_loop():
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


# The database


@pytest.mark.parametrize("name", ["leave_a_transaction_open", "type_begin", "turn_autocommit_off"])
@pytest.mark.fault(28)
def test_a_task_that_leaves_a_transaction_open_fails_and_its_writes_are_rolled_back(name):
    job = fail_and_go_on(name)

    assert job.state == State.FAILED
    assert job.error_type == "dbq.exceptions.TransactionLeftOpen"
    assert job.error_message == (
        'The task left a transaction open on the database "default"; it was rolled back.'
    )
    assert not Queue.objects.exists()


@pytest.mark.fault(29)
def test_a_task_that_swallows_an_error_within_a_transaction_completes():
    job = fail_and_go_on("break_a_transaction")

    assert (job.state, job.workspace) == (State.COMPLETED, {"swallowed": True})


@pytest.mark.fault(29)
def test_a_task_that_leaves_a_broken_transaction_open_fails():
    job = fail_and_go_on("break_a_transaction_and_leave_it")

    assert (job.state, job.error_type) == (State.FAILED, "dbq.exceptions.TransactionLeftOpen")
    assert job.workspace == {}


@pytest.mark.parametrize(
    "name", ["close_the_connection", "close_all_connections", "close_the_driver_connection"]
)
@pytest.mark.fault(31)
def test_a_task_may_close_its_connections(name):
    assert fail_and_go_on(name).state == State.COMPLETED


@pytest.mark.parametrize(
    "name",
    [
        "leave_a_transaction_open",
        "type_begin",
        "turn_autocommit_off",
        "break_a_transaction_and_leave_it",
        "close_all_connections",
    ],
)
@pytest.mark.fault(31)
def test_even_in_the_engines_own_thread_a_task_cannot_break_its_connection(name):
    bad, good = make_job(name=name), make_job(name="edit")

    work_off()

    assert reload(bad).is_finished
    assert_state(good, State.COMPLETED)
    assert connection.get_autocommit() and not connection.in_atomic_block
    assert not dialect().has_open_transaction()


def test_a_task_that_fails_with_a_transaction_open_keeps_its_own_error():
    job = make_job(name="scripted_once")

    def open_and_fail(job):
        jobs.leave_a_transaction_open(job)
        raise ValueError("my own error")

    with_script(open_and_fail)
    work_off()

    fresh = assert_state(job, State.FAILED)
    assert (fresh.error_type, fresh.error_message) == ("ValueError", "my own error")
    assert not Queue.objects.exists()


def with_script(*steps):
    jobs.script[:] = steps


# The process


@pytest.mark.fault(33)
def test_a_changed_directory_is_changed_back():
    before = os.getcwd()
    make_job(name="change_directory")

    work_off()

    assert os.getcwd() == before


def test_queries_that_debugging_collects_are_dropped(settings):
    settings.DEBUG = True
    make_job(name="create_another")

    step(start_engine())

    assert len(connection.queries) < 15


# Paths


@pytest.mark.fault(40)
def test_a_task_that_does_not_import_fails_its_job(settings):
    settings.JOBS = {"broken": ["tests.nowhere.at_all"]}
    job = make_job(name="broken")

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert fresh.error_type == "dbq.exceptions.TaskNotImportable"
    assert fresh.error_message == (
        "\"tests.nowhere.at_all\" does not import: ModuleNotFoundError: No module named 'tests.nowhere'"
    )


def test_a_task_that_is_no_function_fails_its_job(settings):
    settings.JOBS = {"broken": ["tests.jobs.ran"]}
    job = make_job(name="broken")

    work_off()

    assert assert_state(job, State.FAILED).error_message == '"tests.jobs.ran" is not a function.'


def test_a_task_that_takes_no_job_fails_its_job(settings):
    settings.JOBS = {"broken": ["tests.jobs.run_bad_sql"]}
    job = make_job(name="broken")

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert fresh.error_type == "TypeError"
    assert "takes 0 positional arguments but 1 was given" in fresh.error_message


def test_a_job_can_create_others():
    make_job(name="create_another")

    work_off()

    assert [task for _, task in jobs.ran] == ["succeed"]
    assert Job.objects.filter(state=State.COMPLETED).count() == 2


def test_the_job_in_a_task_cannot_be_saved():
    job = make_job(name="scripted_once")
    with_script(lambda job: job.save())

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert fresh.error_type == "dbq.exceptions.DbqError"
    assert fresh.error_message.startswith(f"Job {job.id} exists: its row is changed by verbs")


def test_a_run_says_when_it_began_and_how_long_it_took():
    make_job(name="nothing")
    engine = start_engine()
    engine.cycle()
    run = engine.next_run(0, 0)

    result = execute(run, engine.clock)

    assert result.started <= result.finished
    assert 0 < result.seconds < 10

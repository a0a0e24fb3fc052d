"""The database fails while the engine writes: no result is lost, and none is written twice."""

import threading
from collections import deque
from dataclasses import replace

import pytest
from django.db import OperationalError, connection

from dbq import transitions
from dbq.engine import Engine
from dbq.exceptions import LeaseLost
from dbq.execution import execute
from dbq.models import Attempt, Job
from dbq.patience import LONGEST_SECONDS
from dbq.states import Outcome, State
from tests import jobs
from tests.helpers import (
    RACE_SECONDS,
    Race,
    assert_state,
    assert_totals_are_exact,
    claim,
    dialect,
    make_job,
    make_result,
    make_worker,
    read_attempts,
    record,
    reload,
    run,
    take_up,
)


class UnluckyEngine(Engine):
    """Loses its connection before a transaction begins, or before the answer to its commit arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.misfortunes: list[str] = []
        self.register()

    def _write(self, results, room):
        misfortune = self.misfortunes.pop(0) if self.misfortunes else None
        if misfortune == "before":
            raise OperationalError("the database is gone")
        written = super()._write(results, room)
        if misfortune == "after":
            raise OperationalError("the answer got lost")
        return written

    def _release_unknown(self):
        if self.misfortunes and self.misfortunes[0] == "still":
            self.misfortunes.pop(0)
            raise OperationalError("the database is still gone")
        return super()._release_unknown()

    def suffer(self, *misfortunes):
        """Turn until every misfortune has struck, and once more."""
        self.misfortunes[:] = misfortunes
        for _ in misfortunes:
            with pytest.raises(OperationalError):
                self.cycle()
        self.cycle()


@pytest.mark.parametrize("misfortunes", [["before"], ["before"] * 3, ["before", "still", "still"]])
def test_a_result_is_kept_until_the_database_answers(misfortunes):
    job = make_job(name="succeed")
    engine = UnluckyEngine()
    run(engine, take_up(engine))

    engine.suffer(*misfortunes)

    assert_state(job, State.COMPLETED)
    assert read_attempts(job) == [("succeed", 1, "COMPLETED")]
    assert not engine.is_busy


@pytest.mark.parametrize("misfortunes", [["after"], ["before", "after"], ["after", "still", "still"]])
@pytest.mark.fault(49)
def test_a_result_whose_commit_got_no_answer_is_not_written_twice(misfortunes):
    job = make_job(name="succeed")
    engine = UnluckyEngine()
    run(engine, take_up(engine))

    engine.suffer(*misfortunes)

    assert_state(job, State.COMPLETED)
    assert read_attempts(job) == [("succeed", 1, "COMPLETED")]
    assert (engine.jobs_done, engine.fenced) == (1, 0)
    assert_totals_are_exact()


@pytest.mark.parametrize("misfortune", ["before", "after"])
def test_the_next_task_runs_after_an_outage_at_the_task_edge(misfortune):
    job = make_job(name="two")
    engine = UnluckyEngine()
    run(engine, take_up(engine))

    engine.suffer(misfortune)
    run(engine, engine.next_run(0, 0))
    engine.cycle()

    assert_state(job, State.COMPLETED)
    assert [task for _, task in jobs.ran] == ["succeed", "succeed_again"]


def test_jobs_that_were_claimed_without_an_answer_go_back_at_once():
    job = make_job(name="succeed")
    engine = UnluckyEngine()

    engine.suffer("after")
    engine.cycle()

    run(engine, take_up(engine))
    engine.cycle()
    assert_state(job, State.COMPLETED)
    assert jobs.ran == [(job.id, "succeed")]
    assert reload(job).crash_count == 0


def save_in_a_thread(engine, step):
    """Run a task with checkpoints in its own thread, as under a worker, and turn the engine for it."""
    jobs.script[:] = [step]
    engine.cycle()
    task_run = engine.next_run(0, 0)
    handed_in = threading.Event()
    engine.wake = handed_in.set
    contest = Race()
    contest.start("task", lambda: engine.put(0, task_run, execute(task_run, engine.clock)))
    return contest, handed_in


@pytest.mark.parametrize("misfortunes", [["before"], ["after"], ["before", "still"]])
def test_a_task_waits_with_its_checkpoint_until_the_database_answers(misfortunes):
    job = make_job(name="scripted_once", workspace={"n": 0})
    engine = UnluckyEngine()

    def save_twice(job):
        for n in (1, 2):
            job.workspace["n"] = n
            job.checkpoint()

    contest, handed_in = save_in_a_thread(engine, save_twice)
    for number in (1, 2):
        assert handed_in.wait(RACE_SECONDS)
        handed_in.clear()
        if number == 1:
            engine.cycle()
            assert reload(job).workspace == {"n": 1}
        else:
            engine.suffer(*misfortunes)
            assert reload(job).workspace == {"n": 2}, "Whoever was told so may rely on it."
    contest.join()
    engine.cycle()

    assert assert_state(job, State.COMPLETED).workspace == {"n": 2}
    [attempt] = Attempt.objects.filter(job=job)
    assert [change["value"] for change in attempt.changes] == [1, 2]


# A result that the database refuses


def bad(result):
    """A text that no database takes for JSON."""
    result.workspace = '{"n":'
    result.initial_workspace = "{}"
    return result


def test_one_result_that_cannot_be_written_fails_its_own_job_only():
    made = [make_job(name="succeed") for _ in range(3)]
    engine = UnluckyEngine()
    engine._prefetch = 2
    engine.cycle()
    for number in range(3):
        task_run = engine.next_run(0, 0)
        result = execute(task_run, engine.clock)
        engine.put(0, task_run, bad(result) if number == 1 else result)

    engine.cycle()

    states = [reload(job).state for job in made]
    assert states == [State.COMPLETED, State.FAILED, State.COMPLETED]
    fresh = reload(made[1])
    assert fresh.error_type.startswith("django.db.utils.")
    assert fresh.workspace == {}
    assert_totals_are_exact()


def test_a_job_whose_result_cannot_be_written_does_not_go_on():
    job = make_job(name="two")
    engine = UnluckyEngine()
    task_run = take_up(engine)
    engine.put(0, task_run, bad(execute(task_run, engine.clock)))

    engine.cycle()

    assert_state(job, State.FAILED)
    assert engine.next_run(0, 0) is None
    assert not engine.is_busy


def test_a_checkpoint_that_cannot_be_written_tells_its_task():
    job = make_job(name="scripted_once")
    engine = UnluckyEngine()
    task_run = take_up(engine)
    heard = []

    def save(job):
        job.workspace["n"] = 1
        task_run.add_changes = lambda result, workspace: bad(result)
        try:
            job.checkpoint()
        except LeaseLost as error:
            heard.append(error)
            raise

    jobs.script[:] = [save]
    run(engine, task_run)
    engine.cycle()

    assert len(heard) == 1
    assert_state(job, State.FAILED)
    assert not engine._checkpoints


def test_a_good_checkpoint_beside_a_bad_result_is_kept():
    saving, failing = make_job(), make_job()
    engine = UnluckyEngine()
    engine._prefetch = 1
    engine.cycle()
    first, second = engine.next_run(0, 0), engine.next_run(0, 0)
    assert (first.job.pk, second.job.pk) == (saving.pk, failing.pk)
    answer: list[bool] = []
    checkpoint = make_result(
        first.job, Outcome.RUNNING, workspace='{"n":1}', initial_workspace="{}", changes="[]"
    )
    engine._checkpoints[id(checkpoint)] = (threading.Event(), answer)
    engine.results.extend([bad(make_result(second.job)), checkpoint])

    engine.cycle()

    assert answer == [True]
    assert reload(saving).workspace == {"n": 1}
    assert_state(failing, State.FAILED)


def test_an_outage_while_bad_results_are_sorted_out_loses_none():
    made = [make_job(name="succeed") for _ in range(3)]
    engine = UnluckyEngine()
    engine._prefetch = 2
    engine.cycle()
    for number in range(3):
        task_run = engine.next_run(0, 0)
        result = execute(task_run, engine.clock)
        engine.put(0, task_run, bad(result) if number == 0 else result)

    # The batch is refused, then the first alone; its replacement meets the outage.
    engine.misfortunes[:] = ["", "", "before"]
    with pytest.raises(OperationalError):
        engine.cycle()
    while engine.is_busy:
        engine.cycle()

    states = [reload(job).state for job in made]
    assert states == [State.FAILED, State.COMPLETED, State.COMPLETED]
    assert_totals_are_exact()


# Between two threads


class SlowDeque(deque):
    """Tells when something is taken out of it, and waits before it goes on."""

    def __init__(self, items) -> None:
        super().__init__(items)
        self.taken, self.may_go_on = threading.Event(), threading.Event()

    def popleft(self):
        item = super().popleft()
        self.taken.set()
        self.may_go_on.wait(RACE_SECONDS)
        return item


def test_a_run_on_its_way_to_a_thread_is_not_taken_for_unknown():
    job = make_job(name="succeed")
    engine = UnluckyEngine()
    engine.cycle()
    engine.ready = SlowDeque(engine.ready)
    contest = Race()
    contest.start("thread", lambda: engine.next_run(0, 0))
    assert engine.ready.taken.wait(RACE_SECONDS)

    contest.start("engine", engine.sweep)
    sweeper = contest._threads[-1]
    sweeper.join(0.2)
    engine.ready.may_go_on.set()
    contest.join()

    assert not engine.results, "The sweep gave back what a thread was taking up."
    assert_state(job, State.PROCESSING)


def test_the_jobs_of_an_engine_that_knows_them_are_never_given_back():
    made = Job.objects.bulk_create([Job(name="nothing") for _ in range(30)])
    engine = UnluckyEngine()
    engine._prefetch = 30
    engine.cycle()
    contest = Race()

    def work():
        while (task_run := engine.next_run(0, 0)) is not None:
            engine.put(0, task_run, execute(task_run, engine.clock))

    contest.start("thread", work)
    while contest._threads[0].is_alive():
        engine._release_unknown()
    contest.join()

    assert [result.outcome for result in engine.results] == [Outcome.COMPLETED] * len(made)


# What an outage left in doubt


@pytest.mark.parametrize(
    "difference",
    [{"fence": 2}, {"task": "tests.jobs.succeed"}, {"number": 2}, {"outcome": Outcome.RELEASED}],
    ids=lambda difference: next(iter(difference)),
)
def test_the_record_of_another_run_is_not_taken_for_that_of_this_one(difference):
    make_job()
    [claimed] = claim()
    result = make_result(claimed, Outcome.RETRIED, delay=1)
    assert not transitions.is_recorded(dialect(), result)

    record(result)

    assert transitions.is_recorded(dialect(), result)
    assert not transitions.is_recorded(dialect(), replace(result, **difference))


def test_a_checkpoint_is_not_taken_for_written_because_the_next_owner_has_the_same_workspace():
    make_job(workspace={"n": 1})
    worker = make_worker()
    [claimed] = claim(worker=worker)
    checkpoint = make_result(claimed, Outcome.RUNNING, workspace='{"n":1}')
    assert transitions.is_recorded(dialect(), checkpoint)

    transitions.rescue(dialect(), worker, "dbq.WorkerLost", "x")
    claim()

    assert not transitions.is_recorded(dialect(), checkpoint)


IDLE_LIMITS = {
    "postgresql": ("SHOW idle_in_transaction_session_timeout", f"{LONGEST_SECONDS:g}s"),
    "mysql": ("SELECT @@idle_transaction_timeout", LONGEST_SECONDS),
}


@pytest.mark.on(*IDLE_LIMITS)
def test_a_transaction_that_falls_silent_ends_when_its_worker_hangs_up():
    """Later, and the worker that is back would wait for the rows that it left behind."""
    Engine().turn()
    statement, limit = IDLE_LIMITS[connection.vendor]

    assert list(dialect().execute(statement)) == [(limit,)]

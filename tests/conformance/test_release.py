"""PROCESSING → READY, or NEW, on purpose: a worker gives jobs back and no attempt is counted."""

from datetime import timedelta

from dbq import engine as engines
from dbq.models import Job, Queue
from dbq.states import Lane, Outcome, State
from tests import jobs
from tests.helpers import (
    assert_state,
    claim,
    flush,
    make_job,
    make_result,
    read_attempts,
    read_everything,
    record,
    reload,
    run,
    script,
    start_engine,
    take_up,
    work_off,
)


def prefetch(engine, amount):
    """Claim more than there are threads, as an engine does once it knows that jobs are short."""
    engine._prefetch = amount
    engine.cycle()


def test_a_job_that_was_claimed_but_never_begun_is_new_again():
    job = make_job()
    engine = start_engine()
    engine.cycle()
    assert_state(job, State.PROCESSING)

    assert engine.release_unstarted() == 1
    flush(engine)

    fresh = assert_state(job, State.NEW)
    assert (fresh.attempt, fresh.started, fresh.worker_id) == (0, None, None)
    assert fresh.lane == Lane.CLAIMABLE
    assert read_attempts(job) == []


def test_a_ready_job_that_was_claimed_but_never_begun_is_ready_again():
    job = make_job(State.READY)
    engine = start_engine()
    engine.cycle()

    engine.release_unstarted()
    flush(engine)

    fresh = assert_state(job, State.READY)
    assert fresh.attempt == 0


def test_a_released_job_has_a_new_fence():
    job = make_job()
    engine = start_engine()
    held = take_up(engine)
    engine.release_running()
    flush(engine)

    assert reload(job).fence > held.fence


def test_a_running_job_that_is_released_is_ready_and_the_attempt_not_counted():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    held.begin(engine.clock.now())

    assert engine.release_running() == 1
    flush(engine)

    fresh = assert_state(job, State.READY)
    assert (fresh.attempt, fresh.lane, fresh.run_after) == (0, Lane.CLAIMABLE, None)
    assert read_attempts(job) == [("succeed", 1, "RELEASED")]
    held.end()


def test_what_a_released_run_still_hands_in_is_dropped():
    job = make_job(name="succeed")
    engine = start_engine()
    held = take_up(engine)
    engine.release_running()
    flush(engine)
    before = read_everything()

    run(engine, held)
    flush(engine)

    assert jobs.ran == [(job.id, "succeed")]
    assert read_everything() == before
    assert engine.fenced == 1


def test_a_released_job_runs_again_with_the_same_number():
    job = make_job(name="succeed")
    engine = start_engine()
    take_up(engine)
    engine.release_running()
    flush(engine)

    work_off()

    assert read_attempts(job) == [("succeed", 1, "RELEASED"), ("succeed", 1, "COMPLETED")]


def test_a_release_in_a_second_attempt_counts_back_to_the_first():
    job = make_job()
    [claimed] = claim()
    record(make_result(claimed, Outcome.RETRIED, delay=0))
    Job.objects.update(lane=Lane.CLAIMABLE)
    [claimed] = claim()
    assert claimed.attempt == 2

    record(make_result(claimed, Outcome.RELEASED))

    assert assert_state(job, State.READY).attempt == 1


def test_a_checkpoint_before_a_release_is_kept():
    job = make_job(name="scripted_once", workspace={"n": 0})
    engine = start_engine()

    def save_and_be_released(job):
        job.workspace["n"] = 1
        job.checkpoint()
        job.workspace["n"] = 2
        engine.release_running()

    with script(save_and_be_released):
        run(engine, take_up(engine))
        flush(engine)

    fresh = assert_state(job, State.READY)
    assert fresh.workspace == {"n": 1}
    assert read_attempts(job) == [("follow_the_script", 1, "RELEASED")]


def test_unstarted_jobs_go_back_after_two_seconds():
    waiting = [make_job() for _ in range(3)]
    engine = start_engine()
    prefetch(engine, 2)
    assert Job.objects.running().count() == 3
    engine.refresh()
    assert not engine.results, "Two seconds are not over."

    for run_ in engine.ready:
        run_.claimed_at -= engines.UNSTARTED_MAX_SECONDS + 0.1
    engine.refresh()
    flush(engine)

    for job in waiting:
        assert_state(job, State.NEW)


def test_unstarted_jobs_go_back_when_a_long_task_holds_up_every_thread():
    waiting = [make_job() for _ in range(3)]
    engine = start_engine()
    prefetch(engine, 2)
    running = engine.next_run(0, wait_seconds=0)
    running.begin(engine.clock.now())
    engine.turn()
    assert len(engine.ready) == 2, "It may be over at any moment."

    running.started -= engines.HELD_UP_SECONDS + 0.01
    engine.turn()
    engine.turn()

    assert not engine.ready
    for job in waiting:
        assert_state(job, State.PROCESSING if job == running.job else State.NEW)


def test_unstarted_jobs_stay_while_another_thread_may_come_to_them():
    for _ in range(4):
        make_job()
    engine = start_engine(threads=2)
    prefetch(engine, 2)
    for place in (0, 1):
        engine.next_run(place, wait_seconds=0).begin(engine.clock.now())
    engine.running[0].started -= engines.HELD_UP_SECONDS + 0.01

    engine.turn()

    assert len(engine.ready) == 2


def test_unstarted_jobs_of_a_paused_queue_go_back():
    paused = make_job(queue_name="mail")
    served = make_job(queue_name="reports")
    engine = start_engine("mail", "reports")
    prefetch(engine, 1)
    assert Job.objects.running().count() == 2
    Queue(name="mail").pause()

    engine.refresh()
    flush(engine)

    assert_state(paused, State.NEW)
    assert_state(served, State.PROCESSING)


def test_a_stopping_engine_gives_back_what_has_not_begun_and_keeps_what_runs():
    first, second = make_job(name="succeed"), make_job(name="succeed")
    engine = start_engine()
    prefetch(engine, 1)
    held = engine.next_run(0, 0)

    engine.stop()
    flush(engine)

    assert_state(first, State.PROCESSING)
    assert_state(second, State.NEW)
    run(engine, held)
    flush(engine)
    assert_state(first, State.COMPLETED)
    assert not engine.is_busy


def test_a_release_with_a_delay_waits_for_it():
    job = make_job()
    [claimed] = claim()
    result = make_result(claimed, Outcome.RELEASED, delay=30, unstarted=True)

    record(result)

    fresh = assert_state(job, State.READY)
    assert fresh.lane == Lane.WAITING
    assert fresh.run_after == result.finished + timedelta(seconds=30)
    assert fresh.attempt == 0


def test_a_stale_release_changes_nothing():
    job = make_job()
    [claimed] = claim()
    Job.objects.update(fence=claimed.fence + 1)

    assert record(make_result(claimed, Outcome.RELEASED)) == []

    assert_state(job, State.PROCESSING)


def test_a_job_that_is_claimed_but_unknown_to_its_own_worker_goes_back():
    """The answer to the claim got lost; the worker lives, so no lease runs out."""
    job = make_job()
    engine = start_engine()
    claim(worker=engine.worker)

    engine.sweep()
    flush(engine)

    assert assert_state(job, State.READY).attempt == 0


def test_a_sweep_leaves_what_its_own_worker_knows_of():
    known = [make_job(name="succeed") for _ in range(3)]
    engine = start_engine()
    prefetch(engine, 2)
    run(engine, engine.next_run(0, 0))  # a result that is not written yet
    engine.next_run(0, 0)  # one that runs, one that waits

    engine.sweep()
    flush(engine)

    states = [reload(job).state for job in known]
    assert states == [State.COMPLETED, State.PROCESSING, State.PROCESSING]

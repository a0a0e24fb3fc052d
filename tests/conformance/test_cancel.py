"""Waiting → CANCELLED at once; a running job is asked, and ends at the next checkpoint or task edge."""

from datetime import timedelta

import pytest

from dbq.exceptions import JobCancelled
from dbq.models import Job, Queue
from dbq.states import Lane, Outcome, State
from dbq.transitions import CHUNK
from tests import jobs
from tests.helpers import (
    assert_state,
    claim,
    dialect,
    flush,
    let_time_pass,
    make_job,
    make_result,
    promote,
    read_attempts,
    record,
    reload,
    run,
    script,
    start_engine,
    take_up,
    work_off,
)


@pytest.mark.parametrize("state", [State.NEW, State.READY])
def test_a_waiting_job_is_cancelled_at_once(state):
    job = make_job(state)

    assert job.cancel() is True

    fresh = assert_state(job, State.CANCELLED)
    assert fresh.finished is not None
    assert (fresh.lane, fresh.cancel_requested) == (Lane.FINISHED, False)
    assert work_off() == []


def test_a_page_from_before_a_cancellation_is_stale():
    job = make_job()
    job.cancel()

    assert job.retry(version=job.version) is False

    assert_state(job, State.CANCELLED)


def test_a_scheduled_job_is_cancelled_at_once():
    job = make_job(run_after=dialect().read_clock() + timedelta(hours=1))

    assert job.cancel() is True

    assert_state(job, State.CANCELLED)
    let_time_pass(7200)
    assert promote() == 0


def test_a_cancelled_job_gives_its_unique_key_up():
    job = make_job(unique_key="k")
    job.cancel()

    assert reload(job).unique_key is None
    make_job(unique_key="k")


def test_a_running_job_is_asked_once():
    job = make_job(State.PROCESSING)

    assert job.cancel() is True
    assert job.cancel() is False, "It has been asked already."

    fresh = assert_state(job, State.PROCESSING)
    assert fresh.cancel_requested


def test_asking_a_running_job_changes_nothing_that_its_worker_checks():
    job = make_job(State.PROCESSING)
    before = reload(job)

    job.cancel()

    after = reload(job)
    assert (after.fence, after.version, after.worker_id) == (
        before.fence,
        before.version,
        before.worker_id,
    )


def test_a_running_job_ends_at_the_next_task_edge():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    job.cancel()

    run(engine, held)
    flush(engine)

    fresh = assert_state(job, State.CANCELLED)
    assert jobs.ran == [(job.id, "succeed")]
    assert fresh.next_task == "tests.jobs.succeed_again"
    assert (fresh.attempt, fresh.worker_id) == (0, None)
    assert read_attempts(job) == [("succeed", 1, "COMPLETED")]


def test_what_the_task_before_the_edge_wrote_is_kept():
    job = make_job(name="scripted")

    def edit_and_be_cancelled(job):
        job.workspace["done"] = 1
        reload(job).cancel()

    with script(edit_and_be_cancelled):
        work_off()

    assert assert_state(job, State.CANCELLED).workspace == {"done": 1}


def test_a_request_is_heard_while_the_result_waits_to_be_written():
    job = make_job(name="two")
    engine = start_engine()
    run(engine, take_up(engine))
    job.cancel()
    engine.refresh()

    flush(engine)

    assert_state(job, State.CANCELLED)


def test_a_running_job_ends_at_its_next_checkpoint():
    heard = []
    job = make_job(name="scripted")

    def save_and_hear(job):
        job.workspace["saved"] = True
        reload(job).cancel()
        try:
            job.checkpoint()
        except JobCancelled as error:
            heard.append(str(error))
            raise

    with script(save_and_hear):
        work_off()

    fresh = assert_state(job, State.CANCELLED)
    assert heard == [f"Job {job.id} is to end: an operator cancelled it."]
    assert fresh.workspace == {"saved": True}
    assert (fresh.error_type, fresh.error_message) == ("", "")
    assert read_attempts(job) == [("follow_the_script", 1, "CANCELLED")]


def test_a_running_task_can_see_that_its_end_is_asked_for():
    seen = []
    make_job(name="scripted_once")
    engine = start_engine()

    def look(job):
        seen.append(job.cancel_requested)
        reload(job).cancel()
        engine.refresh()
        seen.append(job.cancel_requested)

    with script(look):
        run(engine, take_up(engine))

    assert seen == [False, True]


def test_a_last_task_that_ends_well_completes_its_job_in_spite_of_the_request():
    job = make_job(name="succeed")
    engine = start_engine()
    held = take_up(engine)
    job.cancel()

    run(engine, held)
    flush(engine)

    assert_state(job, State.COMPLETED)


def test_a_last_task_that_fails_fails_its_job_in_spite_of_the_request():
    job = make_job(name="fail")
    engine = start_engine()
    held = take_up(engine)
    job.cancel()

    run(engine, held)
    flush(engine)

    assert_state(job, State.FAILED)


def test_a_job_is_cancelled_rather_than_tried_again():
    job = make_job(name="fail_for_ever")
    engine = start_engine()
    held = take_up(engine)
    job.cancel()

    run(engine, held)
    flush(engine)

    fresh = assert_state(job, State.CANCELLED)
    assert fresh.error_type == "ValueError", "Why the task did not end is no secret."
    assert read_attempts(job) == [("fail", 1, "CANCELLED")]


def test_a_job_is_cancelled_rather_than_released():
    job = make_job(name="succeed")
    engine = start_engine()
    take_up(engine)
    job.cancel()

    engine.release_running()
    flush(engine)

    assert_state(job, State.CANCELLED)


def test_a_job_that_was_claimed_ahead_is_cancelled_before_it_begins():
    job = make_job(name="succeed")
    engine = start_engine()
    engine.cycle()
    job.cancel()

    engine.refresh()
    flush(engine)

    assert_state(job, State.CANCELLED)
    assert engine.next_run(0, 0) is None
    assert jobs.ran == []


def test_a_request_that_its_worker_never_heard_is_honoured_by_the_next_one():
    job = make_job(name="succeed")
    [claimed] = claim()
    job.cancel()
    record(make_result(claimed, Outcome.RELEASED))
    assert_state(job, State.READY)

    work_off()

    assert_state(job, State.CANCELLED)
    assert jobs.ran == []


def test_a_cancelled_job_that_is_retried_has_no_request_left():
    job = make_job(name="two")
    engine = start_engine()
    held = take_up(engine)
    job.cancel()
    run(engine, held)
    flush(engine)

    job.retry()

    assert not assert_state(job, State.READY).cancel_requested
    work_off()
    assert_state(job, State.COMPLETED)
    assert [task for _, task in jobs.ran] == ["succeed", "succeed_again"]


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_a_finished_job_is_not_cancelled(state):
    job = make_job(state)
    before = reload(job).finished

    assert job.cancel() is False

    assert assert_state(job, state).finished == before


def test_all_that_match_are_cancelled_and_counted():
    waiting = [make_job(), make_job(State.READY)]
    make_job(State.COMPLETED)
    running = make_job(State.PROCESSING, queue_name="other")

    assert Job.objects.all().cancel() == 3

    for job in waiting:
        assert_state(job, State.CANCELLED)
    assert reload(running).cancel_requested


def test_jobs_that_the_query_leaves_out_are_not_cancelled():
    kept = make_job(queue_name="keep")
    make_job(queue_name="drop")

    assert Job.objects.filter(queue_name="drop").cancel() == 1

    assert_state(kept, State.NEW)


def test_a_job_of_a_paused_queue_can_be_cancelled():
    job = make_job()
    Queue(name="default").pause()

    assert job.cancel() is True

    assert_state(job, State.CANCELLED)


def test_more_jobs_than_fit_one_transaction_are_all_cancelled():
    Job.objects.bulk_create([Job(name="nothing") for _ in range(CHUNK + 5)])

    assert Job.objects.all().cancel() == CHUNK + 5

    assert Job.objects.filter(state=State.CANCELLED).count() == CHUNK + 5

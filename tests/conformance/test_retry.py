"""FAILED or CANCELLED → READY, at the task that did not end."""

import pytest
from django.db import transaction

from dbq.models import Job
from dbq.states import Lane, State
from tests.helpers import (
    assert_state,
    let_time_pass,
    make_job,
    promote,
    read_attempts,
    reload,
    script,
    work_off,
)


def test_a_failed_job_is_ready_at_the_task_that_failed():
    job = make_job(State.FAILED, workspace={"a": 1})
    before = reload(job)

    assert job.retry() is True

    fresh = assert_state(job, State.READY)
    assert fresh.next_task == "tests.jobs.fail"
    assert fresh.workspace == {"a": 1, "edited": 1}, "As of its last accepted checkpoint."
    assert (fresh.attempt, fresh.crash_count, fresh.finished) == (0, 0, None)
    assert (fresh.lane, fresh.run_after, fresh.worker_id) == (Lane.CLAIMABLE, None, None)
    assert fresh.fence == before.fence + 1
    assert fresh.version == before.version + 1
    assert fresh.enqueued > before.enqueued
    assert fresh.started == before.started


def test_tasks_that_had_ended_do_not_run_again():
    job = make_job(name="scripted")

    def fail(job):
        raise ValueError

    with script(lambda job: None, fail, lambda job: None, lambda job: None):
        work_off()
        job.retry()
        work_off()

    assert_state(job, State.COMPLETED)
    assert read_attempts(job) == [
        ("follow_the_script", 1, "COMPLETED"),
        ("follow_the_script_again", 1, "FAILED"),
        ("follow_the_script_again", 1, "COMPLETED"),
        ("follow_the_script_to_the_end", 1, "COMPLETED"),
    ]


def test_a_job_that_was_cancelled_before_it_ran_is_retried_from_its_first_task():
    job = make_job(State.CANCELLED)

    assert job.retry() is True

    assert_state(job, State.READY)
    work_off()
    assert_state(job, State.COMPLETED)


def test_a_retried_job_has_all_its_attempts_again():
    job = make_job(name="hooked_retries")
    for _ in range(2):
        work_off()
        let_time_pass(10)
        promote()
    assert_state(job, State.FAILED)

    job.retry()
    work_off()

    fresh = assert_state(job, State.READY)
    assert (fresh.attempt, fresh.lane) == (1, Lane.WAITING)


@pytest.mark.parametrize("state", [State.NEW, State.READY, State.PROCESSING, State.COMPLETED])
def test_a_job_that_has_not_failed_is_not_retried(state):
    job = make_job(state)
    before = reload(job).version

    assert job.retry() is False

    assert assert_state(job, state).version == before


def test_a_job_is_retried_once():
    job = make_job(State.FAILED)

    assert [job.retry(), job.retry()] == [True, False]


def test_all_that_match_are_retried_and_counted():
    failed = [make_job(State.FAILED) for _ in range(2)]
    make_job(State.COMPLETED)
    cancelled = make_job(State.CANCELLED)

    assert Job.objects.all().retry() == 3

    for job in (*failed, cancelled):
        assert_state(job, State.READY)


def test_a_retry_within_a_transaction_that_fails_did_not_happen():
    job = make_job(State.FAILED)

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        assert job.retry()
        1 / 0  # noqa: B018

    assert_state(job, State.FAILED)


def test_a_retried_job_does_not_take_its_unique_key_back():
    job = make_job(State.FAILED, unique_key="k")
    make_job(unique_key="k")

    assert job.retry() is True

    assert reload(job).unique_key is None


def test_a_job_whose_name_is_unknown_is_ready_and_waits(settings):
    job = make_job(State.FAILED)
    settings.JOBS = {}

    assert job.retry() is True

    assert_state(job, State.READY)
    assert work_off() == []

"""Finished jobs are deleted, one by one or past their age; waiting and running ones never are."""

import pytest

from dbq import transitions
from dbq.exceptions import JobNotFinished
from dbq.models import Attempt, Job
from dbq.states import State
from tests.helpers import (
    assert_state,
    assert_totals_are_exact,
    let_time_pass,
    make_job,
    read_everything,
)

UNFINISHED = [State.NEW, State.READY, State.PROCESSING]
FINISHED = [State.COMPLETED, State.FAILED, State.CANCELLED]


@pytest.mark.parametrize("state", FINISHED)
def test_a_finished_job_is_deleted_with_its_history(state):
    job = make_job(state)
    kept = make_job(state)

    assert job.delete() == (1, {"dbq.Job": 1})

    assert not Job.objects.filter(pk=job.pk).exists()
    assert not Attempt.objects.filter(job_id=job.pk).exists()
    assert_state(kept, state)
    assert_totals_are_exact()


@pytest.mark.parametrize("state", UNFINISHED)
def test_an_unfinished_job_is_not_deleted(state):
    job = make_job(state)
    before = read_everything()

    with pytest.raises(JobNotFinished) as raised:
        job.delete()

    assert str(raised.value) == (f"Job {job.pk} is {state}: only finished jobs are deleted; cancel it first.")
    assert read_everything() == before


def test_a_deletion_of_many_is_all_or_nothing():
    finished = [make_job(State.COMPLETED) for _ in range(2)]
    make_job()
    before = read_everything()

    with pytest.raises(JobNotFinished):
        Job.objects.all().delete()

    assert read_everything() == before
    assert Job.objects.filter(pk__in=[job.pk for job in finished]).delete()[0] == 2


def test_only_jobs_created_before_the_age_are_cleaned_up():
    old = make_job(State.COMPLETED)
    let_time_pass(3700)
    recent = make_job(State.COMPLETED)

    assert Job.objects.delete_old(hours=1) == 1

    assert not Job.objects.filter(pk=old.pk).exists()
    assert_state(recent, State.COMPLETED)
    assert_totals_are_exact()


def test_the_default_age_is_a_day():
    make_job(State.COMPLETED)
    let_time_pass(23 * 3600)
    assert Job.objects.delete_old() == 0

    let_time_pass(2 * 3600)

    assert Job.objects.delete_old() == 1


def test_the_age_may_be_a_part_of_an_hour():
    make_job(State.COMPLETED)
    let_time_pass(1000)

    assert Job.objects.delete_old(hours=0.5) == 0
    assert Job.objects.delete_old(hours=0.25) == 1


def test_unfinished_jobs_outlive_any_age():
    kept = [make_job(state) for state in UNFINISHED]
    for state in FINISHED:
        make_job(state)
    let_time_pass(1_000_000)

    assert Job.objects.delete_old(hours=1) == 3

    for job, state in zip(kept, UNFINISHED, strict=True):
        assert_state(job, state)


def test_one_queue_can_be_cleaned_up_alone():
    make_job(State.COMPLETED, queue_name="mail")
    kept = make_job(State.COMPLETED, queue_name="reports")
    let_time_pass(10)

    assert Job.objects.delete_old(hours=0, queue_name="mail") == 1

    assert_state(kept, State.COMPLETED)


def test_a_dry_run_counts_and_deletes_nothing():
    for state in (*FINISHED, *UNFINISHED):
        make_job(state)
    let_time_pass(10)
    before = read_everything()

    assert Job.objects.delete_old(hours=0, dry_run=True) == 3

    assert read_everything() == before


def test_more_jobs_than_fit_one_transaction_are_all_cleaned_up():
    amount = transitions.CLEANUP_CHUNK + 7
    Job.objects.bulk_create([Job(name="nothing") for _ in range(amount)])
    Job.objects.all().cancel()
    kept = make_job()
    let_time_pass(10)

    assert Job.objects.delete_old(hours=0) == amount

    assert Job.objects.get().pk == kept.pk
    assert_totals_are_exact()


def test_a_job_that_was_set_going_again_is_not_cleaned_up():
    job = make_job(State.FAILED)
    let_time_pass(10)
    job.retry()

    assert Job.objects.delete_old(hours=0) == 0

    assert_state(job, State.READY)

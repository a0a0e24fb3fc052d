"""Waiting jobs get another priority, queue or time."""

from datetime import datetime, timedelta

import pytest

from dbq.exceptions import InvalidJob
from dbq.models import Job
from dbq.states import Lane, State
from tests.helpers import (
    assert_state,
    claim,
    dialect,
    let_time_pass,
    make_job,
    promote,
    read_everything,
    reload,
    start_engine,
    work_off,
)


def in_an_hour():
    return dialect().read_clock() + timedelta(hours=1)


def test_a_preferred_job_is_claimed_first():
    make_job()
    job = make_job()

    assert job.reschedule(priority=1) is True

    assert [claimed.pk for claimed in claim()] == [job.pk]


def test_a_moved_job_is_claimed_from_its_new_queue():
    job = make_job()

    assert job.reschedule(queue_name="other") is True

    assert claim() == []
    assert [claimed.pk for claimed in claim(queue_name="other")] == [job.pk]


def test_a_job_that_is_put_off_waits_for_its_time():
    job = make_job()

    assert job.reschedule(run_after=in_an_hour()) is True

    assert reload(job).lane == Lane.WAITING
    assert claim() == []
    let_time_pass(3601)
    assert promote() == 1
    assert [claimed.pk for claimed in claim()] == [job.pk]


def test_a_scheduled_job_that_is_brought_forward_is_claimed_at_once():
    job = make_job(run_after=in_an_hour())

    assert job.reschedule(run_after=dialect().read_clock()) is True

    assert reload(job).lane == Lane.CLAIMABLE
    assert [claimed.pk for claimed in claim()] == [job.pk]


def test_a_job_that_is_brought_forward_has_not_waited_before():
    job = make_job(run_after=in_an_hour())
    let_time_pass(1800)
    before = dialect().read_clock()

    job.reschedule(run_after=dialect().read_clock())

    assert reload(job).enqueued >= before


def test_what_is_not_given_stays():
    later = in_an_hour()
    job = make_job(priority=3, queue_name="mail", run_after=later)

    job.reschedule(priority=4)

    fresh = assert_state(job, State.NEW)
    assert (fresh.priority, fresh.queue_name, fresh.run_after) == (4, "mail", later)
    assert (fresh.lane, fresh.version) == (Lane.WAITING, job.version + 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"priority": 32768}, "32768 is not a priority."),
        ({"priority": True}, "True is not a priority."),
        ({"priority": 1.0}, "1.0 is not a priority."),
        (
            {"queue_name": "a b"},
            'A queue name must be 1 to 50 letters, digits, "_", ".", ":" or "-", not \'a b\'.',
        ),
        (
            {"run_after": datetime(2030, 1, 1)},
            "run_after must be a datetime with a time zone, not datetime.datetime(2030, 1, 1, 0, 0).",
        ),
        (
            {"run_after": "2030-01-01"},
            "run_after must be a datetime with a time zone, not '2030-01-01'.",
        ),
    ],
)
def test_values_that_break_a_rule_are_refused(change, message):
    job = make_job()
    before = read_everything()

    with pytest.raises(InvalidJob) as raised:
        job.reschedule(**change)

    assert str(raised.value) == message
    assert read_everything() == before


def test_a_running_job_keeps_its_place():
    job = make_job(State.PROCESSING)
    before = reload(job)

    assert job.reschedule(priority=9, queue_name="other", run_after=in_an_hour()) is False

    fresh = reload(job)
    assert (fresh.priority, fresh.queue_name, fresh.run_after) == (
        before.priority,
        before.queue_name,
        before.run_after,
    )


# Promotion


def test_only_due_jobs_are_promoted():
    due = make_job(run_after=in_an_hour())
    later = make_job(run_after=in_an_hour() + timedelta(hours=1))
    let_time_pass(3700)

    assert promote() == 1

    assert [reload(job).lane for job in (due, later)] == [Lane.CLAIMABLE, Lane.WAITING]
    assert promote() == 0


def test_a_promoted_job_has_waited_since_its_time():
    job = make_job(run_after=in_an_hour())
    let_time_pass(3700)

    promote()

    fresh = reload(job)
    assert fresh.enqueued == fresh.run_after
    assert fresh.state == State.NEW


def test_an_engine_promotes_what_is_due_and_runs_it():
    job = make_job(run_after=in_an_hour())
    let_time_pass(3700)
    engine = start_engine()

    engine.promote()
    work_off(engine=engine)

    assert_state(job, State.COMPLETED)


def test_a_due_job_counts_as_waiting_whether_promoted_or_not():
    make_job(run_after=in_an_hour())
    let_time_pass(3700)

    assert Job.get_queue_depths(exclude_future_jobs=True) == {"default": 1}
    promote()
    assert Job.get_queue_depths(exclude_future_jobs=True) == {"default": 1}


def test_a_future_job_is_counted_unless_it_is_excluded():
    make_job(run_after=in_an_hour())
    make_job()

    assert Job.get_queue_depths() == {"default": 2}
    assert Job.get_queue_depths(exclude_future_jobs=True) == {"default": 1}

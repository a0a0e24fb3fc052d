"""A job whose end was asked for, and whose worker did not live or listen to hear of it."""

from dbq import transitions
from dbq.operations import Actor, act, can_act
from dbq.states import Outcome, State
from tests.helpers import (
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
)

ALICE = Actor("1", "alice")


def make_deaf_job():
    """Given back in the moment between its worker's last look and the operator's request."""
    make_job()
    [claimed] = claim()
    reload(claimed).cancel()
    record(make_result(claimed, Outcome.RELEASED))
    return assert_state(claimed, State.READY)


def test_a_job_that_may_have_been_running_in_a_lost_host_ends_as_it_was_asked_to():
    asked, other = make_job(unique_key="k"), make_job()
    worker = make_worker(threads=1)
    claim(2, worker=worker)
    asked.cancel()

    assert transitions.rescue(dialect(), worker, "dbq.WorkerLost", "gone") == 2

    ended = assert_state(asked, State.CANCELLED)
    assert (ended.unique_key, ended.crash_count, ended.worker_id) == (None, 0, None)
    assert read_attempts(asked) == [("edit", 1, "LOST")]
    assert_state(other, State.READY)
    assert_totals_are_exact()


def test_a_job_that_went_back_before_its_worker_heard_can_be_cancelled_again():
    job = make_deaf_job()
    assert can_act("cancel", job)

    assert act(ALICE, "cancel", job).message == "Cancelled; none of its tasks will start."

    assert_state(job, State.CANCELLED)


def test_a_running_job_is_asked_once():
    job = make_job(State.PROCESSING)
    job.cancel()
    assert not can_act("cancel", reload(job))

"""Death at the worst moments of a worker's cycle."""

import os
import signal

import pytest

from dbq.models import Attempt, Job
from dbq.states import Outcome, State
from tests.process import failpoints
from tests.process.workers import wait_until, wait_until_all_ended

pytestmark = [pytest.mark.process, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

# How often the first of two tasks runs again after a death there.
REPEATS = {
    "claimed, not committed": 0,
    "claim committed": 0,
    "results not recorded": 1,
    "results recorded, not committed": 1,
    "results committed": 0,
}


@pytest.mark.parametrize("point", REPEATS)
@pytest.mark.fault(2)
def test_a_death_at_any_point_of_a_cycle_costs_at_most_one_repeat(workers, ledger, monkeypatch, point):
    monkeypatch.setenv(failpoints.POINT, point)
    workers.start()
    job = Job.objects.create(name="two")
    wait_until_all_ended([job])

    failure = failpoints.read_failure(ledger.folder)
    assert failure is not None
    verdict = ledger.judge([job], dict([failure]))
    verdict.assert_all_is_well()
    assert len(verdict.duplicated) == REPEATS[point]
    # No task was running: nothing is held against the job.
    assert (job.state, job.crash_count) == (State.COMPLETED, 0)


@pytest.mark.fault(5)
def test_a_rescuer_that_freezes_is_replaced_and_does_no_harm_when_it_wakes(
    workers, ledger, monkeypatch, make_gate, create_waiting
):
    gate = make_gate("gate")
    victim = workers.start()
    job = create_waiting(gate)
    wait_until(lambda: ledger.has_started(job), what="the job starts")
    monkeypatch.setenv(failpoints.POINT, "about to rescue")
    monkeypatch.setenv(failpoints.NUMBER, str(int(signal.SIGSTOP)))
    rescuer = workers.start()
    rescuer.wait_until_ready()
    victim.kill_all()
    wait_until(lambda: failpoints.read_failure(ledger.folder), what="the rescuer begins")
    # Its supervisor too, which would kill what stands still.
    pids = rescuer.freeze()

    monkeypatch.delenv(failpoints.POINT)
    workers.start()
    wait_until(lambda: ledger.has_started(job, times=2), what="another one rescues")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    gate.open()
    wait_until_all_ended([job])

    assert (job.state, job.crash_count) == (State.COMPLETED, 1)
    outcomes = list(Attempt.objects.filter(job=job).values_list("outcome", flat=True))
    assert outcomes == [Outcome.LOST, Outcome.COMPLETED]
    last = Job.objects.create(name="work")
    wait_until_all_ended([last])

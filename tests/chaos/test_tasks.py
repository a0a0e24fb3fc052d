"""Tasks that no worker would like to have, in real worker processes."""

import pytest

from dbq.models import Attempt, Job
from dbq.states import State
from tests.process.workers import wait_until_all_ended

pytestmark = [pytest.mark.process, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

# Of the processes that these tests start.
LEASE_SECONDS = 6


@pytest.mark.fault(22)
def test_a_task_that_outlives_its_lease_runs_once(workers, ledger):
    for _ in range(2):
        workers.start()
    job = Job.objects.create(name="work", workspace={"seconds": 2.5 * LEASE_SECONDS})
    wait_until_all_ended([job])

    assert (job.state, job.crash_count) == (State.COMPLETED, 0)
    assert len(ledger.get_runs(job)) == 1


@pytest.mark.fault(26)
def test_a_task_that_runs_out_of_memory_fails_and_its_worker_goes_on(workers):
    command = workers.start()
    command.wait_until_ready()
    children = command.get_children()
    hungry, next_one = Job.objects.create(name="run_out_of_memory"), Job.objects.create(name="ask")
    wait_until_all_ended([hungry, next_one])

    assert (hungry.state, hungry.error_type) == (State.FAILED, "MemoryError")
    assert next_one.state == State.COMPLETED
    assert command.get_children() == children


@pytest.mark.fault(30)
def test_a_session_that_a_task_has_changed_does_not_keep_its_result_from_being_recorded(workers):
    workers.start()
    jobs = [Job.objects.create(name=name) for name in ("change_session", "work", "change_session", "ask")]
    wait_until_all_ended(jobs)

    assert {job.state for job in jobs} == {State.COMPLETED}
    begun = list(Attempt.objects.order_by("started").values_list("job_id", flat=True))
    assert begun == [job.pk for job in jobs]


@pytest.mark.fault(32)
def test_a_task_may_fork_and_its_children_touch_nothing_of_the_worker(workers, ledger):
    command = workers.start()
    command.wait_until_ready()
    children = command.get_children()
    jobs = [Job.objects.create(name=name) for name in ("ask", "fork", "ask", "fork", "ask")]
    wait_until_all_ended(jobs)

    assert {job.state for job in jobs} == {State.COMPLETED}
    assert jobs[1].workspace["left with"] == [0, 3, 0]
    assert command.get_children() == children
    ledger.judge(jobs).assert_all_is_well()

"""Tasks that do not end: first an exception in them, then the end of their process."""

import pytest

from dbq.models import Attempt, Job
from dbq.states import Outcome, State
from tests.process.workers import wait_until_all_ended

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("name", ["sleep_long_once", "hold_interpreter_once"])
@pytest.mark.fault(23, 24)
def test_the_process_of_a_stuck_task_is_killed_and_the_job_runs_again(workers, ledger, name):
    workers.start()
    stuck, next_job = Job.objects.create(name=name), Job.objects.create(name="work")
    wait_until_all_ended([stuck, next_job])

    lost, completed = Attempt.objects.filter(job=stuck)
    assert (lost.outcome, completed.outcome) == (Outcome.LOST, Outcome.COMPLETED)
    assert lost.error_type == "dbq.WorkerCrashed"
    assert lost.error_message == f"Job {stuck.id} outlived its hard time-out (crash 1 of 3)"
    assert next_job.state == State.COMPLETED
    first, second = ledger.get_runs(stuck)
    assert first.pid != second.pid


@pytest.mark.fault(24)
def test_a_task_that_outlives_its_time_fails_and_its_worker_goes_on(workers, ledger):
    workers.start()
    slow, next_job = Job.objects.create(name="never_end"), Job.objects.create(name="work")
    wait_until_all_ended([slow, next_job])

    assert slow.state == State.FAILED
    assert slow.error_type == "dbq.exceptions.TaskTimeout"
    assert slow.error_message == "The task ran longer than 0.5 s."
    assert next_job.state == State.COMPLETED
    assert ledger.get_runs(slow)[0].pid == ledger.get_runs(next_job)[0].pid

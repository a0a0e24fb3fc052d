"""How long the job of a dead process waits until it runs again."""

from statistics import median

import pytest

from dbq.models import Job
from dbq.states import State
from tests.process.workers import wait_until, wait_until_all_ended

pytestmark = [pytest.mark.process, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

CHILDREN, MACHINES = 20, 6
# Of the processes that these tests start: a tenth of the defaults.
LEASE_AND_SWEEP_SECONDS = 6 + 1


@pytest.mark.fault(1)
def test_jobs_of_dead_children_run_again_at_once(workers, ledger, make_gate, create_waiting, record_property):
    command = workers.start("--processes", "2")
    seconds = []
    for number in range(CHILDREN):
        command.wait_until_ready(2)
        gate = make_gate(f"child {number}")
        job = create_waiting(gate)
        wait_until(lambda job=job: ledger.has_started(job), what="the job starts")
        killed = command.kill(ledger.get_runs(job)[0].pid)
        seconds.append(wait_for_second_run(ledger, job) - killed)
        end(gate, job)
    report(record_property, "dead child", seconds)
    assert max(seconds) < 2


@pytest.mark.fault(1)
def test_jobs_of_dead_machines_run_again_after_their_lease(
    workers, ledger, make_gate, create_waiting, record_property
):
    commands = [workers.start(), workers.start()]
    seconds = []
    for number in range(MACHINES):
        for command in commands:
            command.wait_until_ready()
        gate = make_gate(f"machine {number}")
        job = create_waiting(gate)
        wait_until(lambda job=job: ledger.has_started(job), what="the job starts")
        pid = ledger.get_runs(job)[0].pid
        victim = next(command for command in commands if pid in command.get_children())
        victim.kill_all()
        seconds.append(wait_for_second_run(ledger, job) - victim.kills[pid])
        end(gate, job)
        commands = [command for command in commands if command is not victim] + [workers.start()]
    report(record_property, "dead worker, lease 6 s and sweep 1 s", seconds)
    # A sweep comes with jitter, and the machine does much else.
    assert max(seconds) < LEASE_AND_SWEEP_SECONDS + 3


def wait_for_second_run(ledger, job):
    wait_until(lambda: ledger.has_started(job, times=2), what="the job runs again")
    return ledger.get_runs(job)[1].started


def end(gate, job):
    gate.open()
    wait_until_all_ended([job])
    assert job.state == State.COMPLETED
    assert Job.objects.get(pk=job.pk).crash_count == 1


def report(record_property, name, seconds):
    record_property(f"{name}, median and worst", f"{median(seconds):.2f} / {max(seconds):.2f} s")

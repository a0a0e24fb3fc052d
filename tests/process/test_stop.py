"""Workers that are told to stop: by a signal, by two, by an operator."""

import signal

import pytest

from dbq.models import Attempt, Job, Worker
from dbq.states import Outcome, State
from tests.process.workers import wait_until

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]

both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


@both_signals
def test_an_idle_worker_leaves(workers, number):
    command = workers.start("--processes", "2")
    command.wait_until_ready(2)
    command.signal(number)

    assert command.wait() == 0
    assert not Worker.objects.exists()


@both_signals
@pytest.mark.fault(44)
def test_a_busy_worker_ends_short_jobs_and_gives_long_ones_back(
    workers, ledger, make_gate, create_waiting, number
):
    command = workers.start("--threads", "3", SHUTDOWN_SECONDS=4)
    short, long = make_gate("short"), make_gate("long")
    ends = create_waiting(short)
    half_way = create_waiting(short, "wait_then_work")
    does_not = create_waiting(long)
    wait_until(lambda: all(ledger.has_started(job) for job in (ends, half_way, does_not)))
    command.signal(number)
    command.wait_until_it_says("Stopping")
    late = Job.objects.create(name="work")
    short.open()

    assert command.wait() == 0
    assert_waits_or_ended(ends, State.COMPLETED, [Outcome.COMPLETED])
    assert_waits_or_ended(half_way, State.READY, [Outcome.COMPLETED])
    assert_waits_or_ended(does_not, State.READY, [Outcome.RELEASED])
    assert_waits_or_ended(late, State.NEW, [])
    assert not Worker.objects.exists()

    long.open()
    assert workers.start("--burst").wait() == 0
    for job in (half_way, does_not, late):
        job.refresh_from_db()
        assert job.state == State.COMPLETED
    assert list(Attempt.objects.filter(job=does_not).values_list("number", flat=True)) == [1, 1]
    assert ledger.judge([ends, half_way, late]).duplicated == ledger.get_runs(does_not)[:1]


@pytest.mark.fault(44)
def test_a_second_signal_does_not_wait_for_anything(workers, ledger, make_gate, create_waiting):
    command = workers.start(SHUTDOWN_SECONDS=600)
    job = create_waiting(make_gate("closed"))
    wait_until(lambda: ledger.has_started(job))
    command.signal(signal.SIGTERM)
    command.wait_until_it_says("Stopping")
    command.signal(signal.SIGTERM)

    assert command.wait() == 0
    assert_waits_or_ended(job, State.READY, [Outcome.RELEASED])


@pytest.mark.fault(44)
def test_a_signal_at_birth_is_not_lost(workers):
    command = workers.start("--processes", "3")
    wait_until(command.get_children)
    command.signal(signal.SIGTERM)

    assert command.wait() == 0
    assert not Worker.objects.exists()


def test_an_operator_stops_a_worker(workers, ledger, make_gate, create_waiting):
    command = workers.start("--processes", "2")
    command.wait_until_ready(2)
    gate = make_gate("gate")
    job = create_waiting(gate)
    wait_until(lambda: ledger.has_started(job))
    Worker.objects.update(stop_requested=True)
    command.wait_until_it_says("An operator asked this worker to stop.")
    gate.open()

    assert command.wait() == 0
    assert_waits_or_ended(job, State.COMPLETED, [Outcome.COMPLETED])


def assert_waits_or_ended(job, state, history):
    job.refresh_from_db()
    assert job.state == state
    assert job.attempt == (1 if state == State.COMPLETED else 0)
    assert list(Attempt.objects.filter(job=job).values_list("outcome", flat=True)) == history

"""What networks do to workers, through a relay between them and their database."""

import time

import pytest

from dbq.models import Attempt, Job, Worker
from dbq.states import Outcome, State
from tests.chaos.load import assert_all_is_well, make_jobs
from tests.process.workers import wait_until, wait_until_all_ended, wait_until_drained

pytestmark = [
    pytest.mark.process,
    pytest.mark.chaos,
    pytest.mark.on("postgresql", "mysql"),
    pytest.mark.django_db(transaction=True),
]

# Of the processes that tests start.
LEASE_SECONDS = 6


def start_behind(proxy, workers, *arguments, **extra):
    command = workers.start(*arguments, database={"HOST": "127.0.0.1", "PORT": str(proxy.port)}, **extra)
    command.wait_until_ready()
    return command


@pytest.mark.fault(11)
@pytest.mark.parametrize("is_busy", [False, True])
def test_a_half_open_connection_is_noticed_within_ten_seconds(
    is_busy, proxy, workers, ledger, record_property
):
    command = start_behind(proxy, workers, "--threads", "2", LEASE_SECONDS=60, HEARTBEAT_SECONDS=10)
    children = command.get_children()
    jobs = make_jobs()
    wait_until(lambda: ledger.get_size() > 5000, what="tasks run")
    if not is_busy:
        wait_until_drained()

    began = time.monotonic()
    proxy.freeze_present()
    late = Job.objects.create(name="work")
    wait_until_all_ended([late])
    seconds = time.monotonic() - began

    wait_until_all_ended(jobs)
    record_property("seconds until a job of that moment was done", round(seconds, 1))
    assert_all_is_well(ledger)
    assert command.get_children() == children
    assert seconds < 15, "Ten until it is noticed, and a few to come back and do the job."


@pytest.mark.fault(10)
def test_jobs_behind_a_partition_run_elsewhere_and_its_worker_changes_nothing(
    proxy, workers, ledger, make_gate, create_waiting, record_property
):
    far = start_behind(proxy, workers, "--threads", "2")
    children = far.get_children()
    gate = make_gate("gate")
    job = create_waiting(gate)
    wait_until(lambda: ledger.has_started(job), what="the job starts")
    near = workers.start("--threads", "2")
    near.wait_until_ready()

    began = time.monotonic()
    proxy.freeze()
    wait_until(lambda: ledger.has_started(job, times=2), what="the job runs elsewhere")
    seconds = time.monotonic() - began
    jobs = make_jobs()
    gate.open()
    wait_until_all_ended([job, *jobs])
    before = list(Attempt.objects.filter(job=job).values_list("pk", "outcome", "fence"))
    assert [outcome for _, outcome, _ in before] == [Outcome.LOST, Outcome.COMPLETED]

    proxy.thaw()
    far.wait_until_it_says("the lease of this run was lost; its result is dropped.")
    far.wait_until_it_says("The database answers again.")
    near.end()
    after = make_jobs(20)
    wait_until_all_ended(after)
    record_property("seconds until the job ran elsewhere", round(seconds, 1))
    assert list(Attempt.objects.filter(job=job).values_list("pk", "outcome", "fence")) == before
    assert far.get_children() == children
    assert Job.objects.exclude(state=State.COMPLETED).count() == 0


@pytest.mark.fault(10)
def test_rows_held_by_a_transaction_behind_a_partition_come_free(proxy, workers, record_property):
    start_behind(proxy, workers)
    proxy.freeze_at = b"COMMIT"
    jobs = make_jobs(20)
    assert proxy.struck.wait(30), "The worker never commits."
    proxy.freeze()

    began = time.monotonic()
    near = workers.start()
    near.wait_until_ready()
    wait_until_all_ended(jobs)
    record_property("seconds until the rows were free", round(time.monotonic() - began, 1))


@pytest.mark.fault(12)
def test_a_database_half_a_second_away_makes_workers_slow_and_nothing_else(
    proxy, workers, ledger, record_property
):
    proxy.delay_seconds = 0.25
    far = start_behind(proxy, workers, "--threads", "2", LEASE_SECONDS=60, HEARTBEAT_SECONDS=10)
    pids = set(Worker.objects.values_list("pid", flat=True))
    began = time.monotonic()
    make_jobs(30)
    wait_until_drained(240)
    record_property("seconds for 30 jobs of two tasks", round(time.monotonic() - began, 1))

    # One that is near looks for dead workers all the time, and must not take this one for one.
    near = workers.start(SWEEP_SECONDS=0.5)
    near.wait_until_ready()
    make_jobs(2000)
    wait_until_drained(240)
    assert_all_is_well(ledger)
    assert pids < set(Worker.objects.values_list("pid", flat=True))
    assert not Attempt.objects.filter(outcome=Outcome.LOST).exists()
    assert "lease" not in far.read_output()


@pytest.mark.fault(49)
def test_a_commit_whose_answer_is_lost_loses_no_job_and_repeats_no_task(
    proxy, workers, ledger, record_property
):
    command = start_behind(proxy, workers, "--threads", "2")
    children = command.get_children()
    proxy.drop_answers_to, proxy.drops_left = b"COMMIT", 12
    rounds = 0
    while not proxy.struck.is_set() and rounds < 60:
        rounds += 1
        wait_until_all_ended(make_jobs(30))
    wait_until_drained()

    record_property("answers lost", 12 - proxy.drops_left)
    assert proxy.struck.is_set()
    assert_all_is_well(ledger)
    assert command.get_children() == children

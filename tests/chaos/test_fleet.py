"""Many workers, many operators, and what happens around them."""

import os
import random
import threading
from functools import partial

import pytest
from django.db import connection

from dbq import operations
from dbq.models import Job, Operation
from dbq.operations import Actor
from dbq.states import State
from tests.helpers import assert_totals_are_exact
from tests.process.workers import wait_until, wait_until_drained

pytestmark = [pytest.mark.process, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]

SEED = int(os.environ.get("DBQ_TEST_SEED", "53"))
ACTS = 400
OLGA = Actor("1", "olga")


@pytest.mark.on("postgresql", "mysql")
@pytest.mark.fault(45)
def test_sixty_four_workers_start_at_once_and_share_the_jobs(workers, ledger):
    jobs = Job.objects.bulk_create([Job(name="work") for _ in range(2000)])
    commands = [workers.start("--processes", "8") for _ in range(8)]
    for command in commands:
        command.wait_until_ready(8)
    jobs += Job.objects.bulk_create([Job(name="work") for _ in range(2000)])
    wait_until_drained(120)

    verdict = ledger.judge(Job.objects.all())
    verdict.assert_all_is_well()
    assert (verdict.runs, verdict.duplicated) == (len(jobs), [])
    assert sum(len(command.get_children()) for command in commands) == 64


@pytest.mark.fault(53)
def test_operators_who_act_at_random_leave_nothing_that_is_not_explained(workers, record_property):
    dice = random.Random(SEED)
    for _ in range(2):
        workers.start("--processes", "2")
    jobs = Job.objects.bulk_create([make_gamble(dice) for _ in range(300)])
    operators = [threading.Thread(target=partial(act_at_random, jobs, seed)) for seed in (SEED + 1, SEED + 2)]
    for operator in operators:
        operator.start()
    for operator in operators:
        operator.join()
    wait_until_drained(120)

    acts = Operation.objects.count()
    record_property("refused", f"{Operation.objects.filter(state='REFUSED').count()} of {acts}")
    assert acts == 2 * ACTS
    assert not Operation.objects.filter(message="").exists()
    assert {job.state for job in Job.objects.all()} <= {State.COMPLETED, State.FAILED, State.CANCELLED}
    assert_totals_are_exact()


def make_gamble(dice):
    return Job(name="gamble", workspace={"seconds": dice.uniform(0, 0.02), "failing": 0.3})


def act_at_random(jobs, seed):
    """Do so many acts, each to a job as it stands when it is looked at."""
    dice = random.Random(seed)
    try:
        for _ in range(ACTS):
            pk = dice.choice(jobs).pk
            verb, options = dice.choice(CHOICES)
            job = Job.objects.filter(pk=pk).first()
            operations.act(OLGA, verb, job or pk, version=job and job.version, **options)
    finally:
        connection.close()


CHOICES = [
    ("retry", {}),
    ("requeue", {}),
    ("resume_from", {"task": "tests.process.jobs.work"}),
    ("cancel", {}),
    ("delete", {}),
    ("reschedule", {"priority": 5}),
    ("edit_workspace", {"workspace": {"seconds": 0.001, "failing": 0}}),
]


@pytest.mark.on("postgresql", "mysql")
@pytest.mark.fault(43)
def test_workers_go_on_while_a_column_and_an_index_are_added(workers, ledger):
    command = workers.start("--processes", "2")
    command.wait_until_ready(2)
    children = command.get_children()
    jobs = Job.objects.bulk_create([Job(name="two", workspace={"seconds": 0.002}) for _ in range(1000)])
    wait_until(lambda: ledger.get_size() > 10_000, what="tasks run")
    try:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE dbq_job ADD COLUMN later integer NULL")
            cursor.execute("CREATE INDEX dbq_job_later ON dbq_job (later)")
        jobs += Job.objects.bulk_create([Job(name="two") for _ in range(200)])
        wait_until_drained(120)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE dbq_job DROP COLUMN later")

    ledger.judge(Job.objects.all()).assert_all_is_well()
    assert command.get_children() == children


@pytest.mark.parametrize("output", ["full", "closed"])
@pytest.mark.fault(54)
def test_workers_do_not_mind_that_nobody_takes_what_they_say(workers, output):
    with open_output(output) as stdout:
        command = workers.start(stdout=stdout)
    jobs = [Job.objects.create(name=name) for name in ("work", "crash", "work")]
    wait_until_drained()

    states = [Job.objects.get(pk=job.pk).state for job in jobs]
    assert states == [State.COMPLETED, State.FAILED, State.COMPLETED]
    command.signal(15)
    assert command.wait() == 0


def open_output(kind):
    if kind == "full":
        return open("/dev/full", "wb")
    readable, writable = os.pipe()
    os.close(readable)
    return os.fdopen(writable, "wb")

"""Deleting finished jobs while others set them going or finish them: nothing else is ever deleted."""

import random
import threading

import pytest
from django.db import transaction

from dbq import bulk
from dbq.exceptions import JobNotFinished
from dbq.models import Attempt, Job
from dbq.operations import Actor, act
from dbq.states import FINISHED, Outcome, State
from tests.helpers import (
    RACE_SECONDS,
    Race,
    assert_totals_are_exact,
    claim,
    empty_tables,
    insist,
    make_job,
    make_result,
    make_worker,
    race,
    read_attempts,
    record,
)

ROUNDS = 5
# Long enough for the other side to run into a lock, if it runs into one.
GRACE_SECONDS = 0.1
ALICE, BOB = Actor("1", "alice"), Actor("2", "bob")
TASK = "tests.jobs.edit"


def delete(job):
    try:
        return job.delete()[0]
    except JobNotFinished:
        return 0


def clean_up_in_bulk(job):
    operation = bulk.start(ALICE, bulk.propose("cleanup", [["state", "in", list(FINISHED)]]))
    # An operation that another transaction holds up goes on when its turn comes.
    bulk.run_to_end(operation)
    operation.refresh_from_db()
    assert operation.state == "DONE"
    return operation.done


def clean_up(job):
    # Not by age: within one transaction the database's clock may stand still.
    return Job.objects.filter(queue_name=job.queue_name).delete_old(hours=-1)


DELETIONS = {
    "deleting": delete,
    "deleting on record": lambda job: int(not act(ALICE, "delete", job).is_refused),
    "cleaning up": clean_up,
    "cleaning up in bulk": clean_up_in_bulk,
}
ACTS = {
    "retrying": (State.READY, Job.retry),
    "requeueing": (State.NEW, Job.requeue),
    "resuming": (State.READY, lambda job: job.resume_from(TASK)),
    "retrying on record": (State.READY, lambda job: not act(BOB, "retry", job).is_refused),
    "requeueing all": (State.NEW, lambda job: bool(Job.objects.requeue())),
}
every_deletion = pytest.mark.parametrize("deletion", DELETIONS)
every_act = pytest.mark.parametrize("verb", ACTS)


def overlap(first, second):
    """Do the first and hold its transaction open until the second has come upon it; both answers."""
    contest, has_begun = Race(), threading.Event()

    def begin():
        has_begun.set()
        return second()

    with transaction.atomic():
        answer = first()
        contest.start("second", begin)
        assert has_begun.wait(RACE_SECONDS)
        contest._threads[0].join(GRACE_SECONDS)
    return answer, contest.join()["second"]


@every_deletion
@every_act
def test_what_is_just_set_going_is_not_deleted(verb, deletion):
    job = make_job(State.FAILED)
    state, set_going = ACTS[verb]

    answers = overlap(lambda: set_going(job), lambda: DELETIONS[deletion](job))

    assert answers == (True, 0)
    assert Job.objects.get().state == state
    assert len(read_attempts(job)) >= 2, "Its history survives with it."
    assert_totals_are_exact()


@every_deletion
@every_act
def test_what_is_just_deleted_is_not_set_going(verb, deletion):
    job = make_job(State.FAILED)
    _, set_going = ACTS[verb]

    answers = overlap(lambda: DELETIONS[deletion](job), lambda: set_going(job))

    assert answers == (1, False)
    assert not Job.objects.exists() and not Attempt.objects.exists()
    assert_totals_are_exact()


@every_deletion
@every_act
@pytest.mark.fault(53)
def test_at_the_same_moment_one_of_them_prevails(verb, deletion):
    state, set_going = ACTS[verb]
    for _ in range(ROUNDS):
        empty_tables()
        job = make_job(State.FAILED)

        deleted, moved = race(
            [
                lambda job=job: insist(lambda: DELETIONS[deletion](job)),
                lambda job=job: insist(lambda: set_going(job)),
            ]
        )

        assert deleted + moved == 1
        assert list(Job.objects.values_list("state", flat=True)) == [state] * moved
        assert Attempt.objects.exists() is bool(moved)
        assert_totals_are_exact()


@every_deletion
def test_what_a_worker_is_just_finishing_is_not_deleted_before_it_has(deletion):
    job = make_job()
    [claimed] = claim()

    accepted, deleted = overlap(lambda: record(make_result(claimed)), lambda: DELETIONS[deletion](job))

    assert (len(accepted), deleted) in ((1, 0), (1, 1))
    assert Job.objects.filter(state=State.COMPLETED).count() == 1 - deleted
    assert Attempt.objects.count() == 1 - deleted
    assert_totals_are_exact()


@every_deletion
def test_a_deletion_at_the_moment_of_the_end_takes_nothing_from_the_worker(deletion):
    for _ in range(ROUNDS):
        empty_tables()
        job = make_job()
        [claimed] = claim()

        accepted, deleted = race(
            [
                lambda claimed=claimed: insist(lambda: record(make_result(claimed))),
                lambda job=job: insist(lambda: DELETIONS[deletion](job)),
            ]
        )

        assert len(accepted) == 1, "It held the job until it had written its end."
        assert Job.objects.filter(state=State.COMPLETED).count() == 1 - deleted
        assert_totals_are_exact()


def test_a_busy_fleet_loses_no_job_to_those_who_clean_up():
    """Every end that a worker writes is accepted: its job was there, whoever deleted and requeued."""
    amount = 60
    Job.objects.bulk_create([Job(name="edit") for _ in range(amount)])

    def work(seed):
        chance, worker, lost = random.Random(seed), make_worker(name=f"worker {seed}:1"), 0
        for _ in range(15):
            jobs = insist(lambda: claim(4, worker=worker))
            outcomes = [chance.choice((Outcome.COMPLETED, Outcome.FAILED)) for _ in jobs]
            results = [make_result(job, end) for job, end in zip(jobs, outcomes, strict=True)]
            lost += len(jobs) - len(insist(lambda results=results: record(*results)))
        return lost

    def set_going(seed):
        chance, moved = random.Random(seed), 0
        for _ in range(15):
            verb = chance.choice(["retry", "requeue"])
            moved += insist(lambda verb=verb: getattr(Job.objects.all(), verb)())
        return moved

    def delete_often():
        return sum(insist(lambda: clean_up(Job(queue_name="default"))) for _ in range(15))

    first, second, moved, deleted = race(
        [lambda: work(1), lambda: work(2), lambda: set_going(3), delete_often]
    )

    assert (first, second) == (0, 0)
    assert Job.objects.count() == amount - deleted, f"{moved} were set going meanwhile."
    assert not Attempt.objects.exclude(job_id__in=Job.objects.values("pk")).exists()
    assert_totals_are_exact()

"""Totals stay exact while many finish jobs, fold and recount at the same moment."""

import random

from django.db import connection

from dbq import counts
from dbq.models import Job, QueueCount, QueueCountDelta, Rollup
from dbq.states import Outcome, State
from tests.helpers import (
    RACE_SECONDS,
    Race,
    assert_state,
    assert_totals_are_exact,
    claim,
    insist,
    make_job,
    make_result,
    make_worker,
    race,
    record,
)

# For whoever has to wait for the others anyway.
GRACE_SECONDS = 0.2
OUTCOMES = (Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED)


def finish_some(amount, seed):
    """A worker that claims and ends jobs, a batch a transaction."""
    chance, worker = random.Random(seed), make_worker(name=f"worker {seed}:1")
    ended = 0
    while ended < amount:
        ended += finish_batch(min(5, amount - ended), worker, chance)
    return ended


def finish_batch(amount, worker, chance):
    jobs = insist(lambda: claim(amount, worker=worker))
    results = [make_result(job, chance.choice(OUTCOMES)) for job in jobs]
    return len(insist(lambda: record(*results)))


def fold_often():
    for _ in range(12):
        insist(counts.fold)


def test_two_folders_fold_each_delta_once():
    for _ in range(10):
        make_job(State.COMPLETED)
        make_job(State.CANCELLED, queue_name="other")
    assert QueueCountDelta.objects.count() == 20

    race([fold_often] * 3)
    counts.fold_all()

    assert not QueueCountDelta.objects.exists()
    assert_totals_are_exact()
    assert sum(Rollup.objects.values_list("completed", flat=True)) == 10
    assert sum(Rollup.objects.values_list("cancelled", flat=True)) == 10


def test_folding_while_workers_finish_jobs_loses_nothing():
    Job.objects.bulk_create([Job(name="nothing") for _ in range(80)])

    race([lambda: finish_some(40, 1), lambda: finish_some(40, 2), fold_often, fold_often])

    assert_totals_are_exact()
    counts.fold_all()
    assert_totals_are_exact()
    assert sum(counts.get_finished_totals().values()) == 80


def test_totals_that_are_read_while_they_are_folded_are_whole():
    for _ in range(30):
        make_job(State.CANCELLED)
    seen = set()

    def read_often():
        for _ in range(30):
            seen.add(counts.get_finished_totals()["default", "CANCELLED"])

    race([read_often, fold_often, fold_often])

    assert seen == {30}


def test_recounting_while_others_fold_and_finish_leaves_exact_totals():
    Job.objects.bulk_create([Job(name="nothing") for _ in range(60)])
    QueueCount.objects.create(queue_name="default", state="COMPLETED", amount=1000)

    def recount_often():
        for _ in range(6):
            counts.recount()

    race([lambda: finish_some(30, 1), lambda: finish_some(30, 2), fold_often, recount_often])

    assert_totals_are_exact()
    counts.fold_all()
    assert_totals_are_exact()


def test_a_recount_keeps_the_total_that_a_fold_makes_under_its_hands(monkeypatch):
    """On SQLite the fold waits for the recount's commit."""
    job, contest, count = make_job(State.FAILED), Race(), counts._count_jobs_without_deltas

    def count_and_be_overtaken(alias):
        totals = count(alias)
        if not contest._threads:
            contest.start("fold", lambda: insist(counts.fold))
            contest._threads[0].join(GRACE_SECONDS if connection.vendor == "sqlite" else RACE_SECONDS)
        return totals

    monkeypatch.setattr(counts, "_count_jobs_without_deltas", count_and_be_overtaken)
    QueueCount.objects.all().delete()
    counts.recount()
    contest.join()

    assert_state(job, State.FAILED)
    assert_totals_are_exact()


def test_two_recounts_agree():
    for _ in range(5):
        make_job(State.COMPLETED)
    QueueCount.objects.create(queue_name="default", state="FAILED", amount=3)

    race([counts.recount] * 3)

    assert_totals_are_exact()


def test_a_busy_hour_ends_with_exact_books():
    """Workers, operators, the cleanup and the folding at once; nobody waits for ever, nothing is lost."""
    Job.objects.bulk_create([Job(name="edit") for _ in range(60)])

    def operate(seed):
        chance = random.Random(seed)
        for _ in range(12):
            verb = chance.choice(["retry", "requeue", "cancel"])
            getattr(Job.objects.filter(priority=0), verb)()

    def clean_up():
        for _ in range(6):
            Job.objects.filter(state=State.CANCELLED).delete_old(hours=0)

    def work(seed):
        chance, worker = random.Random(seed), make_worker(name=f"worker {seed}:1")
        for _ in range(12):
            finish_batch(5, worker, chance)

    race([lambda: work(1), lambda: work(2), lambda: operate(3), lambda: operate(4), clean_up, fold_often])

    assert_totals_are_exact()
    counts.fold_all()
    assert_totals_are_exact()
    assert counts.recount() == {}

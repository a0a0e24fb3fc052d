"""Totals of finished jobs are exact at any moment, and the figures of the minutes tell what happened."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dbq import counts, histograms, signals, transitions
from dbq.identifiers import uuid7_floor
from dbq.models import Job, QueueCount, QueueCountDelta, Rollup, RollupDelta
from dbq.results import Result
from dbq.states import FINISHED, Outcome, State
from tests.helpers import (
    EXAMPLES,
    assert_totals_are_exact,
    claim,
    count_finished,
    dialect,
    empty_tables,
    let_time_pass,
    make_job,
    make_result,
    make_worker,
    promote,
    record,
    reload,
    start_engine,
    step,
    work_off,
)

FIGURES = ("created", "completed", "failed", "cancelled", "retried")


def read_figures() -> dict[tuple[str, str], dict[str, int]]:
    """Roll-ups and their deltas over all minutes, by queue and job name; the zeros left out."""
    figures: dict[tuple[str, str], Counter] = {}
    for row in (*Rollup.objects.all(), *RollupDelta.objects.all()):
        total = figures.setdefault((row.queue_name, row.name), Counter())
        total.update({name: getattr(row, name) for name in FIGURES})
        total.update(waits=sum(row.waits.values()), runs=sum(row.runs.values()))
    return {key: dict(+total) for key, total in figures.items() if +total}


@pytest.mark.parametrize("seconds", [-3, 0, 0.0007, 0.001, 0.0011, 0.016, 0.3, 77.7, 9000, 10**12 // 4000])
def test_a_wait_falls_into_its_bucket_whoever_counts_it(seconds):
    # Python counts most claims, PostgreSQL counts its own.
    job = make_job()
    enqueued = dialect().read_clock().replace(microsecond=0) - timedelta(days=9000)
    Job.objects.filter(pk=job.pk).update(enqueued=enqueued)

    now = enqueued + timedelta(seconds=seconds)
    tally = counts.Tally()
    with dialect().write():
        transitions.claim(dialect(), make_worker().pk, "default", 1, now, tally)
        tally.write(dialect())

    [figures] = [delta for delta in RollupDelta.objects.all() if delta.waits]
    assert figures.waits == {histograms.find_bucket(seconds): 1}
    assert figures.wait_seconds == pytest.approx(max(0, seconds))
    assert figures.minute == now.replace(second=0, microsecond=0)


def test_a_claim_counts_jobs_in_the_minutes_in_which_they_were_made():
    early = dialect().read_clock() - timedelta(hours=3)
    for number in range(2):
        make_job(name="succeed", id=uuid7_floor(early + timedelta(milliseconds=number)))
    make_job(name="succeed")
    make_job(name="fail")

    claim(4)

    made = {(row.name, row.minute): row.created for row in RollupDelta.objects.all() if row.created}
    assert sorted(made.values()) == [1, 1, 2]
    assert made["succeed", early.replace(second=0, microsecond=0)] == 2
    assert read_figures()["default", "succeed"] == {"created": 3, "waits": 3}


# Totals


def test_a_finished_job_counts_in_its_queue_and_state():
    make_job(State.COMPLETED, queue_name="mail")
    make_job(State.FAILED)
    make_job(State.CANCELLED)

    assert counts.get_finished_totals() == {
        ("mail", "COMPLETED"): 1,
        ("default", "FAILED"): 1,
        ("default", "CANCELLED"): 1,
    }


def test_folding_moves_deltas_and_changes_no_total():
    for state in FINISHED:
        make_job(state)
    before = counts.get_finished_totals()
    assert QueueCountDelta.objects.exists() and RollupDelta.objects.exists()

    counts.fold_all()

    assert not QueueCountDelta.objects.exists()
    assert not RollupDelta.objects.exists()
    assert counts.get_finished_totals() == before == count_finished()


def test_folding_goes_chunk_by_chunk(monkeypatch):
    monkeypatch.setattr(counts, "FOLD_CHUNK", 2)
    for _ in range(5):
        make_job(State.COMPLETED)

    assert counts.fold() == 4, "Two deltas of each kind."
    assert QueueCountDelta.objects.count() == 3
    assert_totals_are_exact()
    counts.fold_all()
    assert QueueCount.objects.get().amount == 5


def test_folding_nothing_is_nothing():
    assert counts.fold() == 0
    assert counts.get_finished_totals() == {}


def test_a_total_that_falls_to_nothing_is_left_out():
    make_job(State.COMPLETED).delete()
    counts.fold_all()

    assert counts.get_finished_totals() == {}


def test_a_transition_that_is_rolled_back_is_not_counted():
    job = make_job()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        job.cancel()
        1 / 0  # noqa: B018

    assert counts.get_finished_totals() == {}
    assert read_figures() == {}


@pytest.mark.parametrize("is_folded", [False, True])
def test_a_recount_repairs_a_drift_and_says_how_large_it_was(is_folded):
    for _ in range(3):
        make_job(State.COMPLETED)
    make_job(State.FAILED)
    if is_folded:
        counts.fold_all()
    QueueCount.objects.update_or_create(queue_name="default", state="COMPLETED", defaults={"amount": 40})
    QueueCount.objects.create(queue_name="ghost", state="FAILED", amount=7)
    before = counts.get_finished_totals()

    drift = counts.recount()

    assert drift == {
        ("default", "COMPLETED"): 3 - before["default", "COMPLETED"],
        ("ghost", "FAILED"): -7,
    }
    assert_totals_are_exact()
    counts.fold_all()
    assert_totals_are_exact()


def test_a_recount_of_exact_totals_finds_nothing():
    for state in FINISHED:
        make_job(state)

    assert counts.recount() == {}

    assert_totals_are_exact()


def test_a_recount_notes_when_it_was():
    make_job(State.COMPLETED)

    counts.recount()

    recounted = QueueCount.objects.get().recounted
    assert abs(recounted - dialect().read_clock()) < timedelta(seconds=10)


def test_jobs_made_by_hand_are_found_by_a_recount():
    [job] = claim_and_finish_by_hand()

    assert counts.recount() == {(job.queue_name, "COMPLETED"): 1}


def claim_and_finish_by_hand():
    job = make_job()
    Job.objects.update(state=State.COMPLETED, lane=0, finished=job.created)
    return [job]


# Figures


def test_the_figures_of_a_completed_job():
    make_job(State.COMPLETED, name="two")

    assert read_figures() == {("default", "two"): {"created": 1, "completed": 1, "waits": 1, "runs": 2}}


def test_the_figures_of_a_job_that_failed_after_a_retry():
    make_job(name="hooked_retries")
    for _ in range(2):
        work_off()
        let_time_pass(10)
        promote()

    assert read_figures() == {
        ("default", "hooked_retries"): {
            "created": 1,
            "failed": 1,
            "retried": 1,
            "waits": 2,
            "runs": 2,
        }
    }


def test_the_figures_of_a_job_that_was_cancelled_unclaimed():
    make_job(State.CANCELLED)

    assert read_figures() == {("default", "edit"): {"created": 1, "cancelled": 1}}


def test_a_job_that_nobody_touched_has_no_figures_yet():
    make_job()

    assert read_figures() == {}


def test_a_job_is_made_once_however_often_it_is_set_going():
    job = make_job(State.CANCELLED)
    job.retry()
    work_off()
    job.requeue()
    [claimed] = claim()
    record(make_result(claimed, Outcome.RELEASED, unstarted=True))
    job.edit_workspace({"edited": 0})
    work_off()

    assert read_figures()["default", "edit"]["created"] == 1


def test_a_job_that_was_claimed_ahead_and_given_back_is_made_once():
    make_job()
    for _ in range(3):
        engine = start_engine()
        engine.cycle()
        engine.release_unstarted()
        engine.stop()
        engine.cycle()

    assert read_figures() == {("default", "edit"): {"created": 1, "waits": 3}}


def test_a_job_counts_as_made_in_the_minute_of_its_creation():
    job = make_job()
    let_time_pass(3600)
    made = reload(job).created
    work_off()

    row = RollupDelta.objects.get(created=1)
    assert row.minute == made.replace(second=0, microsecond=0)
    assert row.completed == 0
    finished = reload(job).finished
    assert RollupDelta.objects.get(completed=1).minute == finished.replace(second=0, microsecond=0)


def test_waits_and_runs_are_measured():
    make_job()
    let_time_pass(100)
    [claimed] = claim()
    record(make_result(claimed, seconds=2.5))
    counts.fold_all()

    waited = Rollup.objects.exclude(waits={}).get()
    ran = Rollup.objects.exclude(runs={}).get()
    assert 100 <= waited.wait_seconds < 110
    assert waited.waits == {histograms.find_bucket(waited.wait_seconds): 1}
    assert ran.run_seconds == 2.5
    assert ran.runs == {histograms.find_bucket(2.5): 1}


def test_a_scheduled_job_waits_from_its_time_on():
    make_job(run_after=dialect().read_clock() + timedelta(hours=1))
    let_time_pass(3600 + 50)
    promote()
    claim()

    assert 50 <= RollupDelta.objects.get(wait_seconds__gt=0).wait_seconds < 60


def test_a_clock_that_went_back_makes_no_negative_wait():
    make_job()
    Job.objects.update(enqueued=F("enqueued") + timedelta(hours=1))
    claim()

    assert {row.wait_seconds for row in RollupDelta.objects.all()} == {0}


def test_checkpoints_are_no_runs():
    make_job(name="save_and_fail")
    work_off()

    assert read_figures()["default", "save_and_fail"]["runs"] == 1


def test_figures_of_one_minute_are_folded_into_one_row():
    for _ in range(3):
        make_job(State.COMPLETED)
    minutes = set(RollupDelta.objects.values_list("minute", flat=True))
    before = read_figures()

    counts.fold_all()

    assert Rollup.objects.count() == len(minutes)
    assert read_figures() == before


def test_minutes_of_past_days_are_joined_into_hours():
    for _ in range(3):
        make_job(State.COMPLETED)
        make_job(State.FAILED, name="fail")
    counts.fold_all()
    before = read_figures()
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    old = [noon - timedelta(days=3, minutes=minutes) for minutes in (0, 1, 7, 59, 60)]
    for minute, row in product(old, list(Rollup.objects.all())):
        row.pk, row.minute = None, minute
        row.save(force_insert=True)

    while counts.join_old_rollups():
        pass

    hours = set(Rollup.objects.filter(minute__lt=noon - timedelta(days=2)).values_list("minute", flat=True))
    assert hours == {noon - timedelta(days=3), noon - timedelta(days=3, hours=1)}
    assert read_figures() == {
        key: {name: 6 * amount for name, amount in figures.items()} for key, figures in before.items()
    }


def test_the_last_day_keeps_its_minutes():
    make_job(State.COMPLETED)
    counts.fold_all()
    Rollup.objects.update(minute=F("minute") - timedelta(hours=24))
    before = list(Rollup.objects.order_by("pk").values_list("pk", "minute"))

    assert counts.join_old_rollups() == 0

    assert list(Rollup.objects.order_by("pk").values_list("pk", "minute")) == before


def test_old_figures_are_forgotten():
    make_job(State.COMPLETED)
    counts.fold_all()
    Rollup.objects.update(minute=F("minute") - timedelta(days=36))
    make_job(State.COMPLETED)
    counts.fold_all()

    counts.delete_old_rollups("default", 35)

    assert read_figures()["default", "edit"]["completed"] == 1


# Anything that may happen, in any order

NAMES = ("edit", "fail", "two", "hooked_retries")
QUEUES = ("default", "mail")
Step = st.one_of(
    st.tuples(st.just("create"), st.sampled_from(NAMES), st.sampled_from(QUEUES)),
    st.tuples(st.just("work"), st.sampled_from(QUEUES), st.integers(1, 3)),
    st.tuples(st.just("crash"), st.sampled_from(QUEUES), st.integers(1, 2)),
    st.tuples(
        st.sampled_from(["retry", "requeue", "cancel", "resume", "edit", "move", "delete"]),
        st.integers(0, 9),
        st.none(),
    ),
    st.tuples(st.sampled_from(["wait", "clean up", "fold", "recount"]), st.none(), st.none()),
)


class Ledger:
    """What happened, noted beside the database."""

    def __init__(self) -> None:
        self.figures: dict[tuple[str, str], Counter] = {}
        self.made: set[Any] = set()

    def note(self, job: Job, **amounts: int) -> None:
        self.figures.setdefault((job.queue_name, job.name), Counter()).update(amounts)

    def note_claim(self, job: Job, **_: Any) -> None:
        self.note(job, waits=1)

    def note_made(self) -> None:
        for job in Job.objects.filter(fence__gt=0).exclude(pk__in=self.made):
            self.made.add(job.pk)
            self.note(job, created=1)

    def note_result(self, result: Result) -> None:
        self.note(result.job, runs=1)
        if result.cancels or result.outcome == Outcome.CANCELLED:
            self.note(result.job, cancelled=1)
        elif result.outcome == Outcome.COMPLETED and result.next_task is None:
            self.note(result.job, completed=1)
        elif result.outcome in (Outcome.FAILED, Outcome.RETRIED):
            self.note(result.job, **{result.outcome.lower(): 1})

    def read(self) -> dict[tuple[str, str], dict[str, int]]:
        return {key: dict(+total) for key, total in self.figures.items() if +total}


def perform(ledger: Ledger, verb: str, first: Any, second: Any) -> None:
    if verb == "create":
        Job.objects.create(name=first, queue_name=second)
    elif verb == "work":
        engine = start_engine(first)
        for _ in range(second):
            result = step(engine)
            if result is not None:
                ledger.note_result(result)
        engine.release_unstarted()
        engine.stop()
        engine.cycle()
    elif verb == "crash":
        perform_crash(ledger, first, second)
    elif verb == "wait":
        let_time_pass(20)
        promote()
    elif verb == "clean up":
        Job.objects.delete_old(hours=0)
    elif verb == "fold":
        counts.fold()
    elif verb == "recount":
        assert counts.recount() == {}
    else:
        perform_on_one(ledger, verb, first)


def perform_crash(ledger: Ledger, queue_name: str, amount: int) -> None:
    worker = make_worker()
    claimed = claim(amount, worker=worker, queue_name=queue_name)
    for job in claimed:
        ledger.note_claim(job)
    transitions.rescue(dialect(), worker, "dbq.WorkerLost", "gone")
    for job in claimed:
        state = reload(job).state
        if state in FINISHED:
            ledger.note(job, **{state.lower(): 1})


def perform_on_one(ledger: Ledger, verb: str, number: int) -> None:
    job = Job.objects.order_by("pk")[number:].first()
    if job is None:
        return
    if verb == "edit":
        job.edit_workspace({"edited": number})
    elif verb == "move":
        job.reschedule(queue_name="mail")
    elif verb == "resume":
        job.resume_from(job.definition.first_task)
    elif verb == "delete":
        if job.is_finished:
            job.delete()
    elif getattr(job, verb)() and verb == "cancel" and job.is_waiting:
        ledger.note(job, cancelled=1)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps=st.lists(Step, min_size=8, max_size=25))
def test_any_course_of_events_is_counted_exactly(steps):
    empty_tables()
    ledger = Ledger()
    signals.job_claimed.connect(ledger.note_claim)
    try:
        for each in steps:
            perform(ledger, *each)
            ledger.note_made()
            assert_totals_are_exact()
            assert read_figures() == ledger.read(), each
        counts.fold_all()
        assert_totals_are_exact()
        assert read_figures() == ledger.read()
    finally:
        signals.job_claimed.disconnect(ledger.note_claim)

"""PROCESSING → READY, FAILED or CANCELLED because the owner of a job is dead."""

from datetime import timedelta

import pytest
from django.db.models import F

from dbq import transitions
from dbq.models import Attempt, Job, Worker
from dbq.states import Lane, Outcome, State
from tests.helpers import (
    assert_state,
    claim,
    dialect,
    let_lease_run_out,
    make_job,
    make_result,
    make_worker,
    read_attempts,
    read_everything,
    record,
    reload,
    start_engine,
    work_off,
)

CRASHED = "dbq.WorkerCrashed"


def rescue(worker, running=None, message="It is gone"):
    return transitions.rescue(dialect(), worker, CRASHED, message, running=running)


def crash(job, times=1):
    """Let workers die under a job."""
    for _ in range(times):
        worker = make_worker()
        [claimed] = claim(worker=worker)
        assert claimed.pk == job.pk
        rescue(worker)


def test_a_job_of_a_dead_worker_is_ready_again():
    job = make_job()
    worker = make_worker(name="far:7")
    [claimed] = claim(worker=worker)
    let_lease_run_out(worker)

    start_engine().sweep()

    fresh = assert_state(job, State.READY)
    assert (fresh.worker_id, fresh.lane, fresh.crash_count) == (None, Lane.CLAIMABLE, 1)
    assert fresh.fence == claimed.fence + 1
    assert fresh.finished is None
    assert Worker.objects.get(pk=worker.pk).expires_at is None, "It is declared dead."


def test_nobody_is_held_for_dead_who_may_have_been_cut_off_as_well():
    job = make_job()
    worker = make_worker()
    claim(worker=worker)
    engine = start_engine()
    let_lease_run_out(worker)
    engine.was_cut_off = True
    engine._last_beat -= engine.configuration.LEASE_SECONDS

    engine.beat()
    engine.sweep()
    assert_state(job, State.PROCESSING)

    engine._spare_until -= engine.configuration.LEASE_SECONDS
    engine.sweep()
    assert_state(job, State.READY)


def test_the_history_tells_of_the_lost_run():
    job = make_job()
    worker = make_worker(name="far:7")
    claim(worker=worker)
    let_lease_run_out(worker)

    start_engine().sweep()

    attempt = Attempt.objects.get(job=job)
    assert (attempt.outcome, attempt.worker_name, attempt.number) == (Outcome.LOST, "far:7", 1)
    assert attempt.error_type == "dbq.WorkerLost"
    assert attempt.error_message == "far:7 gave no sign of life for 60 s (crash 1 of 3)"


def test_a_worker_whose_lease_holds_keeps_its_jobs():
    job = make_job()
    worker = make_worker()
    claim(worker=worker)

    start_engine().sweep()

    assert assert_state(job, State.PROCESSING).worker_id == worker.pk


def test_a_beat_renews_the_lease():
    engine = start_engine()
    before = Worker.objects.get(pk=engine.worker.pk).expires_at
    engine.jobs_done = 7

    engine.beat()

    row = Worker.objects.get(pk=engine.worker.pk)
    assert row.expires_at > before
    assert row.jobs_done == 7


def test_a_beat_hears_that_the_worker_should_stop():
    engine = start_engine()
    Worker.objects.update(stop_requested=True)

    engine.beat()

    assert engine.stop_requested


def test_a_worker_that_was_declared_dead_goes_on_under_a_new_row():
    engine = start_engine()
    job = make_job()
    engine.cycle()
    old = engine.worker.pk
    let_lease_run_out(engine.worker)
    start_engine().sweep()

    engine.beat()

    assert engine.worker.pk != old
    assert not engine.ready, "What it held belongs to others now."
    work_off(engine=engine)
    assert_state(job, State.COMPLETED)


def test_a_job_whose_workers_row_was_deleted_is_rescued():
    job = make_job()
    worker = make_worker()
    claim(worker=worker)
    Worker.objects.filter(pk=worker.pk).delete()

    start_engine().sweep()

    assert_state(job, State.READY)
    assert Attempt.objects.get(job=job).worker_name == f"worker {worker.pk}"


def test_crashes_are_counted_and_the_third_fails_the_job():
    job = make_job()
    crash(job)
    assert (reload(job).state, reload(job).crash_count) == (State.READY, 1)
    crash(job)
    assert (reload(job).state, reload(job).crash_count) == (State.READY, 2)

    crash(job)

    fresh = assert_state(job, State.FAILED)
    assert fresh.crash_count == 3
    assert fresh.error_type == CRASHED
    assert fresh.error_message == "It is gone (crash 3 of 3)"
    assert fresh.fingerprint
    assert (fresh.lane, fresh.worker_id) == (Lane.FINISHED, None)
    assert [attempt.error_message for attempt in Attempt.objects.filter(job=job)] == [
        f"It is gone (crash {number} of 3)" for number in (1, 2, 3)
    ]


def test_the_number_of_crashes_is_a_setting(settings):
    settings.DBQ = {"MAX_CRASHES": 1}
    job = make_job()

    crash(job)

    assert assert_state(job, State.FAILED).error_message == "It is gone (crash 1 of 1)"


def test_crashes_are_counted_for_each_task_anew():
    job = make_job(name="two")
    crash(job, times=2)
    [claimed] = claim()
    record(make_result(claimed, next_task="tests.jobs.succeed_again"))

    assert assert_state(job, State.PROCESSING).crash_count == 0


def test_a_failed_job_gives_its_unique_key_up():
    job = make_job(unique_key="k")

    crash(job, times=3)

    assert assert_state(job, State.FAILED).unique_key is None


def test_a_job_whose_end_was_asked_for_is_cancelled_and_not_run_again():
    job = make_job()
    worker = make_worker()
    claim(worker=worker)
    assert job.cancel()

    rescue(worker)

    fresh = assert_state(job, State.CANCELLED)
    assert fresh.finished is not None
    assert fresh.error_message == "", "An operator stopped it; that is no failure."
    assert Attempt.objects.get(job=job).error_message == "It is gone (crash 1 of 3)"


def test_the_end_that_was_asked_for_comes_before_the_failure():
    job = make_job()
    crash(job, times=2)
    worker = make_worker()
    claim(worker=worker)
    job.cancel()

    rescue(worker)

    assert_state(job, State.CANCELLED)


def test_only_jobs_that_ran_in_a_dead_process_count_a_crash():
    ran, waited = make_job(), make_job()
    worker = make_worker()
    claim(2, worker=worker)

    freed = rescue(worker, running=[ran.pk])

    assert freed == 2
    assert assert_state(ran, State.READY).crash_count == 1
    fresh = assert_state(waited, State.NEW)
    assert (fresh.crash_count, fresh.attempt, fresh.started) == (0, 0, None)
    assert read_attempts(waited) == []
    assert read_attempts(ran) == [("edit", 1, "LOST")]


def test_a_job_that_had_run_before_is_ready_when_its_dead_worker_had_not_begun_it():
    job = make_job(State.READY)
    worker = make_worker()
    claim(worker=worker)

    rescue(worker, running=[])

    fresh = assert_state(job, State.READY)
    assert (fresh.crash_count, fresh.attempt) == (0, 0)


def requeue_after_its_end():
    job = make_job(State.COMPLETED)
    assert job.requeue()
    return job


def edit_before_its_start():
    job = make_job(workspace={"n": 0})
    assert job.edit_workspace({"n": 1})
    return job


@pytest.mark.parametrize("make", [requeue_after_its_end, edit_before_its_start])
def test_a_job_is_new_again_when_nothing_of_it_ran_since_it_was_new(make):
    job = make()
    worker = make_worker()
    claim(worker=worker)

    rescue(worker, running=[])

    assert assert_state(job, State.NEW).started is None


def test_a_job_that_only_waited_in_a_dead_process_is_cancelled_if_that_was_asked():
    job = make_job()
    worker = make_worker()
    claim(worker=worker)
    job.cancel()

    rescue(worker, running=[])

    assert_state(job, State.CANCELLED)


def test_unstarted_jobs_of_a_dead_process_never_fail_however_often():
    job = make_job()
    for _ in range(5):
        worker = make_worker()
        claim(worker=worker)
        rescue(worker, running=[])

    assert assert_state(job, State.NEW).crash_count == 0


def hold_more_than_run(job):
    """A worker that claims a job and others ahead of its one thread."""
    worker = make_worker()
    for _ in range(2):
        make_job(priority=-1)
    claimed = {held.pk: held for held in claim(3, worker=worker)}
    return worker, claimed[job.pk]


def test_no_crash_is_counted_against_a_job_that_only_may_have_been_running():
    job = make_job()
    for _ in range(5):
        worker, _ = hold_more_than_run(job)
        rescue(worker)

    fresh = assert_state(job, State.READY)
    assert (fresh.crash_count, fresh.attempt) == (0, 1)
    [attempt] = Attempt.objects.filter(job=job)
    assert attempt.outcome == Outcome.LOST
    assert attempt.error_message == "It is gone; this job may have been running"


def test_a_crash_is_counted_against_a_job_that_had_begun_beside_others():
    job = make_job()
    worker, _ = hold_more_than_run(job)
    rescue(worker)
    for number in (1, 2, 3):
        worker, claimed = hold_more_than_run(job)
        record(make_result(claimed, Outcome.RUNNING))
        rescue(worker)
        assert reload(job).crash_count == number

    assert_state(job, State.FAILED)
    assert read_attempts(job) == [("edit", number, "LOST") for number in (1, 2, 3, 4)]


def test_the_end_of_a_task_is_no_mark_that_the_next_one_had_begun():
    job = make_job(name="two")
    worker, claimed = hold_more_than_run(job)
    record(make_result(claimed, next_task="tests.jobs.succeed_again"))

    rescue(worker)

    assert assert_state(job, State.READY).crash_count == 0
    assert read_attempts(job) == [("succeed", 1, "COMPLETED"), ("succeed_again", 1, "LOST")]


def test_a_run_that_ended_in_a_dead_process_before_that_was_written_is_lost():
    job = make_job()
    worker = make_worker()
    [claimed] = claim(worker=worker)
    record(make_result(claimed, Outcome.RUNNING, workspace='{"n":1}', initial_workspace="{}", changes="[]"))

    rescue(worker, running=[])

    assert assert_state(job, State.READY).workspace == {"n": 1}
    assert read_attempts(job) == [("edit", 1, "LOST")]
    assert Attempt.objects.get(job=job).error_message == "It is gone"


@pytest.fixture
def job_with_an_open_attempt():
    """Its first run was lost, and the history does not tell."""
    job = make_job()
    worker = make_worker()
    [claimed] = claim(worker=worker)
    record(make_result(claimed, Outcome.RUNNING))
    rescue(worker, running=[])
    Attempt.objects.update(outcome=Outcome.RUNNING)
    return job


def test_a_mark_of_an_earlier_run_says_nothing_of_this_one(job_with_an_open_attempt):
    worker, _ = hold_more_than_run(job_with_an_open_attempt)

    rescue(worker)

    assert assert_state(job_with_an_open_attempt, State.READY).crash_count == 0


def test_the_end_of_a_run_is_not_written_into_an_earlier_one(job_with_an_open_attempt):
    [claimed] = claim()
    record(make_result(claimed, Outcome.RUNNING))
    record(make_result(claimed, has_attempt=True))

    assert read_attempts(job_with_an_open_attempt) == [("edit", 1, "RUNNING"), ("edit", 1, "COMPLETED")]


def test_the_loss_of_a_run_is_not_written_into_an_earlier_one(job_with_an_open_attempt):
    worker = make_worker()
    claim(worker=worker)
    rescue(worker)

    assert read_attempts(job_with_an_open_attempt) == [("edit", 1, "RUNNING"), ("edit", 1, "LOST")]


def test_a_job_that_was_lost_before_leaves_a_mark_in_its_history_when_it_begins(monkeypatch):
    job = make_job()
    crash(job)
    outcomes = []

    def record(dialect, results, tally):
        outcomes.extend(result.outcome for result in results)
        return real_record(dialect, results, tally)

    real_record = transitions.record
    monkeypatch.setattr(transitions, "record", record)
    work_off()

    assert outcomes == [Outcome.RUNNING, Outcome.COMPLETED]
    assert_state(job, State.COMPLETED)
    assert read_attempts(job) == [("edit", 1, "LOST"), ("edit", 2, "COMPLETED")]


def test_a_rescue_keeps_what_a_checkpoint_had_kept():
    job = make_job(workspace={"n": 0})
    worker = make_worker()
    [claimed] = claim(worker=worker)
    changes = '[{"op":"replace","path":"/n","value":1}]'
    record(
        make_result(
            claimed, Outcome.RUNNING, workspace='{"n":1}', initial_workspace='{"n":0}', changes=changes
        )
    )

    rescue(worker)

    assert assert_state(job, State.READY).workspace == {"n": 1}
    [attempt] = Attempt.objects.filter(job=job)
    assert attempt.outcome == Outcome.LOST
    assert attempt.started is not None
    assert attempt.changes == [{"op": "replace", "path": "/n", "value": 1}]


def test_a_late_finish_of_a_rescued_run_changes_nothing():
    job = make_job()
    worker = make_worker()
    [claimed] = claim(worker=worker)
    rescue(worker)
    before = read_everything()

    for outcome in (Outcome.COMPLETED, Outcome.FAILED, Outcome.RETRIED, Outcome.RELEASED):
        assert record(make_result(claimed, outcome)) == []

    assert read_everything() == before
    assert_state(job, State.READY)


def give_back(job, worker):
    rescue(worker, running=[])


def suspect(job, worker):
    Worker.objects.filter(pk=worker.pk).update(threads=0)
    rescue(Worker.objects.get(pk=worker.pk))


def set_free(job, worker):
    rescue(worker)


def cancel(job, worker):
    job.cancel()
    rescue(worker)


def fail(job, worker):
    Job.objects.update(crash_count=2)
    rescue(worker)


@pytest.mark.parametrize("take", [give_back, suspect, set_free, cancel, fail])
def test_whatever_becomes_of_a_job_its_dead_worker_writes_nothing_any_more(take):
    job = make_job()
    worker = make_worker()
    [claimed] = claim(worker=worker)
    take(job, worker)
    before = read_everything()

    assert record(make_result(claimed)) == []

    assert read_everything() == before
    fresh = reload(job)
    assert fresh.fence == claimed.fence + 1
    assert fresh.version > claimed.version, "Who looked at it before looks again."


def test_a_second_rescue_finds_nothing():
    make_job()
    worker = make_worker()
    claim(worker=worker)

    assert rescue(worker) == 1
    before = read_everything()
    assert rescue(worker) == 0
    assert read_everything() == before


def test_a_rescue_takes_only_from_the_worker_it_names():
    first, second = make_worker(), make_worker()
    kept = make_job()
    claim(worker=first)
    make_job()
    claim(worker=second)

    rescue(second)

    assert assert_state(kept, State.PROCESSING).worker_id == first.pk


def test_all_jobs_of_a_dead_worker_are_rescued_however_many():
    amount = transitions.RESCUE_CHUNK * 2 + 3
    Job.objects.bulk_create([Job(name="nothing") for _ in range(amount)])
    worker = make_worker()
    claim(amount, worker=worker)

    assert rescue(worker) == amount

    assert Job.objects.filter(state=State.READY, attempt=1).count() == amount


def test_a_reason_may_hold_any_characters():
    job = make_job()
    worker = make_worker()
    claim(worker=worker)

    rescue(worker, message="100 % {of} {} %s")

    assert Attempt.objects.get(job=job).error_message == "100 % {of} {} %s (crash 1 of 3)"


def test_a_job_on_its_last_crash_runs_alone():
    suspect = make_job(name="succeed", priority=1)
    crash(suspect, times=2)
    others = [make_job(name="succeed") for _ in range(3)]
    engine = start_engine(threads=2)
    engine._prefetch = 3
    engine.cycle()
    assert engine.suspect.job.pk == suspect.pk

    beside = [engine.next_run(place, 0) for place in (0, 1)]

    running = [run.job.pk for run in beside if run is not None]
    assert running in ([suspect.pk], [job.pk for job in others[:2]]), "Never both at once."


def test_a_job_on_its_last_crash_runs_to_its_end_and_others_after_it():
    suspect = make_job(name="succeed", priority=1)
    crash(suspect, times=2)
    other = make_job(name="succeed")

    work_off()

    assert_state(suspect, State.COMPLETED)
    assert_state(other, State.COMPLETED)


def test_the_rows_of_dead_workers_are_forgotten_after_an_hour():
    old, holding, recent = (make_worker(expires_at=None) for _ in range(3))
    living = make_worker(expires_at=dialect().read_clock() + timedelta(hours=1))
    make_job()
    claim(worker=holding)
    Worker.objects.exclude(pk=recent.pk).update(beat=F("beat") - timedelta(hours=2))
    engine = start_engine()

    engine.forget()

    left = set(Worker.objects.values_list("pk", flat=True))
    assert left == {holding.pk, recent.pk, living.pk, engine.worker.pk}, old


@pytest.mark.parametrize("state", [s for s in State if s != State.PROCESSING])
def test_a_rescue_touches_no_job_that_nobody_holds(state):
    job = make_job(state)
    before = read_everything()["Job"]

    rescue(make_worker())

    assert read_everything()["Job"] == before, job

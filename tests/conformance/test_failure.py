"""PROCESSING → FAILED, or READY again after a back-off where the definition grants more attempts."""

from datetime import timedelta

import pytest

from dbq.models import Attempt, Job
from dbq.states import Lane, Outcome, State
from tests import jobs
from tests.helpers import (
    assert_state,
    claim,
    let_time_pass,
    make_job,
    make_result,
    promote,
    read_attempts,
    record,
    reload,
    script,
    start_engine,
    work_off,
)


def test_a_task_that_raises_fails_its_job():
    job = make_job(name="fail", workspace={"a": 1})

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert fresh.error_type == "ValueError"
    assert fresh.error_message == f"job {job.id} is told to fail"
    assert len(fresh.fingerprint) == 16
    assert fresh.finished is not None
    assert (fresh.lane, fresh.worker_id, fresh.attempt) == (Lane.FINISHED, None, 1)


def test_a_failed_job_stays_at_the_task_that_failed():
    job = make_job(name="fail_at_the_end")

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert fresh.next_task == "tests.jobs.fail"
    assert read_attempts(job) == [("edit", 1, "COMPLETED"), ("fail", 1, "FAILED")]


def test_no_later_task_runs_after_a_failure():
    job = make_job(name="scripted")

    def explode(job):
        raise ValueError("first")

    with script(explode):
        work_off()

    assert assert_state(job, State.FAILED).next_task == "tests.jobs.follow_the_script"


def test_what_a_failed_task_wrote_does_not_reach_the_job():
    job = make_job(name="fail", workspace={"a": 1})

    work_off()

    assert reload(job).workspace == {"a": 1}
    attempt = Attempt.objects.get(job=job)
    assert attempt.changes is None
    assert attempt.discarded_changes == [{"op": "add", "path": "/left", "value": "behind"}]


def test_the_history_of_a_failure_says_what_went_wrong_and_where():
    job = make_job(name="fail")

    work_off()

    attempt = Attempt.objects.get(job=job)
    fresh = reload(job)
    assert attempt.outcome == Outcome.FAILED
    assert attempt.error_type == fresh.error_type
    assert attempt.error_message == fresh.error_message
    assert attempt.fingerprint == fresh.fingerprint
    lines = attempt.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert 'tests/jobs.py", line' in lines[1] and lines[1].endswith("in fail")
    assert lines[-1] == f"ValueError: job {job.id} is told to fail"
    assert "dbq/" not in attempt.traceback, "Whoever wrote the task looks for their own lines."


def test_one_kind_of_failure_has_one_fingerprint():
    failed = [make_job(name="fail") for _ in range(2)]
    other = make_job(name="scripted_once")

    def explode(job):
        raise ValueError("something else")

    with script(explode):
        work_off()

    prints = [reload(job).fingerprint for job in (*failed, other)]
    assert prints[0] == prints[1] != prints[2]


def test_a_long_traceback_is_kept_from_its_end(settings):
    settings.DBQ = {"TRACEBACK_MAX_CHARACTERS": 300}
    job = make_job(name="recurse_for_ever")

    work_off()

    traceback = Attempt.objects.get(job=job).traceback
    assert traceback.startswith("… (")
    assert "characters left out)" in traceback.splitlines()[0]
    assert traceback.splitlines()[-1].startswith("RecursionError: ")
    assert len(traceback) <= 400


def test_a_success_clears_no_trace_of_earlier_failures_from_the_history():
    job = make_job(name="fail_twice")

    for _ in range(3):
        work_off()
        let_time_pass(10)
        promote()

    assert_state(job, State.COMPLETED)
    assert read_attempts(job) == [
        ("fail_twice", 1, "RETRIED"),
        ("fail_twice", 2, "RETRIED"),
        ("fail_twice", 3, "COMPLETED"),
    ]


# Back-off


def test_a_failure_with_attempts_left_waits_for_its_back_off():
    job = make_job(name="fail_for_ever")
    engine = start_engine()

    [result] = work_off(engine=engine)

    fresh = assert_state(job, State.READY)
    assert result.outcome == Outcome.RETRIED
    assert fresh.lane == Lane.WAITING
    assert timedelta(seconds=8) <= fresh.run_after - result.finished <= timedelta(seconds=12)
    assert (fresh.attempt, fresh.worker_id, fresh.finished) == (1, None, None)
    assert fresh.error_type == "ValueError", "The screen can say why it waits."


def test_a_job_in_its_back_off_is_not_run():
    make_job(name="fail_for_ever")
    work_off()
    let_time_pass(7)

    assert promote() == 0
    assert work_off() == []


def test_a_job_whose_back_off_has_passed_runs_again():
    job = make_job(name="fail_for_ever")
    work_off()
    let_time_pass(13)

    assert promote() == 1
    [result] = work_off()

    assert result.number == 2
    assert read_attempts(job) == [("fail", 1, "RETRIED"), ("fail", 2, "RETRIED")]


def test_the_back_off_doubles_up_to_its_ceiling(settings):
    settings.DBQ = {"BACKOFF_MAX_SECONDS": 60}
    job = make_job(name="fail_for_ever")
    delays = []
    for _ in range(5):
        [result] = work_off()
        delays.append(result.delay)
        let_time_pass(80)
        promote()

    expected = [10, 20, 40, 60, 60]
    for delay, middle in zip(delays, expected, strict=True):
        assert middle * 0.8 <= delay <= middle * 1.2, delays
    assert reload(job).attempt == 5


def test_the_last_attempt_fails_the_job():
    job = make_job(name="hooked_retries")
    work_off()
    assert_state(job, State.READY)
    let_time_pass(10)
    promote()

    [result] = work_off()

    assert result.outcome == Outcome.FAILED
    assert_state(job, State.FAILED)


def test_a_retry_starts_from_the_workspace_of_the_last_checkpoint():
    seen = []
    job = make_job(name="scripted_patiently", workspace={"n": 0})

    def save_spoil_and_fail(job):
        job.workspace["n"] += 1
        job.checkpoint()
        job.workspace["n"] = -1
        raise ValueError

    def look(job):
        seen.append(dict(job.workspace))

    with script(save_spoil_and_fail, look, look, look):
        work_off()
        let_time_pass(10)
        promote()
        work_off()

    assert seen[0] == {"n": 1}
    assert_state(job, State.COMPLETED)


def test_each_task_has_attempts_of_its_own():
    numbers = []
    job = make_job(name="scripted_patiently")

    def fail(job):
        numbers.append(job.attempt)
        raise ValueError

    def succeed(job):
        numbers.append(job.attempt)

    with script(fail, succeed, fail, succeed, succeed):
        for _ in range(3):
            work_off()
            let_time_pass(10)
            promote()

    assert numbers == [1, 2, 1, 2, 1]
    assert_state(job, State.COMPLETED)


def test_a_retried_job_keeps_its_unique_key_and_a_failed_one_gives_it_up():
    job = make_job(name="hooked_retries", unique_key="k")
    work_off()
    assert reload(job).unique_key == "k"
    let_time_pass(10)
    promote()

    work_off()

    assert reload(job).unique_key is None


# Late


def test_a_stale_failure_changes_nothing():
    job = make_job()
    [claimed] = claim()
    Job.objects.update(fence=claimed.fence + 1)

    assert record(make_result(claimed, Outcome.FAILED)) == []

    fresh = assert_state(job, State.PROCESSING)
    assert (fresh.error_type, fresh.finished) == ("", None)
    assert read_attempts(job) == []


def test_a_stale_retry_changes_nothing():
    job = make_job()
    [claimed] = claim()
    Job.objects.update(fence=claimed.fence + 1)

    assert record(make_result(claimed, Outcome.RETRIED, delay=1)) == []

    assert_state(job, State.PROCESSING)


@pytest.mark.parametrize("name", ["raise_in_many_scripts", "raise_the_unspeakable", "raise_a_group"])
def test_an_error_of_any_text_can_be_written_down(name):
    job = make_job(name=name)

    work_off()

    fresh = assert_state(job, State.FAILED)
    attempt = Attempt.objects.get(job=job)
    expected = {
        "raise_in_many_scripts": "naïve \N{PARTY POPPER} \\0 \\ud800 'quoted' \\ \"twice\" {} % %s",
        "raise_the_unspeakable": "(its text raised RuntimeError)",
        "raise_a_group": "several (2 sub-exceptions)",
    }
    assert fresh.error_message == attempt.error_message == expected[name]
    assert name in attempt.traceback
    assert jobs.ran == []

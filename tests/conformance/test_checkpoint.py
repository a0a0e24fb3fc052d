"""PROCESSING stays PROCESSING: a checkpoint keeps the workspace whatever happens to the task."""

import json

import pytest

from dbq.exceptions import DbqError, InvalidWorkspace, LeaseLost
from dbq.models import Attempt, Job
from dbq.states import Outcome, State
from dbq.workspaces import SMALL_PATCH_CHARACTERS
from tests.helpers import (
    assert_state,
    claim,
    make_job,
    make_result,
    read_attempts,
    record,
    reload,
    run,
    script,
    start_engine,
    step,
    take_up,
    work_off,
)


def test_a_checkpoint_is_committed_before_the_task_goes_on():
    seen = []
    make_job(name="scripted_once", workspace={"n": 0})

    def save_twice(job):
        for n in (1, 2):
            job.workspace["n"] = n
            job.checkpoint()
            seen.append((reload(job).workspace, reload(job).state))

    with script(save_twice):
        work_off()

    assert seen == [({"n": 1}, State.PROCESSING), ({"n": 2}, State.PROCESSING)]


def test_a_checkpoint_survives_the_failure_of_its_task():
    job = make_job(name="save_and_fail")

    work_off()

    assert assert_state(job, State.FAILED).workspace == {"saved": True}


def test_what_came_after_the_checkpoint_is_kept_for_inspection_only():
    job = make_job(name="save_and_fail")

    work_off()

    attempt = Attempt.objects.get(job=job)
    assert attempt.changes == [{"op": "add", "path": "/saved", "value": True}]
    assert attempt.discarded_changes == [{"op": "add", "path": "/lost", "value": True}]


def test_a_run_with_checkpoints_is_one_attempt():
    job = make_job(name="scripted_once")

    def save_thrice(job):
        for n in range(3):
            job.workspace[f"k{n}"] = n
            job.checkpoint()

    with script(save_thrice):
        work_off()

    [attempt] = Attempt.objects.filter(job=job)
    assert attempt.outcome == Outcome.COMPLETED
    assert attempt.started is not None and attempt.finished is not None
    assert [change["path"] for change in attempt.changes] == ["/k0", "/k1", "/k2"]


def test_between_checkpoints_the_history_shows_the_run_as_running():
    seen = []
    make_job(name="scripted_once")

    def save(job):
        job.checkpoint()
        seen.extend(read_attempts(job))

    with script(save):
        work_off()

    assert seen == [("follow_the_script", 1, "RUNNING")]


def test_a_checkpoint_does_not_give_the_job_away():
    job = make_job(name="scripted_once")
    fences = []

    def save(job):
        before = reload(job)
        job.checkpoint()
        after = reload(job)
        fences.append((before.fence, after.fence))
        assert after.worker_id == before.worker_id
        assert after.next_task == before.next_task
        assert after.attempt == before.attempt == 1

    with script(save):
        work_off()

    assert fences[0][0] == fences[0][1]
    assert_state(job, State.COMPLETED)


def test_the_changes_of_many_checkpoints_stay_as_small_as_a_workspace():
    job = make_job(name="scripted_once", workspace={"n": 0})

    def save_often(job):
        for n in range(60):
            job.workspace["n"] = n + 1
            job.checkpoint()

    with script(save_often):
        work_off()

    changes = Attempt.objects.get(job=job).changes
    assert len(json.dumps(changes)) <= SMALL_PATCH_CHARACTERS
    assert changes[-1] == {"op": "replace", "path": "/n", "value": 60}
    assert reload(job).initial_workspace == {"n": 0}
    assert job.workspace_before("tests.jobs.follow_the_script") == {"n": 0}


def test_a_checkpoint_of_an_overtaken_claim_raises_and_changes_nothing():
    job = make_job(name="scripted_once")
    heard = []

    def save_too_late(job):
        Job.objects.filter(pk=job.pk).update(fence=job.fence + 5)
        job.workspace["late"] = True
        try:
            job.checkpoint()
        except LeaseLost as error:
            heard.append(str(error))
            raise

    engine = start_engine()
    with script(save_too_late):
        step(engine)

    assert heard == [f"Job {job.id} belongs to somebody else by now."]
    assert reload(job).workspace == {}
    assert read_attempts(job) == []
    assert engine.fenced >= 1


def test_a_task_that_swallows_the_loss_of_its_lease_hears_of_it_again():
    losses = []
    job = make_job(name="scripted_once")

    def save_stubbornly(job):
        Job.objects.filter(pk=job.pk).update(fence=job.fence + 5)
        for _ in range(2):
            try:
                job.checkpoint()
            except LeaseLost:
                losses.append(1)

    with script(save_stubbornly):
        step(start_engine())

    assert len(losses) == 2
    assert assert_state(job, State.PROCESSING).next_task == "tests.jobs.follow_the_script"


def test_a_checkpoint_of_a_bad_workspace_is_refused_and_the_task_may_go_on():
    refused = []
    job = make_job(name="scripted_once")

    def save_badly(job):
        job.workspace["bad"] = {1, 2}
        try:
            job.checkpoint()
        except InvalidWorkspace as error:
            refused.append(str(error))
        job.workspace["bad"] = [1, 2]

    with script(save_badly):
        work_off()

    assert refused == ["workspace['bad'] is of type set, which JSON does not have."]
    assert assert_state(job, State.COMPLETED).workspace == {"bad": [1, 2]}


def test_outside_of_a_task_there_is_nothing_to_checkpoint():
    job = make_job()

    with pytest.raises(DbqError, match=f"Job {job.id} is not being run by a worker here."):
        job.checkpoint()
    with pytest.raises(DbqError, match="is not being run by a worker here"):
        job.set_progress(1, 2)


@pytest.mark.parametrize(
    ("done", "total", "message"),
    [
        ("1", 2, "Progress is counted in numbers, not '1' of 2."),
        (1, None, "Progress is counted in numbers, not 1 of None."),
        (float("nan"), 2, "workspace['done'] is nan, which JSON does not have."),
    ],
)
def test_progress_that_is_no_number_fails_the_task_that_reports_it(done, total, message):
    job = make_job(name="scripted_once")

    with script(lambda job: job.set_progress(done, total)):
        work_off()

    assert assert_state(job, State.FAILED).error_message == message


def test_two_writes_of_one_job_are_never_in_one_statement():
    """A checkpoint and the end of the same run, both handed in before the engine turns."""
    job = make_job()
    engine = start_engine()
    held = take_up(engine)
    checkpoint = make_result(held.job, Outcome.RUNNING, workspace='{"n":1}', changes="[]")
    engine.results.append(checkpoint)

    run(engine, held)
    engine.cycle()
    assert_state(job, State.PROCESSING)
    engine.cycle()

    assert_state(job, State.COMPLETED)


def test_a_checkpoint_of_a_stale_fence_among_valid_ones_is_left_out():
    fresh_job, stale_job = make_job(), make_job()
    claimed = {job.pk: job for job in claim(2)}
    fresh, stale = claimed[fresh_job.pk], claimed[stale_job.pk]
    Job.objects.filter(pk=stale.pk).update(fence=stale.fence + 1)
    results = [
        make_result(each, Outcome.RUNNING, workspace='{"n":1}', initial_workspace="{}", changes="[]")
        for each in (stale, fresh)
    ]

    accepted = record(*results)

    assert [result.job.pk for result in accepted] == [fresh.pk]
    assert reload(fresh_job).workspace == {"n": 1}
    assert reload(stale_job).workspace == {}
    assert read_attempts(stale_job) == []

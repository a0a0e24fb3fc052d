"""The four hooks: who runs when, what each may change, and what becomes of a job whose hook raises."""

import pytest

from dbq.exceptions import TaskNotImportable
from dbq.models import Job, Queue
from dbq.states import State
from tests import jobs
from tests.helpers import (
    assert_state,
    dialect,
    let_time_pass,
    make_job,
    promote,
    read_attempts,
    reload,
    script,
    work_off,
)


def test_each_hook_runs_in_its_place_and_may_edit_the_workspace():
    job = make_job(name="hooked", workspace={"given": 1})
    assert reload(job).workspace == {"given": 1, "created_by": "hooked"}

    work_off()

    assert assert_state(job, State.COMPLETED).workspace == {
        "given": 1,
        "created_by": "hooked",
        "hooks": ["pre succeed", "post succeed", "pre succeed_again", "post succeed_again"],
    }
    assert [task for _, task in jobs.ran] == ["succeed", "succeed_again"], "No failure, no hook."


def test_what_the_creation_hook_added_is_part_of_the_original_workspace():
    job = make_job(name="hooked")
    work_off()

    job.requeue()

    assert reload(job).workspace == {"created_by": "hooked"}


# Creation hook


def test_a_creation_hook_that_raises_reaches_the_caller_and_nothing_is_saved():
    with pytest.raises(ValueError, match="not on my watch"):
        Job.objects.create(name="refused")

    assert not Job.objects.exists()


def test_a_creation_hook_that_raises_refuses_the_whole_bulk():
    with pytest.raises(ValueError, match="not on my watch"):
        Job.objects.bulk_create([Job(name="nothing"), Job(name="refused"), Job(name="nothing")])

    assert not Job.objects.exists()


def test_creation_hooks_of_a_bulk_run_for_each_job_in_order():
    made = Job.objects.bulk_create([Job(name="hooked"), Job(name="nothing"), Job(name="hooked")])

    assert [job.workspace for job in made] == [
        {"created_by": "hooked"},
        {},
        {"created_by": "hooked"},
    ]
    assert [reload(job).workspace for job in made] == [job.workspace for job in made]


def test_a_creation_hook_that_does_not_import_refuses_the_job(settings):
    settings.JOBS = {"j": {"tasks": ["tests.jobs.succeed"], "creation_hook": "tests.nowhere.hook"}}

    with pytest.raises(TaskNotImportable, match=r'"tests\.nowhere\.hook" does not import'):
        Job.objects.create(name="j")
    assert not Job.objects.exists()


# Pre-task hook


def test_a_pre_task_hook_that_raises_fails_the_task_before_it_runs():
    job = make_job(name="broken_pre_hook")

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert (fresh.error_type, fresh.error_message) == ("RuntimeError", "the hook is broken")
    assert read_attempts(job) == [("succeed", 1, "FAILED")]
    assert jobs.ran == []


# Post-task hook


def test_a_post_task_hook_that_raises_changes_nothing(caplog):
    job = make_job(name="broken_post_hook", workspace={"a": 1})

    work_off()

    assert assert_state(job, State.COMPLETED).workspace == {"a": 1, "edited": 1}
    assert f"The post-task hook of job {job.id} raised; nothing changes." in caplog.text


def test_what_a_broken_post_task_hook_wrote_does_not_reach_the_next_task():
    job = make_job(name="broken_post_hook", workspace={"a": 1})

    work_off()

    assert reload(job).workspace_before("tests.jobs.edit") == {"a": 1}
    last = reload(job).attempts.last()
    assert last.changes == [{"op": "add", "path": "/edited", "value": 1}]


def test_what_a_broken_post_task_hook_wrote_is_undone_after_a_task_that_read_its_job_anew(settings):
    settings.JOBS = {
        "j": {
            "tasks": ["tests.jobs.follow_the_script", "tests.jobs.follow_the_script_again"],
            "post_task_hook": "tests.jobs.edit_and_raise_in_hook",
        }
    }
    job = make_job(name="j", workspace={"a": 1})
    seen = []

    with script(lambda job: job.refresh_from_db(), lambda job: seen.append(dict(job.workspace))):
        work_off()

    assert seen == [{"a": 1}]
    assert assert_state(job, State.COMPLETED).workspace == {"a": 1}


def test_a_transaction_that_a_post_task_hook_leaves_open_is_rolled_back():
    job = make_job(name="careless_post_hook")

    work_off()

    assert_state(job, State.COMPLETED)
    assert not Queue.objects.exists()
    assert not dialect().has_open_transaction()


# Failure hook


def test_the_failure_hook_gets_the_job_and_the_exception():
    job = make_job(name="hooked_failure")

    work_off()

    assert_state(job, State.FAILED)
    assert jobs.ran == [(job.id, f"failure hook: job {job.id} is told to fail")]


def test_the_failure_hook_waits_for_the_last_attempt():
    job = make_job(name="hooked_retries")
    work_off()
    assert jobs.ran == []
    let_time_pass(10)
    promote()

    work_off()

    assert [note for _, note in jobs.ran] == [f"failure hook: job {job.id} is told to fail"]


def test_a_failure_hook_that_raises_leaves_the_job_failed_for_its_own_reason(caplog):
    job = make_job(name="broken_failure_hook")
    good = make_job(name="edit")

    work_off()

    fresh = assert_state(job, State.FAILED)
    assert fresh.error_type == "ValueError"
    assert f"The failure hook of job {job.id} raised; the job is failed all the same." in caplog.text
    assert_state(good, State.COMPLETED)


def test_what_a_failure_hook_writes_into_the_workspace_is_not_kept(settings):
    settings.JOBS = {
        "j": {"tasks": ["tests.jobs.fail"], "failure_hook": "tests.conformance.test_hooks.spoil"}
    }
    job = make_job(name="j", workspace={"a": 1})

    work_off()

    assert assert_state(job, State.FAILED).workspace == {"a": 1}


def spoil(job, exception):
    job.workspace["spoilt"] = True


@pytest.mark.parametrize("hook", ["pre_task_hook", "post_task_hook"])
def test_hooks_may_be_coroutines(hook, settings):
    settings.JOBS = {"j": {"tasks": ["tests.jobs.succeed"], hook: "tests.jobs.succeed_asynchronously"}}
    job = make_job(name="j")

    work_off()

    assert "loop" in assert_state(job, State.COMPLETED).workspace

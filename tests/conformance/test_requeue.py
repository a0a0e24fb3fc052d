"""COMPLETED, FAILED or CANCELLED → NEW, from the first task, with the workspace of the creation."""

import pytest

from dbq.exceptions import InvalidJob
from dbq.models import Job
from dbq.states import Lane, State
from tests.helpers import (
    assert_state,
    make_job,
    read_attempts,
    reload,
    script,
    work_off,
)


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_a_finished_job_is_new_with_the_workspace_it_was_created_with(state):
    job = make_job(state, workspace={"a": 1})
    before = reload(job)

    assert job.requeue() is True

    fresh = assert_state(job, State.NEW)
    assert fresh.workspace == {"a": 1}
    assert fresh.initial_workspace is None
    assert fresh.next_task == "tests.jobs.edit"
    assert (fresh.attempt, fresh.crash_count, fresh.worker_id) == (0, 0, None)
    assert (fresh.started, fresh.finished, fresh.progress) == (None, None, None)
    assert (fresh.error_type, fresh.error_message, fresh.fingerprint) == ("", "", "")
    assert (fresh.lane, fresh.run_after) == (Lane.CLAIMABLE, None)
    assert fresh.created == before.created
    assert fresh.fence == before.fence + 1
    assert fresh.version == before.version + 1


def test_a_requeued_job_runs_all_its_tasks_again():
    job = make_job(name="edit", workspace={"a": 1})
    work_off()

    job.requeue()
    work_off()

    assert assert_state(job, State.COMPLETED).workspace == {"a": 1, "edited": 1}
    assert read_attempts(job) == [("edit", 1, "COMPLETED"), ("edit", 1, "COMPLETED")]


def test_an_operators_edit_is_undone_by_a_requeue():
    job = make_job(State.FAILED, workspace={"a": 1})
    job.edit_workspace({"a": 2})

    job.requeue()

    assert reload(job).workspace == {"a": 1}


def test_a_second_requeue_has_the_same_workspace_as_the_first():
    job = make_job(name="scripted_once", workspace={"n": [1, 2]})

    def spoil(job):
        job.workspace = {"spoilt": True}

    for _ in range(2):
        with script(spoil):
            work_off()
        job.requeue()

    assert reload(job).workspace == {"n": [1, 2]}


def test_a_requeued_job_follows_the_definition_of_today(settings):
    job = make_job(State.COMPLETED)
    old = reload(job).definition_hash
    settings.JOBS = {"edit": ["tests.jobs.succeed", "tests.jobs.edit"]}

    job.requeue()

    fresh = reload(job)
    assert fresh.next_task == "tests.jobs.succeed"
    assert fresh.definition_hash != old
    work_off()
    assert_state(job, State.COMPLETED)


def test_a_job_whose_name_is_unknown_is_not_requeued(settings):
    job = make_job(State.COMPLETED)
    settings.JOBS = {}
    before = reload(job).version

    assert job.requeue() is False

    assert assert_state(job, State.COMPLETED).version == before


@pytest.mark.parametrize("state", [State.NEW, State.READY, State.PROCESSING])
def test_a_job_that_is_not_finished_is_not_requeued(state):
    job = make_job(state)
    before = reload(job).version

    assert job.requeue() is False

    assert assert_state(job, state).version == before


def test_a_job_is_requeued_once():
    job = make_job(State.COMPLETED)

    assert [job.requeue(), job.requeue()] == [True, False]


def test_all_that_match_are_requeued_and_counted():
    finished = [make_job(state) for state in (State.COMPLETED, State.FAILED, State.CANCELLED)]
    make_job()

    assert Job.objects.all().requeue() == 3

    for job in finished:
        assert_state(job, State.NEW)


def test_a_requeued_job_has_not_run_its_tasks_as_far_as_its_history_goes():
    job = make_job(State.FAILED)
    job.requeue()

    with pytest.raises(InvalidJob, match=r'has never run the task "tests\.jobs\.fail"'):
        reload(job).workspace_before("tests.jobs.fail")


def test_the_requeue_of_jobs_of_several_names_starts_each_at_its_own_first_task():
    edited, failed = make_job(State.COMPLETED), make_job(State.COMPLETED, name="two")

    assert Job.objects.all().requeue() == 2

    assert reload(edited).next_task == "tests.jobs.edit"
    assert reload(failed).next_task == "tests.jobs.succeed"

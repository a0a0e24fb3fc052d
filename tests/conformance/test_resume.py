"""Finished → READY at an earlier task, with the workspace as it stood before that task."""

import pytest

from dbq.exceptions import InvalidJob
from dbq.models import Attempt
from dbq.states import Lane, Outcome, State
from tests.helpers import (
    assert_state,
    let_time_pass,
    make_job,
    promote,
    read_attempts,
    read_everything,
    reload,
    script,
    work_off,
)

FIRST = "tests.jobs.follow_the_script"
SECOND = "tests.jobs.follow_the_script_again"
THIRD = "tests.jobs.follow_the_script_to_the_end"


def keep(value):
    def step(job):
        job.workspace["n"] = value

    return step


def fail(job):
    job.workspace["n"] = -1
    raise ValueError("told to fail")


def make_finished():
    """Completed; its three tasks made 0 → 1 → 2 → 3."""
    job = make_job(name="scripted", workspace={"n": 0})
    with script(keep(1), keep(2), keep(3)):
        work_off()
    return assert_state(job, State.COMPLETED)


@pytest.mark.parametrize(("task", "value"), [(FIRST, 0), (SECOND, 1), (THIRD, 2)])
def test_a_job_resumes_from_any_of_its_tasks_with_the_workspace_from_before_it(task, value):
    job = make_finished()

    assert job.resume_from(task) is True

    fresh = assert_state(job, State.READY)
    assert fresh.next_task == task
    assert fresh.workspace == {"n": value}
    assert fresh.initial_workspace == {"n": 0}
    assert (fresh.attempt, fresh.finished, fresh.lane) == (0, None, Lane.CLAIMABLE)
    assert fresh.fence == job.fence + 1


def test_the_tasks_from_there_on_run_again():
    job = make_finished()

    job.resume_from(SECOND)
    with script(keep(20), keep(30)):
        work_off()

    assert assert_state(job, State.COMPLETED).workspace == {"n": 30}
    assert [task for task, _, outcome in read_attempts(job) if outcome == "COMPLETED"] == [
        "follow_the_script",
        "follow_the_script_again",
        "follow_the_script_to_the_end",
        "follow_the_script_again",
        "follow_the_script_to_the_end",
    ]


def test_the_history_tells_that_the_workspace_was_set_back():
    job = make_finished()

    job.resume_from(SECOND)

    edit = Attempt.objects.get(job=job, outcome=Outcome.EDITED)
    assert edit.error_message == f"Resumed from {SECOND}."
    assert edit.changes == [{"op": "replace", "path": "/n", "value": 1}]


def test_a_failed_job_resumes_from_the_task_that_failed_without_its_leavings():
    job = make_job(name="scripted", workspace={"n": 0})
    with script(keep(1), fail):
        work_off()

    assert job.resume_from(SECOND) is True

    assert assert_state(job, State.READY).workspace == {"n": 1}


def test_a_job_may_be_resumed_again_after_it_was_resumed():
    job = make_finished()
    job.resume_from(SECOND)
    with script(keep(20), keep(30)):
        work_off()

    assert job.resume_from(THIRD) is True
    assert reload(job).workspace == {"n": 20}
    with script(keep(300)):
        work_off()
    assert job.resume_from(FIRST) is True
    assert reload(job).workspace == {"n": 0}


def test_retries_of_a_task_count_as_one_with_it():
    job = make_job(name="scripted_patiently", workspace={"n": 0})
    with script(keep(1), fail, keep(2), keep(3)):
        work_off()
        let_time_pass(10)
        promote()
        work_off()

    job.resume_from(SECOND)

    assert reload(job).workspace == {"n": 1}


def test_a_cancelled_job_that_never_ran_resumes_from_its_first_task():
    job = make_job(State.CANCELLED, workspace={"a": 1})

    assert job.resume_from("tests.jobs.edit") is True

    assert assert_state(job, State.READY).workspace == {"a": 1}


def test_a_task_that_never_ran_is_refused():
    job = make_job(name="scripted", workspace={"n": 0})
    with script(fail):
        work_off()
    before = read_everything()

    with pytest.raises(InvalidJob, match=f'Job {job.id} has never run the task "{THIRD}".'):
        job.resume_from(THIRD)

    assert read_everything() == before


@pytest.mark.parametrize("task", ["os.system", "", "tests.jobs.succeed"])
def test_a_task_that_is_not_in_the_definition_is_refused(task):
    job = make_finished()
    before = read_everything()

    with pytest.raises(InvalidJob) as raised:
        job.resume_from(task)

    assert str(raised.value) == f'"{task}" is not a task of JOBS["scripted"].'
    assert read_everything() == before


def test_a_job_whose_name_is_unknown_is_refused(settings):
    job = make_finished()
    settings.JOBS = {}

    with pytest.raises(InvalidJob, match="is not a task of JOBS"):
        job.resume_from(FIRST)


@pytest.mark.parametrize("state", [State.NEW, State.READY, State.PROCESSING])
def test_a_job_that_is_not_finished_is_not_resumed(state):
    job = make_job(state)
    before = read_everything()

    assert job.resume_from("tests.jobs.edit") is False

    assert read_everything() == before


def test_that_a_job_is_not_finished_is_said_before_that_the_task_never_ran():
    job = make_job(name="two")

    assert job.resume_from("tests.jobs.succeed_again") is False


def test_a_requeued_job_starts_a_history_of_its_own():
    job = make_finished()
    job.requeue()
    with script(keep(10), fail):
        work_off()

    assert job.resume_from(SECOND) is True

    assert reload(job).workspace == {"n": 10}


def test_what_an_operator_mended_since_is_not_set_back():
    job = make_job(name="scripted", workspace={"n": 0, "address": "wrong"})
    with script(keep(1), fail):
        work_off()
    assert reload(job).edit_workspace({"n": 1, "address": "right"}) is True

    assert reload(job).workspace_to_resume(SECOND) == {"n": 1, "address": "right"}
    assert reload(job).resume_from(SECOND) is True
    assert assert_state(job, State.READY).workspace == {"n": 1, "address": "right"}

    with script(fail):
        work_off()
    assert reload(job).resume_from(FIRST) is True

    assert assert_state(job, State.READY).workspace == {"n": 0, "address": "right"}


def test_an_edit_that_does_not_fit_the_earlier_workspace_is_refused():
    def add_address(job):
        job.workspace["address"] = {"street": "unknown"}

    job = make_job(name="scripted", workspace={"n": 0})
    with script(add_address, fail):
        work_off()
    assert reload(job).edit_workspace({"n": 0, "address": {"street": "known"}}) is True
    before = read_everything()

    with pytest.raises(InvalidJob, match="does not fit the workspace from before"):
        reload(job).resume_from(FIRST)

    assert read_everything() == before

"""An operator replaces the workspace of a job that no worker holds and that is not completed."""

import pytest

from dbq.exceptions import InvalidWorkspace
from dbq.models import Attempt
from dbq.states import Outcome, State
from tests.helpers import (
    assert_state,
    claim,
    make_job,
    make_result,
    read_everything,
    record,
    reload,
    work_off,
)

EDITABLE = [State.NEW, State.READY, State.FAILED, State.CANCELLED]


@pytest.mark.parametrize("state", EDITABLE)
def test_the_workspace_is_replaced_and_the_job_stays_where_it_is(state):
    job = make_job(state, workspace={"a": 1})
    before = reload(job)

    assert job.edit_workspace({"a": 2}) is True

    fresh = assert_state(job, state)
    assert fresh.workspace == {"a": 2}
    assert fresh.initial_workspace == {"a": 1}
    assert fresh.version == before.version + 1
    assert (fresh.next_task, fresh.finished, fresh.lane, fresh.attempt) == (
        before.next_task,
        before.finished,
        before.lane,
        before.attempt,
    )


def test_the_history_tells_of_the_edit():
    job = make_job(State.FAILED, workspace={"a": 1})

    job.edit_workspace({"a": 1, "edited": 5})

    edit = Attempt.objects.get(job=job, outcome=Outcome.EDITED)
    assert edit.changes == [{"op": "replace", "path": "/edited", "value": 5}]
    assert (edit.number, edit.task, edit.fence) == (0, "tests.jobs.fail", reload(job).fence)
    assert edit.started == edit.finished is not None


def test_an_edit_of_a_job_that_never_ran_belongs_to_its_history():
    job = make_job(workspace={"edited": 10})
    job.edit_workspace({"edited": 20})
    work_off()

    assert reload(job).workspace_before("tests.jobs.edit") == {"edited": 20}


def test_the_next_task_sees_the_edit():
    job = make_job(workspace={"edited": 10})
    job.edit_workspace({"edited": 20})

    work_off()

    assert reload(job).workspace == {"edited": 21}


@pytest.mark.parametrize("state", [State.PROCESSING, State.COMPLETED])
def test_a_job_that_runs_or_is_completed_is_not_edited(state):
    job = make_job(state, workspace={"a": 1})
    before = read_everything()

    assert job.edit_workspace({"a": 2}) is False

    assert read_everything() == before


@pytest.mark.parametrize(
    ("workspace", "message"),
    [
        ([1], "A workspace must be an object (a dict), not list."),
        (None, "A workspace must be an object (a dict), not NoneType."),
        ({"a": float("inf")}, "workspace['a'] is inf, which JSON does not have."),
        ({"a": "\0"}, "workspace['a'] holds a NUL character, which PostgreSQL cannot store."),
        ({1: 1}, "workspace has the key 1; keys must be strings."),
    ],
)
def test_a_bad_workspace_is_refused(workspace, message):
    job = make_job(workspace={"a": 1})
    before = read_everything()

    with pytest.raises(InvalidWorkspace) as raised:
        job.edit_workspace(workspace)

    assert str(raised.value) == message
    assert read_everything() == before


def test_a_worker_that_lost_the_job_cannot_write_over_an_edit():
    job = make_job(workspace={"a": 1})
    [claimed] = claim()
    record(make_result(claimed))
    job.requeue()
    job.edit_workspace({"a": 2})

    assert record(make_result(claimed, workspace='{"a":3}', changes="[]")) == []

    assert reload(job).workspace == {"a": 2}


def test_two_edits_keep_the_first_workspace_as_the_initial_one():
    job = make_job(workspace={"a": 1})
    job.edit_workspace({"a": 2})
    job.edit_workspace({"a": 3})

    fresh = reload(job)
    assert (fresh.workspace, fresh.initial_workspace) == ({"a": 3}, {"a": 1})

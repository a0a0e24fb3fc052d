"""The workspace as it stood before any task can be rebuilt, whatever happened to the job since."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dbq import history, transitions
from dbq.exceptions import InvalidJob
from dbq.models import Attempt, Job
from dbq.states import Outcome, State
from tests.helpers import (
    EXAMPLES,
    assert_state,
    claim,
    dialect,
    empty_tables,
    flush,
    make_job,
    make_worker,
    reload,
    run,
    script,
    start_engine,
    take_up,
    work_off,
)

TASKS = (
    "tests.jobs.follow_the_script",
    "tests.jobs.follow_the_script_again",
    "tests.jobs.follow_the_script_to_the_end",
)


def set_n(value):
    def step(job):
        job.workspace["n"] = value

    return step


def fail(job):
    job.workspace["n"] = -1
    raise ValueError("told to fail")


def test_the_workspace_before_each_task_can_be_rebuilt():
    job = make_job(name="scripted", workspace={"n": 0, "deep": {"a": [1, 2, 3]}})

    def dig(job):
        job.workspace["deep"]["a"][1] = {"x": "~/y"}

    with script(set_n(1), dig, set_n(3)):
        work_off()

    assert [job.workspace_before(task) for task in TASKS] == [
        {"n": 0, "deep": {"a": [1, 2, 3]}},
        {"n": 1, "deep": {"a": [1, 2, 3]}},
        {"n": 1, "deep": {"a": [1, {"x": "~/y"}, 3]}},
    ]


def test_the_workspace_after_each_attempt_can_be_rebuilt():
    job = make_job(name="scripted", workspace={"n": 0})
    with script(set_n(1), set_n(2), set_n(3)):
        work_off()

    fresh = reload(job)
    after = [history.rebuild_workspace_after(fresh, attempt) for attempt in job.attempts.all()]
    assert after == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_rebuilding_changes_nothing():
    job = make_job(name="scripted", workspace={"n": 0})
    with script(set_n(1), set_n(2), set_n(3)):
        work_off()
    fresh = reload(job)

    for task in TASKS:
        fresh.workspace_before(task)

    assert (fresh.workspace, fresh.initial_workspace) == ({"n": 3}, {"n": 0})
    assert (reload(job).workspace, reload(job).version) == ({"n": 3}, fresh.version)


def test_an_attempt_keeps_what_changed_as_a_patch():
    kept = {"text": "long enough that a patch is shorter than the workspace as a whole" * 3}
    job = make_job(name="scripted_once", workspace={**kept, "drop": 2, "list": [1, 2]})

    def change(job):
        del job.workspace["drop"]
        job.workspace["new"] = {"a": None}
        job.workspace["list"].append(3)

    with script(change):
        work_off()

    changes = Attempt.objects.get(job=job).changes
    assert {(change["op"], change["path"]) for change in changes} == {
        ("remove", "/drop"),
        ("add", "/new"),
        ("add", "/list/2"),
    }


def test_a_failed_attempts_changes_are_kept_and_do_not_count():
    job = make_job(name="scripted", workspace={"n": 0})
    with script(set_n(1), fail):
        work_off()

    assert job.attempts.last().discarded_changes == [{"op": "replace", "path": "/n", "value": -1}]
    assert reload(job).workspace_before(TASKS[1]) == {"n": 1}


def test_a_task_that_comes_next_but_has_not_run_sees_the_workspace_as_it_is():
    job = make_job(name="scripted", workspace={"n": 0})

    assert job.workspace_before(TASKS[0]) == {"n": 0}
    with pytest.raises(InvalidJob, match=f'Job {job.id} has never run the task "{TASKS[1]}".'):
        job.workspace_before(TASKS[1])


def test_an_edit_between_two_runs_counts():
    job = make_job(name="scripted", workspace={"n": 0})
    with script(set_n(1), fail):
        work_off()
    job.edit_workspace({"n": 50})
    job.retry()
    with script(set_n(60), set_n(70)):
        work_off()

    assert_state(job, State.COMPLETED)
    assert reload(job).workspace_before(TASKS[2]) == {"n": 60}


def test_a_job_can_be_deleted_while_nobody_looks_at_its_history():
    job = make_job(State.COMPLETED)
    attempt = Attempt.objects.get(job=job)
    job.delete()

    assert not Attempt.objects.filter(pk=attempt.pk).exists()


def test_changes_between_large_workspaces_are_kept_whole():
    job = make_job(name="scripted_once", workspace={"text": "a" * 150_000})

    def grow(job):
        job.workspace["text"] = "b" * 150_000

    with script(grow):
        work_off()

    [change] = Attempt.objects.get(job=job).changes
    assert (change["op"], change["path"]) == ("replace", "")
    assert reload(job).workspace_before("tests.jobs.follow_the_script") == {"text": "a" * 150_000}


# Everything that may happen to a job, in any order

Value = st.recursive(
    st.none()
    | st.integers(-5, 5)
    | st.sampled_from(["", "x", "~1/", "é", "0"])
    # Equal in Python, different in JSON.
    | st.sampled_from([0, False, 0.0, 1, True, 1.0]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "/", "~", "0", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
# With so much beside it, a change is kept as a patch and not as the whole workspace.
BULK = {"bulk": ["unchanged"] * 30}
Workspace = st.dictionaries(st.sampled_from(["a", "b", "c/d", "~e", "0", ""]), Value, max_size=4).map(
    lambda workspace: {**BULK, **workspace}
)
# A run: the workspaces it checkpoints, the one it leaves behind, and whether it then fails.
Run = st.tuples(st.lists(Workspace, max_size=2), Workspace, st.booleans())
Act = st.one_of(
    st.tuples(st.just("run"), Run),
    st.tuples(st.just("edit"), Workspace),
    st.tuples(st.sampled_from(["retry", "cancel", "requeue", "crash"]), st.none()),
    st.tuples(st.just("resume"), st.sampled_from(TASKS)),
)


class Model:
    """What a job's workspaces must be, kept without patches."""

    def __init__(self, initial: dict) -> None:
        self.initial = initial
        self.workspace = initial
        # Of this round: the task and the workspace before it, for each run that began.
        self.runs: list[tuple[str, dict]] = []
        # How many runs there were at each edit.
        self.edits: list[int] = []

    def find_last_runs_of(self, task: str) -> int | None:
        """The position of the first of them."""
        first = None
        for position, (name, _) in reversed(list(enumerate(self.runs))):
            if name == task:
                first = position
            elif first is not None:
                break
        return first

    def before_last_runs_of(self, task: str) -> dict | None:
        first = self.find_last_runs_of(task)
        return None if first is None else self.runs[first][1]


def perform(job: Job, model: Model, verb: str, detail: Any) -> None:
    fresh = reload(job)
    if verb == "run":
        perform_run(fresh, model, *detail)
    elif verb == "crash":
        perform_crash(fresh, model)
    elif verb == "edit":
        if fresh.edit_workspace(detail):
            model.workspace = detail
            model.edits.append(len(model.runs))
    elif verb == "resume":
        perform_resume(fresh, model, detail)
    elif verb == "requeue":
        if fresh.requeue():
            model.workspace, model.runs, model.edits = model.initial, [], []
    else:
        getattr(fresh, verb)()


def perform_resume(job: Job, model: Model, task: str) -> None:
    first = model.find_last_runs_of(task)
    if not job.is_finished or first is None:
        return
    if not any(edit > first for edit in model.edits):
        assert job.resume_from(task) is True
        model.workspace = model.runs[first][1]
        return
    # The edits since are made again; which of them fit is told in test_resume.
    try:
        expected = job.workspace_to_resume(task)
    except InvalidJob:
        with pytest.raises(InvalidJob):
            job.resume_from(task)
    else:
        assert job.resume_from(task) is True
        model.workspace = expected


def perform_run(job: Job, model: Model, checkpoints: list, left: dict, fails: bool) -> None:
    """One run of the next task; it yields at its end, because a second worker stops at once."""
    engine = start_engine()
    task_run = take_up(engine)
    if task_run is None:
        return
    model.runs.append((task_run.task, model.workspace))

    def act(job: Job) -> None:
        for workspace in checkpoints:
            job.workspace = copy.deepcopy(workspace)
            job.checkpoint()
        job.workspace = copy.deepcopy(left)
        if fails:
            raise ValueError("told to fail")

    with script(act):
        run(engine, task_run)
    engine.stop()
    flush(engine)
    if not fails:
        model.workspace = left
    elif checkpoints:
        model.workspace = checkpoints[-1]


def perform_crash(job: Job, model: Model) -> None:
    worker = make_worker()
    for claimed in claim(worker=worker):
        model.runs.append((claimed.next_task, model.workspace))
        transitions.rescue(dialect(), worker, "dbq.WorkerLost", "gone", running=[claimed.pk])


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(initial=Workspace, acts=st.lists(Act, min_size=4, max_size=14))
def test_any_course_of_events_can_be_rebuilt_from_the_history(initial, acts):
    empty_tables()
    job = Job.objects.create(name="scripted", workspace=initial)
    model = Model(initial)

    for verb, detail in acts:
        perform(job, model, verb, detail)
        fresh = reload(job)
        assert_same(fresh.workspace, model.workspace, f"after {verb} {detail}")
        for task in {name for name, _ in model.runs}:
            assert_same(fresh.workspace_before(task), model.before_last_runs_of(task), task)
        if fresh.initial_workspace is not None:
            assert_same(fresh.initial_workspace, initial, "initially")

    assert not Attempt.objects.filter(job=job, outcome=Outcome.RUNNING).exists()


def assert_same(workspace, expected, when):
    """As JSON, where 1 and true and 1.0 are three things."""
    texts = [json.dumps(each, sort_keys=True) for each in (workspace, expected)]
    assert texts[0] == texts[1], when

"""Every verb on a job of every state: it moves what it may, and changes nothing else."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from dbq import transitions
from dbq.exceptions import JobNotFinished
from dbq.models import Job
from dbq.states import Outcome, State
from tests.helpers import (
    claim,
    dialect,
    make_job,
    make_result,
    make_worker,
    promote,
    read_everything,
    record,
    reload,
)

N, R, P = State.NEW, State.READY, State.PROCESSING
C, F, X = State.COMPLETED, State.FAILED, State.CANCELLED
GONE = "gone"
TASK = "tests.jobs.edit"


def delete(job: Job) -> bool:
    try:
        return bool(job.delete()[0])
    except JobNotFinished:
        return False


def delete_old(job: Job) -> bool:
    return bool(Job.objects.delete_old(hours=0, queue_name="default"))


def on_all(verb: str) -> Callable[[Job], bool]:
    return lambda job: bool(getattr(Job.objects.filter(queue_name="default"), verb)())


def put_off(job: Job) -> bool:
    return job.reschedule(run_after=dialect().read_clock() + timedelta(hours=1))


def rescue(job: Job) -> bool:
    held = reload(job)
    worker = held.worker or make_worker()
    return bool(transitions.rescue(dialect(), worker, "dbq.WorkerLost", "gone"))


def end(outcome: Outcome) -> Callable[[Job], bool]:
    """A write that a worker makes with the fence it once had: only right while it holds the job."""

    def write(job: Job) -> bool:
        held = reload(job)
        if held.state != State.PROCESSING:
            held.fence -= 1
        return bool(record(make_result(held, outcome)))

    return write


# verb → what becomes of a job of each state; states left out refuse.
MATRIX: dict[str, tuple[Callable[[Job], bool], dict[str, str]]] = {
    "claim": (lambda job: bool(claim()), {N: P, R: P}),
    "complete": (end(Outcome.COMPLETED), {P: C}),
    "fail": (end(Outcome.FAILED), {P: F}),
    "back off": (end(Outcome.RETRIED), {P: R}),
    "release": (end(Outcome.RELEASED), {P: R}),
    "checkpoint": (end(Outcome.RUNNING), {P: P}),
    "honour a cancellation": (end(Outcome.CANCELLED), {P: X}),
    "rescue": (rescue, {P: R}),
    "promote": (lambda job: bool(promote()), {}),
    "cancel": (Job.cancel, {N: X, R: X, P: P}),
    "retry": (Job.retry, {F: R, X: R}),
    "requeue": (Job.requeue, {C: N, F: N, X: N}),
    "resume": (lambda job: job.resume_from(TASK), {C: R, F: R, X: R}),
    "edit": (lambda job: job.edit_workspace({"new": 1}), {N: N, R: R, F: F, X: X}),
    "put off": (put_off, {N: N, R: R}),
    "prefer": (lambda job: job.reschedule(priority=9), {N: N, R: R}),
    "move": (lambda job: job.reschedule(queue_name="other"), {N: N, R: R}),
    "delete": (delete, {C: GONE, F: GONE, X: GONE}),
    "delete old": (delete_old, {C: GONE, F: GONE, X: GONE}),
    "retry all": (on_all("retry"), {F: R, X: R}),
    "requeue all": (on_all("requeue"), {C: N, F: N, X: N}),
    "cancel all": (on_all("cancel"), {N: X, R: X, P: P}),
}
CASES = [(verb, state) for verb in MATRIX for state in State]


@pytest.mark.parametrize(("verb", "state"), CASES, ids=[f"{v} a {s} job" for v, s in CASES])
def test_a_verb_moves_what_it_may_and_nothing_else(verb, state):
    act, moves = MATRIX[verb]
    job = make_job(state)
    bystanders = [make_job(each, queue_name="apart", name="nothing") for each in (N, R)]
    before = read_everything()

    moved = act(job)

    if state in moves:
        assert moved is True
        left = Job.objects.filter(pk=job.pk).values_list("state", flat=True).first()
        assert left == (None if moves[state] is GONE else moves[state])
    else:
        assert moved is False
        after = read_everything()
        # A rescue of nothing made a worker to rescue from.
        for table in before.keys() - {"Worker"}:
            assert after[table] == before[table], f"{verb} was refused but changed {table}."
    for other in bystanders:
        assert reload(other).version == other.version, f"{verb} moved a job of another queue."


OPERATORS = {
    "cancel": (N, lambda job, version: job.cancel(version=version)),
    "ask to end": (P, lambda job, version: job.cancel(version=version)),
    "retry": (F, lambda job, version: job.retry(version=version)),
    "requeue": (C, lambda job, version: job.requeue(version=version)),
    "resume": (C, lambda job, version: job.resume_from(TASK, version=version)),
    "edit": (F, lambda job, version: job.edit_workspace({"n": 1}, version=version)),
    "prefer": (N, lambda job, version: job.reschedule(priority=1, version=version)),
}


@pytest.mark.parametrize("verb", OPERATORS)
def test_an_operator_who_saw_an_older_version_changes_nothing(verb):
    state, act = OPERATORS[verb]
    job = make_job(state)
    seen = reload(job).version
    Job.objects.filter(pk=job.pk).update(version=seen + 1)
    before = read_everything()

    assert act(job, seen) is False

    assert read_everything() == before


@pytest.mark.parametrize("verb", OPERATORS)
def test_an_operator_who_saw_the_current_version_is_obeyed(verb):
    state, act = OPERATORS[verb]
    job = make_job(state)

    assert act(job, reload(job).version) is True


@pytest.mark.parametrize("verb", OPERATORS.keys() - {"ask to end"})
def test_a_second_operator_with_the_same_version_is_refused(verb):
    state, act = OPERATORS[verb]
    job = make_job(state)
    seen = reload(job).version

    assert [act(job, seen), act(job, seen)] == [True, False]


@pytest.mark.parametrize("verb", OPERATORS)
def test_a_verb_on_a_job_that_is_gone_moves_nothing(verb):
    job = make_job(State.COMPLETED)
    job.delete()
    before = read_everything()
    _, act = OPERATORS[verb]

    assert act(job, None) is False

    assert read_everything() == before


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (Outcome.LOST, Outcome.EDITED)])
def test_the_end_of_a_run_of_a_job_that_is_gone_is_written_nowhere(outcome):
    held = reload(make_job(State.PROCESSING))
    Job.objects.all()._raw_delete("default")
    before = read_everything()

    assert record(make_result(held, outcome)) == []

    assert read_everything() == before

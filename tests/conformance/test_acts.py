"""Every act on a job in every situation, by the doors that need no browser: code and commands."""

from io import StringIO

import pytest
from django.core.management import call_command

from dbq import operations
from dbq.exceptions import JobNotFinished
from dbq.models import Job, Operation
from dbq.operations import Actor, act
from tests.acts import (
    CASES,
    IDS,
    IDS_ON_MANY,
    ON_MANY,
    OPTIONS,
    SITUATIONS,
    TABLE,
    assert_record,
    assert_row,
    is_refused,
)
from tests.helpers import let_time_pass, read_everything, reload

ALICE = Actor("1", "alice")


def call(verb: str, jobs, **options) -> bool:
    """A verb of a job or a queryset, as code calls it."""
    try:
        answer = getattr(jobs, verb)(**options)
    except JobNotFinished as refusal:
        assert "only finished jobs are deleted; cancel it first." in str(refusal)
        return False
    return bool(answer[0]) if isinstance(answer, tuple) else bool(answer)


@pytest.mark.parametrize(("verb", "situation"), CASES, ids=IDS)
def test_a_job_in_code(verb, situation):
    job = SITUATIONS[situation]()
    before = read_everything()

    assert call(verb, job, **OPTIONS.get(verb, {})) is not is_refused(verb, situation)

    assert_row(verb, situation, job, before)
    assert not Operation.objects.exists()


@pytest.mark.parametrize(("verb", "situation"), ON_MANY, ids=IDS_ON_MANY)
def test_a_query_in_code(verb, situation):
    job = SITUATIONS[situation]()
    before = read_everything()

    assert call(verb, Job.objects.filter(queue_name="default")) is not is_refused(verb, situation)

    assert_row(verb, situation, job, before)


@pytest.mark.parametrize(("verb", "situation"), CASES, ids=IDS)
def test_an_act_on_record(verb, situation):
    job = reload(SITUATIONS[situation]())
    before = read_everything()
    assert operations.can_act(verb, job) is not is_refused(verb, situation)
    assert operations.explain(verb, job) == (TABLE[verb][situation] if is_refused(verb, situation) else "")

    operation = act(ALICE, verb, job, version=job.version, reason="why not", **OPTIONS.get(verb, {}))

    assert_row(verb, situation, job, before)
    assert assert_record(verb, situation) == operation
    assert (operation.actor_name, operation.job_id, operation.reason) == ("alice", job.pk, "why not")


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_command_that_deletes_old_jobs(situation):
    job = SITUATIONS[situation]()
    let_time_pass(7200)
    before = read_everything()
    out = StringIO()

    call_command("delete_old_jobs", "--hours=1", stdout=out)

    amount = int(not is_refused("delete", situation))
    assert out.getvalue() == f"Deleted {amount} finished {'job' if amount else 'jobs'} older than 1 hours.\n"
    assert_row("delete", situation, job, before)
    assert (Operation.objects.get().verb, Operation.objects.get().done) == ("cleanup", amount)


def test_every_situation_has_its_answer():
    assert {verb: set(answers) for verb, answers in TABLE.items()} == {
        verb: set(SITUATIONS) for verb in TABLE
    }

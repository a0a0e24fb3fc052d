"""Creating jobs, as far as it does not take two connections; verbs are told in tests/conformance."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from dbq.definitions import get_definition
from dbq.exceptions import DbqError, DuplicateJob, InvalidJob, InvalidWorkspace, UnknownJobName
from dbq.identifiers import uuid7, uuid7_floor
from dbq.models import Job
from dbq.states import Lane, State
from tests.helpers import reload

pytestmark = pytest.mark.django_db


def test_a_new_job_takes_what_its_definition_says():
    job = Job.objects.create(name="elsewhere")

    fresh = reload(job)
    assert (fresh.queue_name, fresh.priority) == ("mail", 7)
    assert fresh.next_task == "tests.jobs.nothing"
    assert fresh.definition_hash == get_definition("elsewhere").hash
    assert fresh.definition == get_definition("elsewhere")


def test_a_new_job_is_new_and_claimable():
    before = timezone.now()
    job = Job.objects.create(name="nothing")

    fresh = reload(job)
    assert (fresh.state, fresh.lane, fresh.workspace) == (State.NEW, Lane.CLAIMABLE, {})
    assert (fresh.attempt, fresh.crash_count, fresh.fence, fresh.version) == (0, 0, 0, 0)
    assert (fresh.worker_id, fresh.started, fresh.finished, fresh.run_after) == (None,) * 4
    assert fresh.initial_workspace is None
    # An id knows a microsecond less.
    assert before - timedelta(microseconds=1) <= fresh.created <= fresh.enqueued <= timezone.now()
    assert fresh.is_waiting and not fresh.is_finished
    assert str(fresh) == f"nothing {fresh.pk}"


def test_what_is_given_wins_over_the_definition():
    job = Job.objects.create(name="elsewhere", queue_name="default", priority=0)

    assert (reload(job).queue_name, reload(job).priority) == ("default", 0)


def test_a_job_scheduled_for_later_waits():
    later = timezone.now() + timedelta(hours=1)

    job = Job.objects.create(name="nothing", run_after=later)

    assert (reload(job).lane, reload(job).run_after) == (Lane.WAITING, later)


def test_save_creates_as_create_does():
    job = Job(name="hooked", workspace={"a": 1})

    job.save()

    assert reload(job).workspace == {"a": 1, "created_by": "hooked"}
    assert reload(job).next_task == "tests.jobs.succeed"


def test_what_belongs_to_the_engine_cannot_be_given():
    job = Job.objects.create(name="nothing", state=State.COMPLETED, lane=Lane.FINISHED, next_task="os.system")

    fresh = reload(job)
    assert (fresh.state, fresh.lane) == (State.NEW, Lane.CLAIMABLE)
    assert fresh.next_task == "tests.jobs.nothing"


def test_a_job_that_exists_is_not_saved():
    job = Job.objects.create(name="nothing")
    job.priority = 9

    with pytest.raises(DbqError) as raised:
        job.save()

    assert str(raised.value) == (
        f"Job {job.id} exists: its row is changed by verbs (retry, requeue, cancel, reschedule,"
        " edit_workspace, and checkpoint within a task), not by save()."
    )
    assert reload(job).priority == 0


def test_a_job_that_was_read_is_not_saved_either():
    job = reload(Job.objects.create(name="nothing"))

    with pytest.raises(DbqError):
        job.save(update_fields=["state"])


REFUSED = [
    ({"name": "nowhere"}, UnknownJobName, '"nowhere" is not a job name in settings.JOBS.'),
    ({"name": ""}, UnknownJobName, '"" is not a job name in settings.JOBS.'),
    (
        {"queue_name": "a b"},
        InvalidJob,
        'A queue name must be 1 to 50 letters, digits, "_", ".", ":" or "-", not \'a b\'.',
    ),
    (
        {"queue_name": "x" * 51},
        InvalidJob,
        f'A queue name must be 1 to 50 letters, digits, "_", ".", ":" or "-", not \'{"x" * 51}\'.',
    ),
    (
        {"queue_name": 7},
        InvalidJob,
        'A queue name must be 1 to 50 letters, digits, "_", ".", ":" or "-", not 7.',
    ),
    (
        {"priority": 32_768},
        InvalidJob,
        "A priority must be a whole number from -32767 to 32767, not 32768.",
    ),
    (
        {"priority": "1"},
        InvalidJob,
        "A priority must be a whole number from -32767 to 32767, not '1'.",
    ),
    (
        {"priority": True},
        InvalidJob,
        "A priority must be a whole number from -32767 to 32767, not True.",
    ),
    (
        {"run_after": datetime(2030, 1, 1)},
        InvalidJob,
        "run_after must be a datetime with a time zone, not datetime.datetime(2030, 1, 1, 0, 0).",
    ),
    (
        {"run_after": "2030-01-01T00:00:00Z"},
        InvalidJob,
        "run_after must be a datetime with a time zone, not '2030-01-01T00:00:00Z'.",
    ),
    ({"run_after": 5}, InvalidJob, "run_after must be a datetime with a time zone, not 5."),
    ({"unique_key": ""}, InvalidJob, "A unique key must be a text of 1 to 200 characters, not ''."),
    ({"unique_key": 7}, InvalidJob, "A unique key must be a text of 1 to 200 characters, not 7."),
    (
        {"unique_key": "a\0"},
        InvalidJob,
        "A unique key must be a text of 1 to 200 characters, not 'a\\x00'.",
    ),
    (
        {"unique_key": "\ud800"},
        InvalidJob,
        "A unique key must be a text of 1 to 200 characters, not '\\ud800'.",
    ),
    (
        {"unique_key": "x" * 201},
        InvalidJob,
        f"A unique key must be a text of 1 to 200 characters, not '{'x' * 201}'.",
    ),
    ({"workspace": []}, InvalidWorkspace, "A workspace must be an object (a dict), not list."),
    (
        {"workspace": {"a": {1}}},
        InvalidWorkspace,
        "workspace['a'] is of type set, which JSON does not have.",
    ),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED)
def test_a_job_that_breaks_a_rule_is_refused(given, error, message):
    with pytest.raises(error) as raised:
        Job.objects.create(**{"name": "nothing", **given})

    assert str(raised.value) == message
    assert not Job.objects.exists()


@pytest.mark.parametrize(("given", "error", "message"), REFUSED)
def test_a_bulk_with_one_job_that_breaks_a_rule_is_refused(given, error, message):
    with pytest.raises(error) as raised:
        Job.objects.bulk_create([Job(name="nothing"), Job(**{"name": "nothing", **given})])

    assert str(raised.value) == message
    assert not Job.objects.exists()


def test_what_a_creation_hook_does_is_checked_too(settings):
    settings.JOBS = {"j": {"tasks": ["tests.jobs.nothing"], "creation_hook": "tests.dbq.test_job.spoil"}}

    with pytest.raises(InvalidWorkspace, match="workspace\\['bad'\\] is of type set"):
        Job.objects.create(name="j")


def spoil(job):
    job.workspace["bad"] = {1}


def test_a_creation_hook_may_schedule_and_move_its_job(settings):
    settings.JOBS = {"j": {"tasks": ["tests.jobs.nothing"], "creation_hook": "tests.dbq.test_job.put_off"}}

    fresh = reload(Job.objects.create(name="j"))

    assert (fresh.lane, fresh.queue_name, fresh.priority) == (Lane.WAITING, "later", -1)


def put_off(job):
    job.run_after = datetime(2100, 1, 1, tzinfo=UTC)
    job.queue_name = "later"
    job.priority = -1


@pytest.mark.parametrize("option", ["ignore_conflicts", "update_conflicts"])
def test_a_bulk_takes_no_conflict_options(option):
    with pytest.raises(ValueError) as raised:
        Job.objects.bulk_create([Job(name="nothing")], **{option: True})

    assert str(raised.value) == "Jobs are created or refused; bulk_create takes no conflict options."
    assert not Job.objects.exists()


def test_an_empty_bulk_creates_nothing():
    assert Job.objects.bulk_create([]) == []


def test_a_bulk_may_be_made_by_a_generator():
    made = Job.objects.bulk_create(Job(name="nothing") for _ in range(3))

    assert [job.pk for job in made] == list(Job.objects.order_by("pk").values_list("pk", flat=True))


def test_a_second_job_of_a_key_is_refused_and_names_the_first():
    first = Job.objects.create(name="nothing", unique_key="k")

    with pytest.raises(DuplicateJob) as raised, transaction.atomic():
        Job.objects.create(name="nothing", unique_key="k")

    assert str(raised.value) == f'An unfinished job holds the unique key "k" (job {first.pk}).'
    assert (raised.value.unique_key, raised.value.job_id) == ("k", first.pk)


def test_many_jobs_with_a_key_that_is_taken_are_refused_and_none_is_made():
    first = Job.objects.create(name="nothing", unique_key="k")

    with pytest.raises(DuplicateJob) as raised:
        Job.objects.bulk_create([Job(name="nothing", unique_key=key) for key in ("a", "k")])

    assert (raised.value.unique_key, raised.value.job_id) == ("k", first.pk)
    # The caller's transaction lives on.
    assert Job.objects.get() == first


def test_many_jobs_of_which_two_have_the_same_key_are_refused():
    jobs = [Job(name="nothing", unique_key=key) for key in ("a", "b", "a")]

    with pytest.raises(DuplicateJob) as raised:
        Job.objects.bulk_create(jobs)

    assert (raised.value.unique_key, raised.value.job_id) == ("a", jobs[0].pk)
    assert not Job.objects.exists()


def test_an_id_of_ones_own_makes_a_repeated_creation_harmless():
    mine = uuid7()

    assert Job.objects.create(name="nothing", id=mine).pk == mine


def test_a_job_was_created_when_its_id_was_made():
    jobs = Job.objects.bulk_create([Job(name="nothing") for _ in range(50)])
    old = Job.objects.create(name="nothing", id=uuid7_floor(datetime(2026, 1, 1, tzinfo=UTC)))

    assert reload(old).created == datetime(2026, 1, 1, tzinfo=UTC)
    assert [job.created for job in jobs] == sorted(job.created for job in jobs)
    assert timezone.now() - timedelta(minutes=1) < jobs[0].created <= timezone.now()


@pytest.mark.parametrize("wrong", [uuid4(), "7", 7, UUID(int=(1 << 128) - 1 - (8 << 76))])
def test_an_id_that_tells_no_time_is_refused(wrong):
    with pytest.raises(InvalidJob, match="must be a UUID of version 7"):
        Job.objects.create(name="nothing", id=wrong)

    assert not Job.objects.exists()


def test_a_job_whose_name_is_gone_has_no_definition(settings):
    job = Job.objects.create(name="nothing")
    settings.JOBS = {}

    assert reload(job).definition is None

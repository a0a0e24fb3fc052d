"""– → NEW: with the caller's transaction, under a key that one unfinished job may hold."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, transaction
from django.db.models.signals import post_save

from dbq import signals
from dbq.exceptions import DuplicateJob, InvalidJob
from dbq.models import Job
from dbq.states import Lane, State
from tests.helpers import assert_state, dialect, make_job, reload, work_off


def test_a_job_commits_with_the_transaction_it_was_created_in():
    with transaction.atomic():
        job = Job.objects.create(name="succeed")

    assert_state(job, State.NEW)


@pytest.mark.fault(48)
def test_a_job_is_gone_with_the_transaction_it_was_created_in():
    heard = []
    signals.job_created.connect(hear := lambda job, **_: heard.append(job))
    try:
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            Job.objects.create(name="succeed")
            1 / 0  # noqa: B018
    finally:
        signals.job_created.disconnect(hear)

    assert not Job.objects.exists()
    assert heard == []


def test_those_who_listen_hear_of_a_job_after_the_commit():
    heard = []
    signals.job_created.connect(hear := lambda job, **_: heard.append(job.pk))
    try:
        with transaction.atomic():
            job = Job.objects.create(name="succeed")
            assert heard == []
        assert heard == [job.pk]
        more = Job.objects.bulk_create([Job(name="succeed") for _ in range(2)])
        assert heard == [job.pk, *(each.pk for each in more)]
    finally:
        signals.job_created.disconnect(hear)


@pytest.mark.parametrize("column", ["priority", "queue_name", "workspace", "run_after", "unique_key"])
def test_what_is_given_is_kept(column):
    given = {
        "priority": -7,
        "queue_name": "Mail.v2:x-1_",
        "workspace": {"naïve": [1, 2.5, None, True, "\N{PARTY POPPER}"], "": {}},
        "run_after": dialect().read_clock() + timedelta(days=1),
        "unique_key": "order 1/2 \N{SNOWMAN}",
    }

    job = Job.objects.create(name="succeed", **{column: given[column]})

    assert getattr(reload(job), column) == given[column]


def test_bulk_creation_is_as_creation():
    alone = Job.objects.create(name="elsewhere", workspace={"a": 1})
    [together] = Job.objects.bulk_create([Job(name="elsewhere", workspace={"a": 1})])

    ignored = {"_state", "id", "created", "enqueued"}
    rows = [
        {key: value for key, value in vars(reload(job)).items() if key not in ignored}
        for job in (alone, together)
    ]
    assert rows[0] == rows[1]
    assert (reload(together).queue_name, reload(together).priority) == ("mail", 7)


def test_bulk_created_jobs_run_in_the_order_they_were_given():
    jobs = Job.objects.bulk_create([Job(name="nothing") for _ in range(20)])

    results = work_off()

    assert [result.job.pk for result in results] == [job.pk for job in jobs]


def test_thousands_are_created_in_few_statements(django_assert_max_num_queries):
    with django_assert_max_num_queries(100):
        Job.objects.bulk_create([Job(name="nothing") for _ in range(2000)])

    assert Job.objects.filter(lane=Lane.CLAIMABLE).count() == 2000


# Unique keys


def test_a_second_job_with_the_key_of_an_unfinished_one_is_refused():
    holder = make_job(unique_key="order 7")

    with pytest.raises(DuplicateJob) as raised:
        make_job(unique_key="order 7")

    assert str(raised.value) == f'An unfinished job holds the unique key "order 7" (job {holder.pk}).'
    assert raised.value.job_id == holder.pk
    assert Job.objects.count() == 1


def test_a_refused_key_does_not_break_the_transaction_around_it():
    make_job(unique_key="k")

    with transaction.atomic():
        with pytest.raises(DuplicateJob):
            make_job(unique_key="k")
        other = make_job(unique_key="l")

    assert_state(other, State.NEW)


@pytest.mark.parametrize("state", [State.NEW, State.READY, State.PROCESSING])
def test_an_unfinished_job_holds_its_key(state):
    make_job(state, unique_key="k")

    with pytest.raises(DuplicateJob):
        make_job(unique_key="k")


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED, State.CANCELLED])
def test_a_finished_job_holds_no_key(state):
    job = make_job(state, unique_key="k")

    assert reload(job).unique_key is None
    assert_state(make_job(unique_key="k"), State.NEW)


@pytest.mark.parametrize(
    ("first", "second"), [("key", "KEY"), ("key", "key "), ("key", " key"), ("cafe", "café"), ("ß", "ss")]
)
def test_keys_that_look_alike_are_different_keys(first, second):
    make_job(unique_key=first)

    assert_state(make_job(unique_key=second), State.NEW)


def test_a_key_taken_twice_in_one_bulk_creation_creates_nothing():
    with pytest.raises((IntegrityError, InvalidJob)), transaction.atomic():
        Job.objects.bulk_create([Job(name="nothing", unique_key="k") for _ in range(2)])

    assert not Job.objects.exists()


def test_the_longest_key_fits():
    key = "\N{PARTY POPPER}" * 200

    assert reload(make_job(unique_key=key)).unique_key == key


def test_a_primary_key_that_exists_is_not_called_a_duplicate_unique_key():
    taken = make_job()

    with pytest.raises(IntegrityError):
        Job.objects.create(name="nothing", id=taken.pk, unique_key="k")

    assert Job.objects.count() == 1


@pytest.mark.fault(21)
def test_the_hour_that_comes_twice_is_two_hours(settings):
    settings.TIME_ZONE = "America/New_York"
    zone = ZoneInfo("America/New_York")
    places = [datetime(2026, 11, 1, 1, 30, tzinfo=zone, fold=fold) for fold in (0, 1)]

    jobs = [reload(make_job(run_after=place)) for place in places]

    assert jobs[1].run_after - jobs[0].run_after == timedelta(hours=1)
    assert [job.run_after for job in jobs] == [place.astimezone(UTC) for place in places]


# Rows past Django's own way


FULL = {
    "name": "edit",
    "queue_name": "mail",
    "priority": -3,
    "unique_key": 'key "1" of 2%',
    "workspace": {"text": "Zoë's \\ % 🙂", "list": [1, 2.5, None, True]},
}


@contextmanager
def saving_by_django(alter=lambda job: None):
    """Somebody listens to what only Django's own `save` sends."""

    def hear(sender, instance, **_):
        alter(instance)

    post_save.connect(hear, sender=Job)
    try:
        yield
    finally:
        post_save.disconnect(hear, sender=Job)


def make_row(create=None, **fields):
    """A job's row, after which there is room for another one with its key."""
    [job] = create([Job(**fields)]) if create else [Job.objects.create(**fields)]
    [row] = Job.objects.filter(pk=job.pk).values()
    Job._base_manager.filter(pk=job.pk).delete()
    for name in ("id", "created", "enqueued"):
        assert row.pop(name) == getattr(job, name), name
    return row


@pytest.mark.parametrize("fields", [{"name": "edit"}, FULL], ids=["plain", "full"])
def test_every_way_to_make_a_job_makes_the_same_row(fields):
    later = datetime(2099, 1, 1, 12, 30, 0, 250_000, tzinfo=UTC)
    rows = []
    for run_after in (None, later):
        with saving_by_django():
            rows.append(make_row(run_after=run_after, **fields))
        rows.append(make_row(run_after=run_after, **fields))
        rows.append(make_row(Job.objects.bulk_create, run_after=run_after, **fields))

    assert rows[0] == rows[1] == rows[2]
    assert rows[3] == rows[4] == rows[5]
    assert rows[3]["run_after"] == later


def test_who_listens_to_saves_hears_of_them():
    heard = []
    with saving_by_django(heard.append):
        job = make_job()

    assert heard == [job]
    assert reload(job) == job


def test_a_created_job_knows_that_it_is_saved():
    job = make_job()
    assert (job._state.adding, job._state.db) == (False, "default")
    [other] = Job.objects.bulk_create([Job(name="edit")])
    assert (other._state.adding, other._state.db) == (False, "default")


def test_a_transaction_in_which_a_job_was_refused_cannot_go_on_unnoticed():
    job = make_job()
    with transaction.atomic():
        with pytest.raises(IntegrityError):
            Job.objects.create(name="edit", id=job.id)
        assert transaction.get_connection().needs_rollback
        transaction.set_rollback(True)

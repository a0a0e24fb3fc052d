"""Filters: what they find, what they refuse, and that they tell nothing about what is masked."""

from datetime import timedelta

import pytest
from django.db import connection
from django.http import QueryDict
from django.utils import timezone
from django.utils.http import urlencode

from dashboard.filters import JobFilter, parse_querystring
from dbq.masking import MASK
from dbq.models import Job
from dbq.states import Lane, State
from tests.helpers import claim, make_job, make_worker

pytestmark = pytest.mark.usefixtures("transactional_db")


def find(**filters):
    data = QueryDict(mutable=True)
    for name, value in filters.items():
        data.setlist(name, value if isinstance(value, list) else [value])
    job_filter = JobFilter(data)
    assert job_filter.is_valid(), job_filter.errors
    return set(job_filter.qs)


def make(**fields):
    return Job.objects.create(**{"name": "edit", **fields})


def update(job, **fields):
    Job.objects.filter(pk=job.pk).update(**fields)
    return job


def assert_refused(field, **filters):
    job_filter = JobFilter(QueryDict(urlencode(filters)))
    assert not job_filter.is_valid()
    assert field in job_filter.errors
    assert not job_filter.qs.exists()
    assert job_filter.criteria == []


def test_any_mix_of_states():
    new, failed, cancelled = make(), make_job(State.FAILED), make_job(State.CANCELLED)
    assert find(state=["FAILED", "CANCELLED"]) == {failed, cancelled}
    assert find(state=["NEW"]) == {new}
    assert find() == {new, failed, cancelled}


def test_by_queue_name_task_and_priority():
    mail = make(queue_name="mail", priority=5)
    other = make(name="two")
    assert find(queue="mail") == {mail}
    assert find(name="two") == {other}
    assert find(task="tests.jobs.succeed") == {other}
    assert find(task="succeed") == {other}
    assert find(priority_min="1") == {mail}
    assert find(priority_max="4") == {other}


def test_by_the_times_of_making_and_ending():
    old, new = make_job(State.FAILED), make_job(State.FAILED)
    then = timezone.now() - timedelta(days=2)
    update(old, created=then, finished=then)
    yesterday = (timezone.now() - timedelta(days=1)).isoformat()
    assert find(created_before=yesterday) == find(finished_before=yesterday) == {old}
    assert find(created_after=yesterday) == find(finished_after=yesterday) == {new}


def test_a_time_without_a_zone_is_in_the_projects(settings):
    settings.TIME_ZONE = "Asia/Kathmandu"
    job = update(make(), created="2026-01-01T10:00:00Z")
    assert find(created_after="2026-01-01T15:45") == {job}
    assert find(created_after="2026-01-01T15:46") == set()


def test_by_the_worker_that_runs_them():
    worker = make_worker(name="web-1:99")
    make(), make()
    [running] = claim(worker=worker)
    assert find(worker="web-1:99") == find(worker=str(worker.pk)) == {running}
    assert_refused("worker", worker="somebody else")


def test_by_error_and_its_text():
    failed = make_job(State.FAILED)
    make_job(State.CANCELLED)
    assert find(error_type="ValueError") == {failed}
    assert find(error="IS TOLD TO") == {failed}
    assert find(error="100%") == find(error="_") == set()


def test_by_what_stands_in_the_workspace():
    number = make(workspace={"customer": {"id": 42, "vip": True}, "items": [{"sku": "A"}]})
    text = make(workspace={"customer": {"id": "42"}, "in": {"startswith": "x"}})
    # MariaDB compares the text of both.
    both = {number, text} if connection.vendor == "mysql" else set()
    assert find(workspace="customer.id = 42") == {number} | both
    assert find(workspace='customer.id = "42"') == {text} | both
    assert find(workspace="customer.vip=true") == {number}
    assert find(workspace="items[0].sku = A") == {number}
    assert find(workspace="/customer/id = 42") == {number} | both
    # Keys that are words of Django's lookups are keys all the same.
    assert find(workspace="in.startswith = x") == {text}
    assert find(workspace="customer.id.gt = 1") == set()


def test_by_unique_key_id_and_group():
    held, failed = make(unique_key="order-1"), make_job(State.FAILED)
    assert find(unique_key="order-1") == {held}
    assert find(id=str(failed.pk)) == {failed}
    assert find(fingerprint=Job.objects.get(pk=failed.pk).fingerprint) == {failed}


@pytest.mark.parametrize("separator", [",", " ", ", ", "\r\n", ";"])
def test_by_several_ids_as_they_are_pasted(separator):
    first, second, _ = make(), make(), make()
    assert find(id=f" {first.pk}{separator}{str(second.pk).upper()}, ") == {first, second}


def test_by_one_id():
    job, other = make(), make()
    assert find(id=str(job.pk)) == {job}
    assert find(id=job.pk.hex) == {job}
    assert find(id=" , ") == {job, other}
    assert parse_querystring(f"id={job.pk}").criteria == [["id", "exact", str(job.pk)]]


def test_more_ids_than_an_address_holds_are_refused():
    assert_refused("id", id=",".join([make().pk.hex] * 101))


def test_half_an_id_among_others_is_named():
    job_filter = JobFilter(QueryDict(urlencode({"id": f"{make().pk},019c-b"})))
    assert job_filter.errors["id"] == ["“019c-b” is no id: write whole ones, with commas or spaces between."]


def test_due_or_scheduled():
    due, later = make(), make(run_after=timezone.now() + timedelta(hours=1))
    assert find(when="due") == {due}
    assert find(when="scheduled") == {later}


@pytest.mark.parametrize(
    "field",
    ["id", "state", "created_after", "priority_min", "when", "sort"],
)
def test_what_is_not_understood_shows_nothing_and_says_why(field):
    make()
    assert_refused(field, **{field: "🙂 nonsense"})


@pytest.mark.parametrize("value", ["x" * 10_000, "a\0b"])
def test_long_texts_and_nul_are_refused(value):
    assert_refused("queue", queue=value)


@pytest.mark.parametrize("value", ["no path", "=1", "a..b = 1", "a."])
def test_half_a_path_is_refused(value):
    assert_refused("workspace", workspace=value)


def test_an_order_that_no_index_serves_is_refused_with_what_to_narrow():
    assert_refused("sort", sort="priority")
    assert_refused("sort", sort="-finished", state="NEW")
    assert_refused("sort", sort="due", state="FAILED")


# Secrets


@pytest.mark.parametrize(
    "text",
    [
        "api_token = lovelace",
        "account.password = 1",
        "credentials.user = ada",
        "items[0].session_key = 1",
        "/account/password = x",
        "note = sk-abcdefghijklmnop",
        "url = https://ada:lovelace@example.org",
        "body = password=lovelace",
        f"note = {MASK}",
        "ghp_abcdefghijklmnopqrst = 1",
    ],
)
def test_what_is_masked_cannot_be_asked_for(text):
    assert_refused("workspace", workspace=text)


def test_a_secret_within_an_object_cannot_be_asked_for():
    assert_refused("workspace", workspace='account = {"password": "lovelace"}')


@pytest.mark.parametrize("field", ["error", "unique_key"])
def test_nor_in_errors_and_unique_keys(field):
    assert_refused(field, **{field: "password=lovelace"})


def test_other_lookups_and_columns_are_not_filters():
    job = make(workspace={"api_token": "lovelace"})
    for name in ("workspace__api_token__startswith", "workspace__icontains", "fence", "traceback", "o"):
        assert find(**{name: "zzz"}) == {job}


# As data


def test_the_query_string_says_the_same_to_somebody_else():
    make_job(State.FAILED)
    job_filter = JobFilter(QueryDict("state=FAILED&queue=default&after=x&sort=finished&junk=1&name="))
    assert job_filter.querystring == "state=FAILED&queue=default"
    again = parse_querystring(job_filter.querystring)
    assert again.criteria == job_filter.criteria
    assert set(again.qs) == set(job_filter.qs)


def test_finished_states_are_looked_up_in_their_lane():
    statement = str(JobFilter(QueryDict("state=FAILED")).qs.query)
    assert f'"lane" = {int(Lane.FINISHED)}' in statement or f"`lane` = {int(Lane.FINISHED)}" in statement

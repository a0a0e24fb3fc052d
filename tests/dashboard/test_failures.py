"""Failed jobs by kind."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.urls import reverse

from dashboard import paging, snapshots
from dashboard.queries import failures as queries
from dbq.models import Job
from dbq.states import State
from tests.dashboard.console import ask_for, log_in, make_finished, read, reading_at_most

LIST = reverse("dbq:failure-list")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client):
    return log_in(client, "retry_job", "requeue_job", "delete_job")


def fail(amount, fingerprint, error_type="ValueError", message="no", **fields):
    known = set(Job.objects.values_list("pk", flat=True))
    make_finished(amount, State.FAILED, **fields)
    jobs = Job.objects.exclude(pk__in=known)
    jobs.update(fingerprint=fingerprint, error_type=error_type, error_message=message)
    for hours, job in enumerate(jobs.order_by("-pk")):
        Job.objects.filter(pk=job.pk).update(finished=F("finished") - timedelta(hours=hours))


def test_failures_of_a_kind_are_one_group(operator):
    fail(3, "a" * 16, message="job 1 is told to fail", queue_name="mail")
    fail(2, "b" * 16, "KeyError", "'customer'")
    make_finished(4, State.COMPLETED)
    page = read(operator.get(LIST))
    assert "ValueError job 1 is told to fail in edit" in page
    assert "KeyError" in page
    assert "mail" in page
    assert "Made from 5 failed jobs, all of the period." in page


def test_groups_say_how_many_since_when_and_until_when():
    fail(5, "a" * 16)
    [group] = queries.find_failures("7d", "last").groups
    assert group.count == 5
    assert round((group.last_seen - group.first_seen) / timedelta(hours=1)) == 4
    assert sum(group.buckets) == 5
    assert group.example.pk == group.newest


def test_the_order_and_the_period_are_choices(operator):
    fail(1, "a" * 16, "Rare")
    fail(3, "b" * 16, "Often", hours=3)
    page = read(operator.get(LIST))
    assert page.index("Rare") < page.index("Often")
    page = read(operator.get(f"{LIST}?sort=count"))
    assert page.index("Often") < page.index("Rare")
    assert "Often" not in read(operator.get(f"{LIST}?period=1h"))
    assert "Rare" in read(operator.get(f"{LIST}?period=nonsense&sort=nonsense"))


def test_name_and_queue_narrow_it_down(operator):
    fail(1, "a" * 16, "InMail", queue_name="mail")
    fail(1, "b" * 16, "InTwo", name="two")
    assert "InTwo" not in read(operator.get(f"{LIST}?queue=mail"))
    assert "InMail" not in read(operator.get(f"{LIST}?name=two"))
    assert operator.get(f"{LIST}?queue=a%00b").status_code == 200


def test_only_the_newest_are_looked_at_and_the_page_says_so(operator, monkeypatch):
    monkeypatch.setattr(queries, "ROWS_MAX", 3)
    monkeypatch.setattr("dashboard.views.failures.ROWS_MAX", 3)
    fail(5, "a" * 16)
    assert "Made from the newest 3 failed jobs; there are older ones." in read(operator.get(LIST))


def test_a_queue_that_few_failures_are_of_is_searched_for_a_while_and_the_page_says_how_far(
    operator, monkeypatch
):
    monkeypatch.setattr(paging, "SEARCH_SECONDS", 0)
    monkeypatch.setattr(queries, "COSTLY_WINDOW", 2)
    fail(1, "a" * 16, "InMail", queue_name="mail")
    Job.objects.update(finished=F("finished") - timedelta(hours=9))
    fail(5, "b" * 16, "InDefault")
    page = read(operator.get(f"{LIST}?queue=mail"))
    assert "Nothing found so far" in page
    assert "Searched back to 20" in page
    assert "No failed job" not in page
    monkeypatch.setattr(paging, "SEARCH_SECONDS", 10)
    snapshots.forget()
    page = read(operator.get(f"{LIST}?queue=mail"))
    assert "InMail" in page
    assert "Searched back" not in page


def test_a_page_that_refreshes_itself_takes_groups_made_for_another(operator):
    fail(1, "a" * 16, "First")
    operator.get(LIST)
    fail(1, "b" * 16, "Second")
    assert "Second" not in read(operator.get(LIST, headers=ask_for("failures")))
    snapshots.forget()
    assert "Second" in read(operator.get(LIST, headers=ask_for("failures")))


def test_it_costs_three_statements(operator):
    for letter in "abcdef":
        fail(2, letter * 16)
    with reading_at_most(4):
        operator.get(LIST)
    with reading_at_most(2):
        operator.get(LIST, headers=ask_for("failures"))


def test_a_group_is_acted_on_by_whom_may(client):
    fail(1, "a" * 16)
    address = reverse("dbq:failure-act", args=["a" * 16])
    assert address not in log_in(client).get(LIST).content.decode()
    page = log_in(client, "retry_job", name="rita").get(LIST).content.decode()
    assert f'action="{address}"' in page
    assert 'value="retry"' in page
    assert 'value="delete"' not in page
    response = client.post(address, {"verb": "retry"})
    assert "goes on at the task that did not end" in read(response)
    assert Job.objects.get().state == State.FAILED


def test_no_failures_are_good_news(operator):
    assert "No failed job in this period." in read(operator.get(LIST))


def test_secrets_are_masked_and_hostile_texts_are_texts(operator):
    fail(1, "a" * 16, HOSTILE, f"{HOSTILE} password=lovelace")
    Job.objects.update(name=HOSTILE, next_task=HOSTILE)
    page = operator.get(f"{LIST}?name=&queue={HOSTILE}&period={HOSTILE}").content.decode()
    page += operator.get(LIST).content.decode()
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "lovelace" not in page


def test_failures_without_a_fingerprint_can_be_seen_and_not_acted_on(operator):
    fail(2, "")
    page = operator.get(LIST).content.decode()
    assert 'id="group-none"' in page
    assert "data-row-retry" not in page

"""The list of jobs: pages, filters, rows, and what it costs."""

import re
from datetime import timedelta
from urllib.parse import quote

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from dashboard import paging, snapshots
from dashboard.limits import TookTooLong
from dashboard.queries import jobs as queries
from dashboard.queries import live
from dashboard.queries.totals import count_states
from dbq.identifiers import uuid7_floor
from dbq.models import Job, Queue
from dbq.states import Lane, State
from tests.dashboard.console import ask_for, log_in, make_finished, read, reading_at_most
from tests.helpers import make_worker

LIST = reverse("dbq:job-list")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\u202e"

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client):
    return log_in(client, "retry_job", "requeue_job", "cancel_job", "delete_job")


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    monkeypatch.setattr(queries, "PAGE_SIZE", 5)
    monkeypatch.setattr(queries.JobSearch.__init__, "__kwdefaults__", {"size": 5, "columns": queries.LISTED})


def make(amount=1, **fields):
    jobs = [Job(**{"name": "edit", **fields}) for _ in range(amount)]
    return Job.objects.bulk_create(jobs)


def list_ids(response):
    return re.findall(r'id="job-([0-9a-f-]{36})"', response.content.decode())


def follow(client, response, word):
    match = re.search(rf'href="([^"]+)" rel="{word}"', response.content.decode())
    return client.get(match[1].replace("&amp;", "&")) if match else None


def walk(client, address, word="next"):
    """The ids of every page from an address on."""
    pages, response = [], client.get(address)
    while response is not None:
        pages.append(list_ids(response))
        response, last = follow(client, response, word), response
    return pages, last


# Pages


@pytest.mark.parametrize("query", ["", "?sort=created", "?queue=default&sort=priority", "?state=NEW"])
def test_pages_go_forth_and_back_without_a_gap_or_a_repeat(operator, query):
    for number, job in enumerate(make(23)):
        Job.objects.filter(pk=job.pk).update(priority=number % 3)
    forth, last = walk(operator, LIST + query)
    assert [len(page) for page in forth] == [5, 5, 5, 5, 3]
    ids = [pk for page in forth for pk in page]
    assert len(set(ids)) == 23
    back = [list_ids(last)]
    response = follow(operator, last, "prev")
    while response is not None:
        back.append(list_ids(response))
        response = follow(operator, response, "prev")
    assert back[::-1] == forth


@pytest.mark.parametrize("sort", ["-finished", "finished"])
def test_finished_jobs_of_several_states_are_merged_in_the_order_of_their_end(operator, sort):
    for hours, state in enumerate([State.FAILED, State.COMPLETED, State.CANCELLED] * 5):
        make_finished(1, state, hours)
    # Several at the same moment: their ids decide.
    Job.objects.filter(state=State.FAILED).update(finished=timezone.now())
    forth, _ = walk(operator, f"{LIST}?sort={sort}")
    order = ("-finished", "-pk") if sort == "-finished" else ("finished", "pk")
    expected = Job.objects.finished().order_by(*order).values_list("pk", flat=True)
    assert [pk for page in forth for pk in page] == [str(pk) for pk in expected]


TIMES = {"": 15, "&state=NEW&state=READY": 10, "&state=FAILED&sort=-created": 5}


@pytest.mark.parametrize("more", TIMES)
def test_jobs_of_a_time_come_in_the_order_of_their_making(operator, more):
    now = timezone.now()
    for hours in range(12):
        ids = [uuid7_floor(now - timedelta(hours=hours, minutes=minutes)) for minutes in (0, 1, 2)]
        failed, *_ = [Job.objects.create(name="edit", id=pk) for pk in ids]
        Job.objects.filter(pk=failed.pk).update(state=State.FAILED, lane=Lane.FINISHED, finished=now)
    times = {"created_after": now - timedelta(hours=6.5), "created_before": now - timedelta(hours=1.5)}
    address = f"{LIST}?{urlencode({name: time.isoformat() for name, time in times.items()})}{more}"

    ids = [pk for page in walk(operator, address)[0] for pk in page]

    expected = Job.objects.filter(created__gte=times["created_after"], created__lt=times["created_before"])
    if more:
        expected = expected.filter(state__in=re.findall("state=([A-Z]+)", more))
    assert ids == [str(pk) for pk in expected.order_by("-created").values_list("pk", flat=True)]
    assert len(ids) == TIMES[more]


def test_a_place_whose_job_is_gone_is_still_a_place(operator):
    jobs = make(8)
    second = follow(operator, operator.get(LIST), "next")
    assert len(list_ids(second)) == 3
    here = second.request["PATH_INFO"] + "?" + second.request["QUERY_STRING"]
    Job.objects.filter(pk=jobs[3].pk)._raw_delete("default")
    assert list_ids(operator.get(here)) == list_ids(second)


@pytest.mark.parametrize(
    "place",
    ["after=nonsense", "after=~", "before=2026", "page=1000000000", "after=" + "9" * 500, "after=a%00"],
)
def test_a_place_that_is_none_is_the_beginning(operator, place):
    make(3)
    response = operator.get(f"{LIST}?{place}")
    assert response.status_code == 200
    assert len(list_ids(response)) == 3


@pytest.mark.parametrize(
    "place",
    ["after=nonsense", "after=2026-13-01~x", "after=5~", "before=~~", "after=0001-01-01T00:00%2B23:00~x"],
)
def test_nor_in_another_order(operator, place):
    make_finished(2)
    assert len(list_ids(operator.get(f"{LIST}?sort=-finished&{place}"))) == 2


def test_a_filter_without_an_index_searches_window_by_window(operator, monkeypatch):
    monkeypatch.setattr(queries, "WINDOW", 4)
    wanted = make(3, queue_name="rare")
    make(30)
    assert list_ids(operator.get(f"{LIST}?queue=rare")) == [str(job.pk) for job in reversed(wanted)]


def test_a_search_that_takes_long_stops_says_so_and_goes_on_from_there(operator, monkeypatch):
    monkeypatch.setattr(queries, "WINDOW", 4)
    monkeypatch.setattr(paging, "SEARCH_SECONDS", 0)
    wanted = make(2, queue_name="rare")
    make(9)
    first = operator.get(f"{LIST}?queue=rare")
    assert list_ids(first) == []
    assert "Nothing found so far." in read(first)
    forth, _ = walk(operator, f"{LIST}?queue=rare")
    assert [pk for page in forth for pk in page] == [str(job.pk) for job in reversed(wanted)]


def test_legs_that_stop_early_leave_nothing_out(operator, monkeypatch):
    monkeypatch.setattr(queries, "WINDOW", 3)
    monkeypatch.setattr(paging, "SEARCH_SECONDS", 0)
    for hours, state in enumerate([State.FAILED, State.COMPLETED, State.COMPLETED, State.CANCELLED] * 5):
        make_finished(1, state, hours, queue_name="rare" if hours % 3 else "default")
    forth, _ = walk(operator, f"{LIST}?sort=-finished&queue=rare")
    expected = Job.objects.filter(queue_name="rare").order_by("-finished").values_list("pk", flat=True)
    assert [pk for page in forth for pk in page] == [str(pk) for pk in expected]


@pytest.mark.parametrize("when", ["due", "scheduled"])
@pytest.mark.parametrize("states", ["state=FAILED", "state=PROCESSING&state=COMPLETED"])
def test_filters_that_no_job_can_meet_are_answered_without_a_search(operator, states, when):
    make(2)
    make_finished(2, State.FAILED)
    with CaptureQueriesContext(connection) as statements:
        page = operator.get(f"{LIST}?{states}&when={when}")
        count = operator.get(f"{LIST}?{states}&when={when}&part=count")
    assert list_ids(page) == []
    assert "No job matches" in read(page) and "of 0 that match" in read(count)
    assert not [sql["sql"] for sql in statements if "dbq_job" in sql["sql"]]


@pytest.mark.parametrize("asked", ["sort=priority&queue=default&when=scheduled", "sort=due&when=due"])
def test_an_order_that_what_is_asked_for_does_not_have_is_refused(operator, asked):
    make(2)
    page = operator.get(f"{LIST}?{asked}")
    assert "has no turn yet" in read(page)


@pytest.mark.parametrize("state", ["NEW", "READY"])
def test_what_is_scheduled_can_be_narrowed_by_its_state(operator, monkeypatch, state):
    monkeypatch.setattr(queries, "WINDOW", 4)
    scheduled = make(9, run_after=timezone.now() + timedelta(hours=1))
    backing_off = [job.pk for job in scheduled[::2]]
    Job.objects.filter(pk__in=backing_off).update(state=State.READY)
    forth, _ = walk(operator, f"{LIST}?state={state}&when=scheduled")
    expected = Job.objects.filter(state=state).values_list("pk", flat=True)
    assert {pk for page in forth for pk in page} == {str(pk) for pk in expected}


def test_a_search_the_database_stops_is_a_sentence_and_no_error(operator, monkeypatch):
    def stop(*_, **__):
        raise TookTooLong

    monkeypatch.setattr(queries, "find_page", stop)
    response = operator.get(LIST)
    assert response.status_code == 503
    assert "Narrow the filter" in read(response)


def test_the_number_is_exact_when_all_are_shown_and_bounded_otherwise(operator, monkeypatch):
    make(3)
    assert "3 jobs" in read(operator.get(LIST))
    make(9)
    page = operator.get(LIST)
    assert "5 shown" in read(page)
    assert "of 12 that match" in read(operator.get(f"{LIST}?part=count"))
    monkeypatch.setattr(queries, "COUNT_MAX", 10)
    assert "of 10+ that match" in read(operator.get(f"{LIST}?part=count"))


# What it costs


def test_a_page_costs_the_same_however_many_rows_it_has(operator, monkeypatch):
    monkeypatch.setattr(queries.JobSearch.__init__, "__kwdefaults__", {"size": 50, "columns": queries.LISTED})
    for name in ("edit", "two", "fail_at_the_end"):
        make(20, name=name, workspace={"a": 1})
    make_finished(20, State.FAILED)
    Queue(name="default", paused_at=timezone.now()).save()
    make_worker(queue_names=["default"])
    # Once in ten seconds, for all who look.
    with reading_at_most(3):
        count_states()
    with reading_at_most(6):
        operator.get(LIST)
    with reading_at_most(3):
        operator.get(LIST, headers=ask_for("jobs"))


def test_workspaces_and_tracebacks_are_not_read(operator, django_assert_max_num_queries):
    make_finished(3, State.FAILED)
    count_states()
    with django_assert_max_num_queries(20) as captured:
        operator.get(LIST)
    statements = " ".join(query["sql"] for query in captured.captured_queries)
    assert "workspace" not in statements
    assert "traceback" not in statements
    assert "COUNT(" not in statements.upper()
    assert "dbq_attempt" not in statements


# Rows


def test_a_row_says_what_matters(operator):
    make_worker(queue_names=["default"])
    [job] = make(name="fail_at_the_end")
    Job.objects.filter(pk=job.pk).update(
        next_task="tests.jobs.fail", progress={"done": 3, "total": 10, "note": "row 3"}
    )
    page = read(operator.get(LIST))
    assert "fail_at_the_end" in page
    assert "2 of 2 edit fail" in page
    assert "row 3" in page
    assert str(job.pk)[-8:] in page


def test_a_row_says_in_two_words_why_it_does_not_run(operator):
    make(queue_name="mail")
    make(queue_name="nobody")
    make(run_after=timezone.now() + timedelta(minutes=5, seconds=30))
    [unknown] = make()
    Job.objects.filter(pk=unknown.pk).update(name="gone")
    Queue(name="mail", paused_at=timezone.now(), paused_by="ada", paused_reason="rain").save()
    page = operator.get(LIST)
    for words in ("queue paused", "no live worker", "due in 5 min", "not in settings.JOBS"):
        assert words in read(page)
    assert 'title="The queue &quot;mail&quot; was paused by ada' in page.content.decode()


def test_a_row_that_is_late_says_how_long_it_waits(operator):
    make_worker(queue_names=["default", "mail"])
    fresh, late, forgotten = make(3)
    for job, minutes in ((fresh, 4), (late, 12), (forgotten, 125)):
        Job.objects.filter(pk=job.pk).update(enqueued=timezone.now() - timedelta(minutes=minutes, seconds=1))
    page = operator.get(LIST)
    levels = dict(
        re.findall(r'data-level="(\w+)" title="It has waited[^"]+">([^<]+)<', page.content.decode())
    )
    assert levels == {"warning": "waits 12 min", "alarm": "waits 2 h"}
    # A reason of its own says more.
    Queue(name="default", paused_at=timezone.now()).save()
    assert "waits 12 min" not in read(operator.get(LIST))


def test_buttons_are_there_for_whom_they_work(client):
    make_finished(1, State.FAILED)
    page = log_in(client).get(LIST).content.decode()
    assert 'name="verb"' not in page
    assert "data-row-retry" not in page
    assert "data-tick" not in page.replace("data-tick-count", "")
    client.logout()
    page = log_in(client, "retry_job", name="rita").get(LIST).content.decode()
    assert 'value="retry"' in page
    assert 'value="delete"' not in page
    assert "data-row-retry" in page


def test_a_rows_retry_says_its_effect_first_and_refuses_what_changed_since(operator):
    make_finished(1, State.FAILED)
    job = Job.objects.get()
    address = reverse("dbq:job-retry", args=[job.pk])
    assert f'href="{address}?next={quote(LIST, safe="")}"' in operator.get(LIST).content.decode()
    confirmation = operator.get(address, {"next": LIST})
    assert "with the workspace of its last checkpoint" in read(confirmation)
    assert Job.objects.get().state == State.FAILED
    Job.objects.update(version=F("version") + 1)
    response = operator.post(address, {"version": job.version, "next": LIST}, follow=True)
    assert response.redirect_chain == [(LIST, 302)]
    assert "Nothing was done." in read(response)
    assert Job.objects.get().state == State.FAILED


def test_ticks_and_all_that_match_go_to_the_bulk_act(operator):
    make(2, queue_name="mail")
    page = operator.get(f"{LIST}?queue=mail&state=NEW&after=x").content.decode()
    assert f'action="{reverse("dbq:jobs-act")}"' in page
    assert page.count('name="ids"') == 2
    assert '<input type="hidden" name="filters" value="state=NEW&amp;queue=mail">' in page


# Addresses and fragments


def test_each_mix_of_states_says_how_many_there_are(operator, monkeypatch):
    make(3)
    make(2, run_after=timezone.now() + timedelta(hours=1))
    make_finished(4, State.FAILED)
    totals = "All 9 Waiting 5 Processing 0 Failed 4 Completed 0 Cancelled 0"
    for address in (LIST, f"{LIST}?state=FAILED", f"{LIST}?sort=created"):
        assert totals in read(operator.get(address))
    make(4)
    assert totals in read(operator.get(LIST, headers=ask_for("jobs")))
    snapshots.forget()
    monkeypatch.setattr(live, "COUNT_LIMIT", 6)
    monkeypatch.setattr(live, "LOOKED_AT", 5)
    assert "All 12+ Waiting 8+ Processing 0" in read(operator.get(LIST))


@pytest.mark.parametrize("query", ["name=edit", "queue=default&state=NEW", "when=due", "id=abc"])
def test_numbers_that_another_filter_makes_wrong_are_left_out(operator, query):
    make(3)
    assert "All Waiting Processing Failed" in read(operator.get(f"{LIST}?{query}"))


def test_numbers_that_take_too_long_are_left_out(operator, monkeypatch):
    def stop():
        raise TookTooLong

    monkeypatch.setattr("dashboard.views.jobs.count_states", stop)
    make(3)
    page = operator.get(LIST)
    assert "All Waiting Processing Failed" in read(page)
    assert len(list_ids(page)) == 3


def test_empty_fields_leave_the_address(operator):
    response = operator.get(f"{LIST}?state=FAILED&queue=&name=&sort=created")
    assert response.status_code == 302
    assert response["Location"] == f"{LIST}?state=FAILED&sort=created"


def test_htmx_gets_the_table_alone_and_the_address_it_stands_for(operator):
    make(1)
    headers = {**ask_for("jobs"), "HX-Trigger": "job-filter"}
    response = operator.get(f"{LIST}?queue=default&name=", headers=headers)
    assert response.content.decode().lstrip().startswith('<section id="jobs"')
    assert response["HX-Push-Url"] == f"{LIST}?queue=default"
    assert "HX-Push-Url" not in operator.get(LIST, headers=ask_for("jobs"))


def test_filters_that_are_set_can_be_taken_off_one_by_one(operator):
    make(1)
    page = operator.get(f"{LIST}?queue=default&name=edit").content.decode()
    assert f'href="{LIST}?name=edit"' in page
    assert f'href="{LIST}?queue=default"' in page


def test_states_without_jobs_are_designed(operator):
    assert "There are no jobs yet." in read(operator.get(LIST))
    assert "No job matches." in read(operator.get(f"{LIST}?name=nothing"))
    page = read(operator.get(f"{LIST}?id=abc"))
    assert "These filters are not understood." in page
    assert "“abc” is no id" in page


# Attacks


def test_hostile_texts_are_texts(operator):
    make_finished(1, State.FAILED)
    Job.objects.update(
        name=HOSTILE[:100],
        queue_name=HOSTILE[:50],
        next_task=HOSTILE,
        error_type=HOSTILE,
        error_message=HOSTILE,
        progress={"done": 1, "total": 2, "note": HOSTILE},
    )
    for address in (LIST, f"{LIST}?name={HOSTILE}&error={HOSTILE}&sort={HOSTILE}&after={HOSTILE}"):
        page = operator.get(address).content.decode()
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "{{7*7}}" in page


@pytest.mark.parametrize("name", ["queue", "after", "sort", "next", "part"])
def test_line_breaks_do_not_reach_the_head_of_the_answer(operator, name):
    response = operator.get(f"{LIST}?{name}=a%0d%0aSet-Cookie:x=1&queue=", headers=ask_for("jobs"))
    assert "Set-Cookie" not in response.headers
    assert all("\n" not in value for value in response.headers.values())


def test_secrets_are_masked_in_rows(operator):
    make_finished(1, State.FAILED)
    Job.objects.update(
        error_message="login failed: password=lovelace",
        progress={"done": 1, "total": 2, "note": "token=lovelace"},
    )
    assert "lovelace" not in operator.get(LIST).content.decode()


def test_a_masked_part_of_an_error_cannot_be_guessed(operator):
    """As when the words that are secret were extended after the error was kept."""
    make_finished(1, State.FAILED)
    Job.objects.update(error_message="login failed: password=lovelace")
    for guess in ("love", "lovelace", "ovela"):
        response = operator.get(f"{LIST}?error={guess}")
        assert list_ids(response) == []
        assert "not counted" in read(operator.get(f"{LIST}?error={guess}&part=count"))
    assert len(list_ids(operator.get(f"{LIST}?error=login"))) == 1


@pytest.mark.parametrize(
    "query",
    [
        "state=NEW&" * 200,
        "name=" + "x" * 10_000,
        "error=%25%25%25_",
        "error=(a%2B)%2B%24",
        "workspace=" + "a." * 90 + "a=1",
        "state=COMPLETED&lane=3&fence=9",
        "priority_min=999999999999999999999999",
        "created_after=9999999-01-01",
        "created_after=0001-01-01T00:00%2B23:00",
        "sort=workspace",
    ],
)
def test_strange_questions_get_an_answer(operator, query):
    make(2)
    assert operator.get(f"{LIST}?{query}").status_code == 200
    assert Job.objects.filter(lane=Lane.CLAIMABLE, state=State.NEW).count() == 2

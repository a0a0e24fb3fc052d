"""Acting on many jobs in a real browser: ask, confirm, watch, stop, read what became of each."""

import re

import pytest
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import expect

from dbq import bulk
from dbq.models import Job, Operation
from dbq.operations import Actor, act
from dbq.states import Lane, State
from tests.browser.conftest import check_accessibility
from tests.helpers import dialect, make_worker

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
ALICE = Actor("77", "alice")
FAILED = [["state", "in", ["FAILED"]]]
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'


def make_finished(amount, state=State.FAILED, **fields):
    jobs = [Job(name="edit", **fields) for _ in range(amount)]
    Job.objects.bulk_create(jobs)
    now = dialect().read_clock()
    ended = Job.objects.filter(pk__in=[job.pk for job in jobs])
    ended.update(state=state, lane=Lane.FINISHED, started=now, finished=now)
    return jobs


def open_operation(page, live_server, operation):
    page.goto(live_server.url + reverse("dbq:operation-detail", args=[operation.pk]))


def tick(page):
    """Let the page's clock tick, and wait for what it fetched."""
    with page.expect_response(lambda response: "hx-request" in response.request.headers):
        page.evaluate("() => document.body.dispatchEvent(new CustomEvent('dbq:tick'))")
    page.wait_for_load_state("networkidle")


@pytest.fixture
def started(transactional_db):
    """A retry of more jobs than one chunk, with a worker that is said to live."""
    make_worker()
    make_finished(450)
    return bulk.start(ALICE, bulk.propose("retry", FAILED), reason="The disk has space again")


def test_an_operation_is_watched_stopped_half_way_and_read(console, live_server, started):
    open_operation(console, live_server, started)
    expect(console.get_by_text("0 of 450", exact=True)).to_be_visible()
    bulk.run_chunk("default")
    tick(console)
    expect(console.get_by_text("200 of 450")).to_be_visible()
    console.get_by_label("Why stop it").fill("the wrong queue")
    console.get_by_role("button", name="Stop").click()
    expect(console.get_by_text("Stopped by olga. the wrong queue")).to_be_visible()
    assert bulk.run_chunk("default") is None
    assert Job.objects.filter(state="READY").count() == 200
    expect(console.locator("#items tbody tr")).to_have_count(50)


def test_a_reason_being_typed_survives_the_refresh(console, live_server, started):
    open_operation(console, live_server, started)
    field = console.get_by_label("Why stop it")
    field.fill("half a sen")
    bulk.run_chunk("default")
    tick(console)
    # Nothing moves under the hands of who types; afterwards it goes on.
    expect(console.get_by_text("0 of 450", exact=True)).to_be_visible()
    field.blur()
    tick(console)
    expect(console.get_by_text("200 of 450")).to_be_visible()
    expect(field).to_have_value("half a sen")


def test_without_a_worker_the_page_carries_it_out(console, live_server, transactional_db):
    make_finished(300)
    operation = bulk.start(ALICE, bulk.propose("retry", FAILED))
    open_operation(console, live_server, operation)
    expect(console.get_by_text("No worker lives that would carry this out")).to_be_visible()
    console.get_by_role("button", name="Do the next part here").click()
    expect(console.get_by_role("heading", name="Done")).to_be_visible()
    assert Job.objects.filter(state="READY").count() == 300


def test_a_group_of_failures_is_retried_from_its_page(console, live_server, transactional_db):
    jobs = make_finished(3)
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(
        fingerprint="0123456789abcdef", error_type="ValueError", error_message="no such row"
    )
    console.goto(live_server.url + reverse("dbq:failure-list"))
    console.get_by_role("button", name=re.compile("^Retry")).first.click()
    expect(console.get_by_role("heading", name="Retry: 3 jobs")).to_be_visible()
    console.get_by_label("Why (kept with the record)").fill("the row is back")
    console.get_by_role("button", name="Retry 3 jobs").click()
    expect(console.get_by_text("Retried 3 jobs.")).to_be_visible()
    assert Operation.objects.get().reason == "the row is back"


@pytest.mark.parametrize("scripts", [True, False], ids=["with-scripts", "without-scripts"])
def test_all_that_match_are_acted_on_from_the_job_list(browser, live_server, transactional_db, scripts):
    make_finished(3, queue_name="mail")
    make_finished(2)
    context = browser.new_context(java_script_enabled=scripts)
    page = log_in(context, live_server)
    page.goto(live_server.url + reverse("dbq:job-list") + "?state=FAILED&queue=mail")
    page.locator("details:has(input[name=all]) > summary").click()
    page.locator("form:has(input[name=all])").get_by_role("button", name="Retry").click()
    expect(page.get_by_role("heading", name="Retry: 3 jobs")).to_be_visible()
    page.get_by_role("button", name="Retry 3 jobs").click()
    expect(page.get_by_role("heading", name="Retried")).to_be_visible()
    assert Job.objects.filter(state="READY").count() == 3
    context.close()


def log_in(context, live_server):
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("otto"))
    cookie = client.cookies["sessionid"].value
    context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
    return context.new_page()


# What it looks like


@pytest.fixture
def pages(transactional_db, started):
    """The addresses of every page about operations, with something on each."""
    [job] = make_finished(1)
    act(ALICE, "retry", job, reason=HOSTILE)
    refused = act(Actor("78", "bob"), "retry", job)
    act(ALICE, "pause_queue", "mail", reason="The provider is down; see OPS-4411")
    completed = make_finished(2, State.COMPLETED)
    mixed = bulk.start(ALICE, bulk.propose("retry", ids=[job.pk for job in completed]))
    return {
        "list": reverse("dbq:operation-list"),
        "running": reverse("dbq:operation-detail", args=[started.pk]),
        "mixed": reverse("dbq:operation-detail", args=[mixed.pk]),
        "refused": reverse("dbq:operation-detail", args=[refused.pk]),
        "empty": reverse("dbq:operation-list") + "?verb=create",
    }


@pytest.mark.parametrize("name", ["list", "running", "mixed", "refused", "empty"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_pages_are_accessible_and_fit(console, live_server, pages, name, theme, width):
    console.set_viewport_size({"width": width, "height": 800})
    console.emulate_media(color_scheme=theme)
    console.goto(live_server.url + pages[name])
    check_accessibility(console)
    assert console.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    assert console.locator("img").count() == 0


@pytest.mark.parametrize("width", [360, 1280])
def test_the_confirmation_is_accessible_and_fits(console, live_server, transactional_db, width):
    [job] = make_finished(1)
    make_finished(3, State.COMPLETED)
    Job.objects.filter(pk=job.pk).update(fingerprint="0123456789abcdef", error_type=HOSTILE)
    console.set_viewport_size({"width": width, "height": 800})
    console.goto(live_server.url + reverse("dbq:failure-list"))
    console.get_by_role("button", name=re.compile("^Delete")).first.click()
    expect(console.get_by_role("heading", name="Delete: 1 job")).to_be_visible()
    check_accessibility(console)
    assert console.evaluate("() => document.documentElement.scrollWidth <= innerWidth")

"""Jobs, one job and failures in a real browser: the operator's journeys, the keyboard, the looks."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from dbq import operations
from dbq.models import Attempt, Job, Operation
from dbq.operations import Actor
from dbq.states import State
from tests import jobs as sample
from tests.browser.conftest import check_accessibility
from tests.helpers import assert_state, make_job, make_worker, reload, work_off

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-alert(1)-'",
    "javascript:alert(1)",
    "{{7*7}}{% now 'Y' %}",
    "</script><!--",
    "\u202egnp.exe",
    "<a hx-get=/admin/ hx-trigger=load hx-on::load=alert(1)>",
    "</textarea><svg onload=alert(1)>",
    "</title><script>alert(1)</script>",
]

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def visit(console: Page, live_server):
    """Open a page of the console, by the name of its address."""

    def open_page(name: str, *arguments, query: str = "") -> Page:
        console.goto(live_server.url + reverse(f"dbq:{name}", args=arguments) + query)
        return console

    return open_page


def make_broken(amount: int = 1) -> list[Job]:
    """Jobs of three tasks whose second finds a wrong number in the workspace."""

    def check(job):
        if job.workspace["rows"] <= 0:
            raise ValueError("rows must be above 0")

    def write(job):
        job.workspace["written"] = True

    sample.script[:] = [write, check] * amount
    jobs = [
        Job.objects.create(name="scripted", workspace={"rows": 0, "api_token": "lovelace"})
        for _ in range(amount)
    ]
    work_off()
    sample.script[:] = [check, write]
    return [reload(job) for job in jobs]


def set_live(page: Page, seconds: str) -> None:
    page.locator("[data-live-seconds]").select_option(seconds)


# Journeys


def test_the_failed_job_is_found_understood_edited_retried_and_watched(visit):
    [job] = make_broken()
    make_job(State.COMPLETED)
    page = visit("job-list")
    page.get_by_role("navigation", name="States").get_by_role("link", name="Failed").click()
    expect(page.locator("[data-row]")).to_have_count(1)
    page.get_by_role("link", name=re.compile("^scripted")).click()
    expect(page.locator("#traceback")).to_contain_text("rows must be above 0")
    expect(page.locator("#job-reason")).to_contain_text("failed")
    assert "lovelace" not in page.content()
    page.get_by_role("link", name="Edit", exact=True).click()
    editor = page.get_by_label("Workspace as JSON")
    editor.fill(editor.input_value().replace('"rows": 0', '"rows": }'))
    page.get_by_role("button", name="Save the workspace").click()
    expect(page.get_by_role("alert")).to_contain_text("line 2, column 11")
    editor.fill(editor.input_value().replace('"rows": }', '"rows": 5'))
    page.get_by_label("Reason").fill("a wrong number")
    page.get_by_role("button", name="Save the workspace").click()
    expect(page.get_by_text("Workspace edited")).not_to_have_count(0)
    page.locator("summary", has_text="Retry").click()
    expect(page.locator("#act-retry .act-effect")).to_contain_text("Runs follow_the_script_again")
    page.get_by_role("button", name="Retry scripted").click()
    expect(page.locator("#messages")).to_contain_text("Retried: scripted.")
    set_live(page, "2")
    page.locator("h1").click()
    work_off()
    assert_state(job, State.COMPLETED)
    expect(page.locator("h1")).to_contain_text("Completed", timeout=10_000)
    assert reload(job).workspace["api_token"] == "lovelace"
    expect(page.locator("#timeline")).to_contain_text("“a wrong number”")


def test_a_job_is_resumed_from_a_task_that_ended_well(visit):
    [job] = make_broken()
    page = visit("job-detail", job.pk)
    page.locator("summary", has_text="Resume from").click()
    page.get_by_role("link", name="Choose the task…").click()
    page.get_by_label(job.definition.tasks[0], exact=True).check()
    expect(page.locator(".resume-option").first).to_contain_text("written")
    page.get_by_role("button", name="Resume at this task").click()
    expect(page.locator("#messages")).to_contain_text("Resumed: scripted.")
    assert "written" not in reload(job).workspace


def test_filters_narrow_the_list_without_loading_the_page_again(visit):
    make_broken()
    Job.objects.create(name="edit", queue_name="mail")
    page = visit("job-list")
    page.evaluate("document.body.dataset.kept = 'yes'")
    page.get_by_label("Queue", exact=True).fill("mail")
    page.get_by_label("Queue", exact=True).press("Tab")
    expect(page.locator("[data-row]")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/jobs/\?queue=mail$"))
    assert page.evaluate("document.body.dataset.kept") == "yes"
    page.get_by_title("Take this filter off").click()
    expect(page.locator("[data-row]")).to_have_count(2)
    page.get_by_label("Workspace").fill("api_token = lovelace")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("#jobs")).to_contain_text("What is masked cannot be searched for.")


def test_with_the_keyboard_alone_a_row_is_found_ticked_opened_and_retried(visit):
    jobs = make_broken(2)
    page = visit("job-list")
    page.keyboard.press("/")
    expect(page.get_by_label("Text in the error")).to_be_focused()
    page.keyboard.type("above")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("error=above"))
    expect(page.locator("[data-row]")).to_have_count(2)
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("[data-tick]:checked")).to_have_count(1)
    expect(page.locator("[data-tick-count]")).to_have_text("1")
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("scripted")
    page.keyboard.press("r")
    page.get_by_role("button", name="Retry scripted").press("Enter")
    expect(page.locator("#messages")).to_contain_text("Retried: scripted.")
    assert Operation.objects.get().job_id == jobs[0].pk
    page.keyboard.press("g")
    page.keyboard.press("f")
    expect(page.locator("h1")).to_have_text("Failures")


def test_ticks_and_open_panels_outlive_refreshes_with_changing_rows(visit):
    jobs = make_broken(4)
    page = visit("job-list")
    set_live(page, "2")
    page.locator("[data-tick]").nth(1).check()
    expect(page.locator("[data-live-text]")).to_have_text("Paused: rows ticked")
    page.locator(f"#job-{jobs[2].pk} [data-row-link]").focus()
    page.locator(".filter-more > summary").click()
    for number in range(20):
        Job.objects.create(name="edit", workspace={"n": number})
        with page.expect_response(re.compile("/jobs/")):
            page.evaluate(
                "htmx.ajax('GET', '/dbq/jobs/', {target: '#jobs', swap: 'morph:outerHTML', source: '#jobs'})"
            )
    expect(page.locator("[data-row]")).to_have_count(24)
    expect(page.locator(f"#job-{jobs[2].pk} [data-tick]")).to_be_checked()
    expect(page.locator("[data-tick]:checked")).to_have_count(1)
    expect(page.locator(".filter-more")).to_have_attribute("open", "")


def test_a_range_of_rows_is_ticked_with_shift_and_handed_to_the_bulk_act(visit):
    make_broken(4)
    page = visit("job-list")
    page.locator("[data-tick]").nth(0).click()
    page.locator("[data-tick]").nth(2).click(modifiers=["Shift"])
    expect(page.locator("[data-tick-count]")).to_have_text("3")
    page.locator("#ticked").get_by_role("button", name="Retry…").click()
    expect(page.locator("h1")).to_contain_text("3 jobs")


def test_the_tree_is_searched_as_one_types_and_its_paths_are_copied(visit, context):
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    job = make_job(workspace={"customer": {"id": 4242}, "rows": list(range(300))})
    page = visit("job-detail", job.pk)
    page.get_by_label("Search the workspace").press_sequentially("4242")
    expect(page.locator(".tree [data-found]")).to_have_count(1)
    line = page.locator(".tree-line", has_text="4242")
    line.hover()
    line.get_by_role("button", name="path").click()
    assert page.evaluate("navigator.clipboard.readText()") == "customer.id"


def test_a_group_of_failures_is_retried(visit):
    make_broken(3)
    page = visit("failure-list")
    expect(page.locator("[data-row]")).to_have_count(1)
    page.get_by_role("button", name="Retry… ValueError").click()
    expect(page.get_by_text("goes on at the task that did not end").first).to_be_visible()
    page.get_by_role("button", name=re.compile("^Retry")).click()
    assert Job.objects.filter(state=State.READY).count() == 3


# Without JavaScript


@pytest.fixture
def plain(browser, live_server, operator, context):
    """The same operator in a browser whose JavaScript is off."""
    other = browser.new_context(java_script_enabled=False, storage_state=context.storage_state())
    yield other.new_page()
    other.close()


def test_without_javascript_everything_is_there_but_the_live_refresh(plain, live_server):
    [job, *_] = make_broken(2)
    plain.goto(f"{live_server.url}/dbq/jobs/")
    plain.locator(".filter-more > summary").click()
    plain.get_by_role("checkbox", name="Failed").check()
    plain.get_by_label("Text in the error").fill("above")
    plain.get_by_role("button", name="Filter").click()
    assert plain.url.endswith("/dbq/jobs/?state=FAILED&error=above")
    plain.locator("[data-tick]").nth(0).check()
    plain.locator("#ticked").get_by_role("button", name="Retry…").click()
    assert "1 job" in plain.locator("h1").text_content()
    plain.goto(f"{live_server.url}/dbq/jobs/{job.pk}/")
    plain.get_by_label("Search the workspace").fill("rows")
    plain.get_by_role("button", name="Search").click()
    assert "1 place has" in plain.locator("#workspace").text_content()
    plain.locator("summary", has_text="Requeue").click()
    plain.get_by_role("button", name="Requeue scripted").click()
    assert "Requeued: scripted." in plain.locator("#messages").text_content()
    assert reload(job).state == State.NEW


# Looks and attacks


def make_every_page() -> dict[str, list]:
    [job, other, cancelled] = make_broken(3)
    cancelled.retry()
    cancelled.cancel()
    make_worker(queue_names=["default"])
    operations.act(Actor("1", "ada"), "retry", other, reason="again", version=10**6)
    waiting = Job.objects.create(name="two", workspace={"rows": list(range(80)), "password": "x"})
    Job.objects.create(name="fail_at_the_end", queue_name="nobody", priority=3)
    return {
        "job-list": [],
        "failure-list": [],
        "job-detail": [other.pk],
        "job-resume": [job.pk],
        "job-workspace": [job.pk],
        "job-reschedule": [waiting.pk],
        "job-delete": [job.pk],
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_is_accessible_and_fits(visit, scheme, width):
    pages = make_every_page()
    for name, arguments in pages.items():
        page = visit(name, *arguments)
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate(
            "document.querySelectorAll('main details:not(.menu)').forEach((it) => { it.open = true; })"
        )
        check_accessibility(page)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name


@pytest.mark.parametrize("verb", ["retry", "reveal"])
def test_open_menus_are_accessible(visit, verb):
    [job] = make_broken()
    page = visit("job-detail", job.pk)
    page.locator("summary", has_text=verb.capitalize()).first.click()
    check_accessibility(page)


def test_hostile_texts_are_shown_as_texts(visit, page):
    page.on("dialog", lambda dialog: pytest.fail(f"A dialog: {dialog.message}"))
    text = " ".join(HOSTILE)
    job = make_job(State.FAILED, workspace={hostile: [hostile] for hostile in HOSTILE})
    texts = {"error_type": HOSTILE[1], "error_message": text}
    Job.objects.update(
        name=HOSTILE[0],
        queue_name=HOSTILE[1],
        next_task=text[:200],
        unique_key=text[:200],
        progress={"done": 1, "total": 2, "note": text},
        **texts,
    )
    Attempt.objects.update(traceback=text, worker_name=text[:255], **texts)
    operations.act(Actor("1", HOSTILE[0]), "cancel", job, reason=text)
    query = f"?name={HOSTILE[0]}&error={HOSTILE[1]}"
    for name, arguments, question in [
        ("job-list", [], ""),
        ("job-list", [], query),
        ("failure-list", [], ""),
        ("job-detail", [job.pk], ""),
        ("job-detail", [job.pk], f"?find={HOSTILE[1]}"),
        ("job-retry", [job.pk], ""),
        ("job-workspace", [job.pk], ""),
    ]:
        shown = visit(name, *arguments, query=question)
        shown.wait_for_load_state("networkidle")
        injected = "img, main svg[onload], a[hx-get='/admin/'], script:not([src]), [onerror], [onload]"
        assert shown.locator(injected).count() == 0
        assert shown.get_by_text("49", exact=True).count() == 0

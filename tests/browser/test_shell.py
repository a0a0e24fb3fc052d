"""The frame of the console in a real browser: clock, theme, keys, sheets, chart; with and without scripts."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from dbq.models import Job, Operation, Queue
from tests.browser.conftest import check_accessibility
from tests.dashboard.console import make_finished, make_minute
from tests.helpers import claim, let_lease_run_out, make_worker

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LONG = "billing.invoices:monthly-settlement_eu-west-1-blue"
WIDTHS = (360, 1280)
TOO_WIDE = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
PAGES = ("overview", "queue-list", "worker-list", "cleanup", "workers-rescue", "job-list")


@pytest.fixture
def busy(transactional_db):
    """A little of everything: health of every colour, long names, a pause, the dead."""
    make_worker(name="web-1:7", queue_names=["default", "mail"], memory_bytes=61_000_000)
    dead = make_worker(name="batch-eu-west-1a-7f9c8d6b5-x2x9k:17.0", queue_names=["imports"], version="0")
    Job.objects.bulk_create([Job(name="edit", queue_name=name) for name in ("default", "mail", LONG)])
    Job.objects.create(name="edit", queue_name="imports")
    Job.objects.create(name="edit", run_after=timezone.now() + timedelta(hours=1))
    claim(worker=dead, queue_name="imports")
    let_lease_run_out(dead)
    # The oldest first: a minute that passes meanwhile leaves a gap, and no two of the same.
    for ago in range(29, 0, -1):
        make_minute("default", ago, created=9, completed=9, failed=ago % 3, wait=1, run=2)
    make_finished(30, hours=48)
    Queue(name="mail").pause(by="ann", reason="The provider is down; see OPS-4411")
    now = timezone.now()
    Operation.objects.create(created=now, finished=now, actor_name="ann", verb="cleanup", done=1234)


def open_page(page, live_server, name):
    page.goto(live_server.url + reverse(f"dbq:{name}"))


def tick(page, times=1):
    """Let the page's clock tick, without waiting for it."""
    for _ in range(times):
        with page.expect_response(lambda response: response.request.headers.get("hx-request") == "true"):
            page.evaluate("() => document.body.dispatchEvent(new CustomEvent('dbq:tick'))")
        page.wait_for_load_state("networkidle")


# What it looks like


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_accessible_and_fits(console, live_server, busy, theme, width):
    console.set_viewport_size({"width": width, "height": 800})
    console.emulate_media(color_scheme=theme)
    for name in PAGES:
        open_page(console, live_server, name)
        check_accessibility(console)
        assert console.evaluate(TOO_WIDE) == 0, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_login_page_is_accessible(page, live_server, transactional_db, complaints, theme):
    page.emulate_media(color_scheme=theme)
    page.goto(f"{live_server.url}/dbq/")
    expect(page.get_by_role("heading", name="Log in to the console")).to_be_visible()
    check_accessibility(page)


def test_on_a_phone_rows_are_cards_with_every_verb(console, live_server, busy):
    console.set_viewport_size({"width": 360, "height": 800})
    open_page(console, live_server, "overview")
    card = console.locator("#queue-default")
    expect(card.get_by_role("link", name="Pause default")).to_be_visible()
    assert card.bounding_box()["width"] <= 360


# The clock


def test_the_page_renews_itself(console, live_server, busy):
    open_page(console, live_server, "overview")
    tile = console.locator(".tile", has_text="New")
    before = int(tile.locator(".tile-value").inner_text())
    Job.objects.create(name="edit")
    tick(console)
    expect(tile.locator(".tile-value")).to_have_text(str(before + 1))


def test_what_the_operator_did_survives_twenty_refreshes(console, live_server, busy):
    console.set_viewport_size({"width": 1280, "height": 500})
    open_page(console, live_server, "overview")
    console.locator("#throughput-table > summary").click()
    console.get_by_role("link", name="Pause default").focus()
    console.evaluate("() => window.scrollTo(0, 150)")
    for place in range(20):
        Job.objects.create(name="edit", queue_name=f"a-new-queue-{place:02}")
        make_minute(f"a-new-queue-{place:02}", completed=place)
        tick(console)
    expect(console.locator("#throughput-table")).to_have_attribute("open", "")
    expect(console.get_by_role("link", name="Pause default")).to_be_focused()
    assert console.evaluate("() => window.scrollY") > 0
    expect(console.locator("#queue-a-new-queue-19")).to_be_visible()


def test_the_clock_can_be_turned_off_and_stays_off(console, live_server):
    switch = console.get_by_role("button", name=re.compile("^(Live|Off)"))
    expect(switch).to_have_attribute("aria-pressed", "true")
    switch.click()
    expect(switch).to_have_text("Off")
    open_page(console, live_server, "queue-list")
    expect(console.get_by_role("button", name=re.compile("^Off"))).to_have_attribute("aria-pressed", "false")


def test_the_page_says_from_when_its_oldest_part_is(console, live_server, complaints, busy):
    open_page(console, live_server, "overview")
    shown = console.locator("[data-updated]")
    moment = shown.get_attribute("datetime")
    tick(console)
    expect(shown).not_to_have_attribute("datetime", moment)
    moment = shown.get_attribute("datetime")
    # The queues get no answer, the chart does.
    console.route(f"{live_server.url}/dbq/", lambda route: route.abort())
    tick(console)
    expect(shown).to_have_attribute("datetime", moment)
    console.unroute(f"{live_server.url}/dbq/")
    tick(console)
    expect(shown).not_to_have_attribute("datetime", moment)
    complaints.clear()  # the browser notes the request that failed


def test_the_clock_rests_while_a_sheet_is_open_and_says_so(console, busy):
    console.get_by_role("link", name="Pause default").click()
    expect(console.locator("[data-live-text]")).to_have_text("Paused: dialog open")
    console.get_by_role("button", name="Close").click()
    expect(console.locator("[data-live-text]")).to_have_text("Live")


def test_who_was_logged_out_is_led_to_the_login_page_by_the_next_refresh_once(console, complaints, busy):
    led = []
    console.on(
        "request", lambda request: led.append(request.url) if request.is_navigation_request() else None
    )
    console.context.clear_cookies()
    tick(console)
    console.wait_for_url("**/login/?next=%2Fdbq%2F")
    assert len(led) == 1  # though each part of the page was refused
    complaints.clear()  # the browser notes each 401


def test_who_stopped_the_way_to_the_login_page_is_led_again_by_the_next_act(console, complaints, busy):
    console.reload()
    console.context.clear_cookies()
    # An answer without content leaves the page where it is, as pressing Stop does.
    console.route("**/login/**", lambda route: route.fulfill(status=204))
    with console.expect_request("**/login/**"):
        tick(console)
    console.unroute("**/login/**")
    console.get_by_role("link", name="Pause default").click()
    console.wait_for_url("**/login/?next=%2Fdbq%2F**")
    complaints.clear()  # as above


def test_a_server_that_fails_is_said_in_words_and_the_page_stays(console, complaints, busy):
    console.route("**/pause/**", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    console.reload()
    console.get_by_role("link", name="Pause default").click()
    expect(console.locator("#messages")).to_contain_text("The server gave no useful answer")
    expect(console.get_by_text("Bad gateway")).to_have_count(0)
    complaints.clear()


# Themes and keys


def test_the_theme_changes_at_once_and_the_server_remembers(console, live_server):
    console.get_by_label("You and the looks").click()
    console.get_by_role("button", name="Dark").click()
    expect(console.locator("html")).to_have_attribute("data-theme", "dark")
    open_page(console, live_server, "worker-list")
    expect(console.locator("html")).to_have_attribute("data-theme", "dark")


def test_g_and_a_letter_go_to_a_page(console):
    pages = {
        "j": "job-list",
        "f": "failure-list",
        "q": "queue-list",
        "w": "worker-list",
        "p": "operation-list",
        "c": "cleanup",
        "o": "overview",
    }
    for letter, name in pages.items():
        console.keyboard.press("g")
        console.keyboard.press(letter)
        console.wait_for_url(f"**{reverse(f'dbq:{name}')}")


def test_question_mark_shows_the_keys_and_escape_hides_them(console):
    console.keyboard.press("?")
    expect(console.get_by_role("dialog", name="Keyboard")).to_be_visible()
    check_accessibility(console)
    console.keyboard.press("Escape")
    expect(console.get_by_role("dialog", name="Keyboard")).to_be_hidden()


def test_j_k_and_enter_walk_the_rows(console, live_server, busy):
    open_page(console, live_server, "queue-list")
    console.keyboard.press("j")
    console.keyboard.press("j")
    expect(console.locator('[data-row][aria-current="true"]')).to_have_id("queue-default")
    console.keyboard.press("k")
    console.keyboard.press("j")
    console.keyboard.press("Enter")
    console.wait_for_url("**/dbq/jobs/?queue=default")


# Acts


def test_a_queue_is_paused_in_a_sheet_and_resumed_in_its_row(console, busy):
    console.get_by_role("link", name="Pause default").click()
    sheet = console.get_by_role("dialog", name="Pause default")
    expect(sheet).to_contain_text("running tasks end")
    check_accessibility(console)
    sheet.get_by_label("Reason").fill("looking into it")
    sheet.get_by_label("Resumes").select_option("60")
    sheet.get_by_role("button", name="Pause default").click()
    expect(console.locator("#messages")).to_contain_text("is paused until")
    expect(console.locator("#queue-default")).to_contain_text("Paused by olga just now: looking into it.")
    console.get_by_role("button", name="Resume default").click()
    expect(console.locator("#messages")).to_contain_text("is resumed")


def test_a_clean_up_is_previewed_confirmed_and_reported(console, live_server, busy):
    console.get_by_role("link", name="Clean up…").click()
    console.get_by_role("button", name="Preview").click()
    console.get_by_label("Reason").fill("weekly")
    console.get_by_role("button", name="Delete 30 jobs").click()
    expect(console.locator("#cleanup-progress")).to_contain_text("30 jobs deleted.")
    assert not Job.objects.finished().exists()


def test_dragging_over_the_chart_opens_the_jobs_of_that_time(console, busy):
    box = console.locator("[data-brush]").bounding_box()
    middle = box["y"] + box["height"] / 2
    console.mouse.move(box["x"] + box["width"] * 0.25, middle)
    console.mouse.down()
    console.mouse.move(box["x"] + box["width"] * 0.5, middle, steps=5)
    console.mouse.up()
    console.wait_for_url("**/dbq/jobs/?*finished_after=*finished_before=*")
    expect(console.get_by_role("heading", level=1)).to_contain_text("Jobs")


def test_a_longer_range_replaces_the_chart_alone(console, busy):
    console.get_by_role("link", name="24 h").click()
    expect(console.locator("#throughput [aria-current]")).to_have_text("24 h")
    expect(console).to_have_url(re.compile("range=24h"))


def test_the_chart_of_one_queue_is_chosen_and_the_clock_goes_on(busy, console, live_server):
    console.get_by_label("Queue of the chart").select_option("default")
    console.wait_for_url("**/dbq/?range=1h&queue=default")
    expect(console.locator("[data-live-text]")).to_have_text("Live")
    expect(console.locator("#throughput").get_by_role("button", name="Show")).to_be_hidden()
    tick(console)
    expect(console.get_by_label("Queue of the chart")).to_have_value("default")
    open_page(console, live_server, "queue-list")
    console.get_by_role("link", name="Chart of this queue: default").click()
    console.wait_for_url("**/dbq/?queue=default#throughput")
    expect(console.get_by_label("Queue of the chart")).to_have_value("default")


TICK_AFTER_SWAP = """() => document.body.addEventListener("htmx:afterSwap", () => setTimeout(
    () => document.body.dispatchEvent(new CustomEvent("dbq:tick"))), {once: true})"""


def test_a_tick_right_after_a_choice_asks_for_what_was_chosen(busy, console, live_server):
    """A part that went on with its old address for a moment would take the choice back, for good."""
    console.evaluate(TICK_AFTER_SWAP)
    asked = []
    console.on("request", lambda request: asked.append(request.url))
    with console.expect_response(lambda answer: answer.request.headers.get("hx-target") == "health"):
        console.get_by_label("Queue of the chart").select_option("default")
    console.wait_for_load_state("networkidle")

    charts = [url for url in asked if "range=" in url]
    assert len(charts) == 2
    assert all("queue=default" in url for url in charts)
    expect(console.get_by_label("Queue of the chart")).to_have_value("default")


# Without scripts


@pytest.fixture
def plain(browser, operator, live_server, context):
    """A page of the same operator in a browser without scripts."""
    bare = browser.new_context(java_script_enabled=False)
    bare.add_cookies(context.cookies())
    yield bare.new_page()
    bare.close()


def test_without_scripts_everything_is_there_and_acts(plain, live_server, busy):
    open_page(plain, live_server, "overview")
    expect(plain.locator("#verdict-title")).to_contain_text("need a look")
    expect(plain.locator(".chart-bars")).to_be_visible()
    plain.get_by_label("Queue of the chart").select_option("default")
    plain.get_by_role("button", name="Show").click()
    expect(plain.get_by_label("Queue of the chart")).to_have_value("default")
    plain.get_by_role("link", name="24 h").click()
    expect(plain.locator("#throughput [aria-current]")).to_have_text("24 h")
    plain.get_by_role("link", name="Pause default").click()
    plain.get_by_label("Reason").fill("no scripts here")
    plain.get_by_role("button", name="Pause default").click()
    expect(plain.locator("#queue-default")).to_contain_text("no scripts here")
    plain.get_by_role("button", name="Resume default").click()
    expect(plain.locator("#messages")).to_contain_text("is resumed")


def test_without_scripts_the_clean_up_and_the_theme_work(plain, live_server, busy):
    open_page(plain, live_server, "cleanup")
    plain.get_by_role("button", name="Preview").click()
    plain.get_by_role("button", name="Delete 30 jobs").click()
    expect(plain.locator("#cleanup-progress")).to_contain_text("30 jobs deleted.")
    plain.get_by_label("You and the looks").click()
    plain.get_by_role("button", name="Dark").click()
    expect(plain.locator("html")).to_have_attribute("data-theme", "dark")


def test_without_scripts_the_dead_are_rescued_and_the_living_stopped(plain, live_server, busy):
    open_page(plain, live_server, "worker-list")
    plain.get_by_role("link", name="Rescue…").click()
    plain.get_by_role("button", name="Rescue the jobs").click()
    expect(plain.locator("#messages")).to_contain_text("Rescued 1 job")
    plain.get_by_role("link", name="Stop… web-1:7").click()
    plain.get_by_role("button", name="Ask it to stop").click()
    expect(plain.locator("#messages")).to_contain_text("asked to stop")

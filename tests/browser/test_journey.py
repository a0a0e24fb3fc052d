"""One operator's whole journey, three times: with the mouse, with the keyboard alone, without scripts."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

from dbq import bulk
from dbq.models import Job, Operation, Queue
from dbq.states import State
from tests import jobs as sample
from tests.browser.test_jobs import make_broken
from tests.helpers import assert_state, let_time_pass, make_worker, reload, work_off

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TABS_MAX = 250
IS_FOCUSED = "(element) => element === document.activeElement"


class Mouse:
    """Clicks, and sees what changes by itself."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def press(self, target: Locator) -> None:
        target.click()

    def write(self, target: Locator, text: str) -> None:
        target.fill(text)

    def choose(self, target: Locator) -> None:
        target.check()

    def look_again(self) -> None:
        """Let the page renew itself, as its clock does every few seconds."""
        self.page.evaluate("document.body.dispatchEvent(new CustomEvent('dbq:tick'))")
        self.page.wait_for_load_state("networkidle")


class Keyboard(Mouse):
    """Goes from field to field with Tab, as somebody without a mouse does."""

    def press(self, target: Locator) -> None:
        self._reach(target)
        self.page.keyboard.press("Enter")

    def write(self, target: Locator, text: str) -> None:
        self._reach(target)
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.insert_text(text)

    def choose(self, target: Locator) -> None:
        """Tab leads to a group of radio buttons, arrows within it."""
        group = f'input[name="{target.get_attribute("name")}"]'
        self._reach(target, f"(element) => document.activeElement.matches('{group}')")
        self.page.keyboard.press("Space")
        for _ in range(20):
            if target.is_checked():
                return
            self.page.keyboard.press("ArrowDown")
        raise AssertionError(f"No arrow leads to {target}.")

    def _reach(self, target: Locator, is_reached: str = IS_FOCUSED) -> None:
        expect(target).to_be_visible()
        for _ in range(TABS_MAX):
            if target.evaluate(is_reached):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {target}.")


class WithoutScripts(Mouse):
    def look_again(self) -> None:
        self.page.reload()


@pytest.fixture(params=[Mouse, Keyboard, WithoutScripts])
def hand(request, console, browser, context):
    if request.param is not WithoutScripts:
        yield request.param(console)
        return
    plain = browser.new_context(java_script_enabled=False, storage_state=context.storage_state())
    yield WithoutScripts(plain.new_page())
    plain.close()


@pytest.fixture
def visit(hand, live_server):
    def open_page(name: str, query: str = "") -> Page:
        hand.page.goto(live_server.url + reverse(f"dbq:{name}") + query)
        return hand.page

    return open_page


def test_a_failed_job_is_found_understood_mended_and_watched_to_its_end(hand, visit):
    [job] = make_broken()
    page = visit("overview")
    hand.press(page.get_by_role("link", name="Jobs", exact=True))
    hand.press(page.get_by_role("navigation", name="States").get_by_role("link", name="Failed"))
    hand.press(page.get_by_role("link", name=re.compile("^scripted")))
    expect(page.locator("#traceback")).to_contain_text("rows must be above 0")
    expect(page.locator("main")).to_contain_text("written")

    hand.press(page.get_by_role("link", name="Edit", exact=True))
    editor = page.get_by_label("Workspace as JSON")
    hand.write(editor, editor.input_value().replace('"rows": 0', '"rows": 5'))
    hand.write(page.get_by_label("Reason"), "a wrong number")
    hand.press(page.get_by_role("button", name="Save the workspace"))

    hand.press(page.locator("summary", has_text="Resume from"))
    hand.press(page.get_by_role("link", name="Choose the task…"))
    hand.choose(page.get_by_label(job.definition.tasks[1], exact=True))
    hand.press(page.get_by_role("button", name="Resume at this task"))
    expect(page.locator("#messages")).to_contain_text("Resumed: scripted.")
    work_off()
    hand.look_again()

    expect(page.locator("h1")).to_contain_text("Completed")
    expect(page.locator("#timeline")).to_contain_text("“a wrong number”")
    assert assert_state(job, State.COMPLETED).workspace["api_token"] == "lovelace"


def test_a_queue_is_paused_and_its_jobs_say_why_they_wait(hand, visit):
    make_worker()
    Job.objects.create(name="two")
    page = visit("queue-list")
    hand.press(page.get_by_role("link", name="Pause default"))
    hand.write(page.get_by_label("Reason"), "the disk is full")
    hand.press(page.get_by_role("button", name="Pause default"))
    expect(page.locator("#queue-default")).to_contain_text("the disk is full")
    assert Queue.objects.get().paused_reason == "the disk is full"

    visit("job-list")
    hand.press(page.get_by_role("link", name=re.compile("^two")))
    expect(page.locator("#job-reason")).to_contain_text("paused by olga")
    expect(page.locator("#job-reason")).to_contain_text("the disk is full")


def test_all_that_match_are_retried_and_stopped_half_way(hand, visit, monkeypatch):
    monkeypatch.setattr(bulk, "CHUNK", 5)
    make_worker()
    make_broken(12)
    page = visit("job-list", "?state=FAILED")
    hand.press(page.locator("details:has(input[name=all]) > summary"))
    hand.press(page.locator("form:has(input[name=all])").get_by_role("button", name="Retry"))
    expect(page.get_by_role("heading", name="Retry: 12 jobs")).to_be_visible()
    hand.press(page.get_by_role("button", name="Retry 12 jobs"))
    expect(page.get_by_text("0 of 12", exact=True)).to_be_visible()
    bulk.run_chunk("default")
    sample.script[:] = [lambda job: None] * 10
    work_off()
    hand.look_again()
    expect(page.get_by_text("5 of 12", exact=True)).to_be_visible()

    hand.write(page.get_by_label("Why stop it"), "the wrong queue")
    hand.press(page.get_by_role("button", name="Stop"))
    expect(page.get_by_text("Stopped by olga. the wrong queue")).to_be_visible()
    expect(page.locator("#items tbody tr")).to_have_count(5)
    operation = Operation.objects.get(verb="retry")
    assert (operation.state, operation.done) == (Operation.State.STOPPED, 5)
    assert Counter(Job.objects.values_list("state", flat=True)) == {"COMPLETED": 5, "FAILED": 7}


def test_a_clean_up_deletes_what_its_preview_shows(hand, visit):
    old = make_broken(3)
    let_time_pass(48 * 3600)
    young = make_broken(2)
    page = visit("cleanup")
    hand.press(page.get_by_role("button", name="Preview"))
    expect(page.locator("main")).to_contain_text("3 jobs")
    hand.press(page.get_by_role("button", name=re.compile("^Delete 3 jobs")))
    expect(page.locator("main")).to_contain_text("3 jobs deleted")
    assert {job.pk for job in young} == set(Job.objects.values_list("pk", flat=True))
    assert not Job.objects.filter(pk__in=[job.pk for job in old]).exists()
    assert reload(young[0]).state == State.FAILED

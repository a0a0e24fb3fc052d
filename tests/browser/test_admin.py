"""The operator's journey through Django's admin, in a real browser."""

import re

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from dbq.models import Job, Operation, Queue
from dbq.operations import Actor, act
from dbq.states import State
from tests.browser.conftest import check_accessibility
from tests.browser.test_operations import make_finished
from tests.helpers import make_job, make_worker

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# Markup that Django's admin brings, and that breaks rules on every page of every model: links told from
# text by colour alone, a search field whose label is an icon, a header cell without words.
DJANGOS = (".breadcrumbs", "#changelist-search", ".inline-group thead")


@pytest.fixture
def admin(console, live_server):
    """The job list of the admin, open before a superuser."""

    def visit(name="admin:dbq_job_changelist", *arguments, query=""):
        console.goto(live_server.url + reverse(name, args=arguments) + query)
        return console

    return visit


def test_a_failed_job_is_found_understood_mended_and_resumed(admin, transactional_db):
    [job] = make_finished(1, workspace={"rows": 0, "api_token": "sk-SECRET-0123456789"})
    Job.objects.filter(pk=job.pk).update(
        name="two",
        next_task="tests.jobs.succeed_again",
        error_type="ValueError",
        error_message="rows must be above 0",
    )
    page = admin(query="?stands=failed")
    page.locator("#result_list").get_by_role("link", name="two").click()
    expect(page.get_by_text("rows must be above 0")).to_be_visible()
    expect(page.get_by_text('"api_token": "********************"')).to_be_visible()
    page.get_by_role("link", name="Edit workspace").click()
    editor = page.get_by_label("Workspace")
    editor.fill(editor.input_value().replace('"rows": 0', '"rows": 5'))
    page.get_by_role("button", name="Edit workspace").click()
    expect(page.get_by_text("The workspace was edited")).to_be_visible()
    expect(page.get_by_text('"rows": 5')).to_be_visible()
    page.get_by_role("link", name="Retry").click()
    expect(page.get_by_text("Runs succeed_again")).to_be_visible()
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text('Goes on at the task "succeed_again".')).to_be_visible()
    job.refresh_from_db()
    assert job.state == State.READY
    assert job.workspace == {"rows": 5, "api_token": "sk-SECRET-0123456789"}
    page.get_by_role("link", name="History").click()
    expect(page.get_by_text("Retried. Goes on at the task")).to_be_visible()


def test_ticked_jobs_are_retried_after_a_confirmation(admin, transactional_db):
    make_finished(3)
    page = admin()
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option("act_retry")
    page.locator('button[name="index"]').click()
    expect(page.get_by_role("heading", name="3 jobs")).to_be_visible()
    page.get_by_label("Reason:").fill("fixed")
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_text("Retried 3 jobs.")).to_be_visible()
    assert Operation.objects.get().reason == "fixed"


def test_old_jobs_are_cleaned_up_from_a_preview(admin, transactional_db):
    make_finished(4, State.COMPLETED)
    page = admin()
    page.get_by_role("link", name="Clean up old jobs").click()
    page.get_by_label("Older than so many hours").fill("0")
    page.get_by_role("button", name="Show what would be deleted").click()
    expect(page.get_by_role("heading", name="4 jobs")).to_be_visible()
    page.get_by_role("button", name="Clean up").click()
    expect(page.get_by_text("Cleaned up 4 jobs.")).to_be_visible()
    assert not Job.objects.exists()


def test_a_job_is_created_and_a_wrong_one_keeps_what_was_typed(admin, transactional_db):
    page = admin("admin:dbq_job_add")
    page.get_by_label("Name").select_option("edit")
    page.get_by_label("Workspace").fill('{"rows": }')
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("line 1, column 10")).to_be_visible()
    page.get_by_label("Workspace").fill('{"rows": 1}')
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    assert Job.objects.get().workspace == {"rows": 1}


def test_admin_and_dashboard_lead_to_each_other(admin, transactional_db):
    [job] = make_finished(1)
    page = admin("admin:dbq_job_change", job.pk)
    page.get_by_role("link", name="Dashboard").click()
    expect(page).to_have_url(re.compile(f"/dbq/jobs/{job.pk}/"))


@pytest.mark.parametrize("name", ["dbq_job", "dbq_worker", "dbq_queue", "dbq_operation"])
def test_the_lists_open_without_a_complaint_of_the_browser(admin, transactional_db, name):
    make_finished(2)
    page = admin(f"admin:{name}_changelist")
    expect(page.locator("#changelist")).to_be_visible()


# What it looks like


@pytest.fixture
def filled(transactional_db):
    """A failed job with its history, a worker, a paused queue and an operation."""
    make_finished(2, State.COMPLETED)
    job = make_job(State.FAILED, workspace={"rows": 0, "api_token": "not-a-real-token"})
    make_worker(name="web-1:7", queue_names=["default", "mail"])
    Queue(name="mail").pause(by="ann", reason="The provider is down")
    act(Actor("1", "ann"), "reveal", job.pk, reason="to mend it")
    return job


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_every_page_is_accessible(admin, filled, theme, width):
    page = admin()
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=theme)
    for name in ("dbq_job", "dbq_worker", "dbq_queue", "dbq_operation"):
        check_accessibility(admin(f"admin:{name}_changelist"), without=DJANGOS)
    check_accessibility(admin("admin:dbq_job_change", filled.pk), without=DJANGOS)
    check_accessibility(admin("admin:dbq_job_add"), without=DJANGOS)
    for verb in ("retry", "resume_from", "edit_workspace"):
        check_accessibility(admin("admin:dbq_job_verb", filled.pk, verb), without=DJANGOS)
    check_accessibility(admin("admin:dbq_job_cleanup"), without=DJANGOS)
    check_accessibility(admin("admin:dbq_job_cleanup", query="?hours=0&states=COMPLETED"), without=DJANGOS)

"""Every act on a job in every situation, by the admin: its page of one job and its actions on many."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.urls import reverse

from tests.acts import (
    CASES,
    IDS,
    IDS_ON_MANY,
    ON_MANY,
    SITUATIONS,
    TABLE,
    assert_record,
    assert_record_of_many,
    assert_row,
    is_refused,
    make_form,
)
from tests.dashboard.console import read
from tests.helpers import read_everything

LIST = reverse("admin:dbq_job_changelist")
ACT = reverse("admin:dbq_job_act")

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def root(client):
    client.force_login(User.objects.create_superuser("root"))
    yield client
    LogEntry.objects.all().delete()


@pytest.mark.parametrize(("verb", "situation"), CASES, ids=IDS)
def test_a_page_of_one_job(root, verb, situation):
    job = SITUATIONS[situation]()
    before = read_everything()
    address = reverse("admin:dbq_job_verb", args=[job.pk, verb])
    asked = read(root.get(address))

    page = read(root.post(address, make_form(verb, job), follow=True))

    assert_row(verb, situation, job, before)
    operation = assert_record(verb, situation)
    assert (operation.actor_name, operation.job_id, operation.reason) == ("root", job.pk, "why not")
    refused = is_refused(verb, situation)
    if refused:
        assert TABLE[verb][situation] in asked, "It says so before anybody tries."
        assert TABLE[verb][situation] in page
    assert LogEntry.objects.count() == int(not refused)


@pytest.mark.parametrize(("verb", "situation"), ON_MANY, ids=IDS_ON_MANY)
def test_an_action_on_many(root, verb, situation):
    job = SITUATIONS[situation]()
    before = read_everything()
    asked = root.post(LIST, {"action": f"act_{verb}", "_selected_action": [str(job.pk)]})
    assert read_everything() == before
    packed = re.search(r'name="proposal" value="([^"]+)"', asked.content.decode())[1]

    page = read(root.post(ACT, {"proposal": packed}, follow=True))

    assert_row(verb, situation, job, before)
    assert assert_record_of_many(verb, situation).actor_name == "root"
    if is_refused(verb, situation):
        assert f"Skipped 1: {TABLE[verb][situation]}" in page

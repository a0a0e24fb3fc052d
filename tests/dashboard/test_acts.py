"""Every act on a job in every situation, by the dashboard: its form of one job and its acts on many."""

import re

import pytest
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
from tests.dashboard.console import log_in, read
from tests.helpers import read_everything

ACT = reverse("dbq:jobs-act")
PAGES = {"resume_from": "job-resume", "edit_workspace": "job-workspace"}
PERMISSIONS = (
    "retry_job",
    "requeue_job",
    "cancel_job",
    "delete_job",
    "change_job",
    "change_workspace",
    "view_operation",
)

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def operator(client):
    return log_in(client, *PERMISSIONS)


@pytest.mark.parametrize(("verb", "situation"), CASES, ids=IDS)
def test_a_form_of_one_job(operator, verb, situation):
    job = SITUATIONS[situation]()
    before = read_everything()
    address = reverse(f"dbq:{PAGES.get(verb, f'job-{verb}')}", args=[job.pk])
    asked = read(operator.get(address))

    page = read(operator.post(address, make_form(verb, job), follow=True))

    assert_row(verb, situation, job, before)
    operation = assert_record(verb, situation)
    assert (operation.actor_name, operation.job_id, operation.reason) == ("olga", job.pk, "why not")
    if is_refused(verb, situation):
        assert TABLE[verb][situation] in asked, "It says so before anybody tries."
        assert f"Nothing was done. {TABLE[verb][situation]}" in page


@pytest.mark.parametrize(("verb", "situation"), ON_MANY, ids=IDS_ON_MANY)
def test_an_act_on_ticked_jobs(operator, verb, situation):
    job = SITUATIONS[situation]()
    before = read_everything()
    asked = operator.post(ACT, {"verb": verb, "ids": [str(job.pk)]})
    assert read_everything() == before
    packed = re.search(r'name="proposal" value="([^"]+)"', asked.content.decode())[1]

    page = read(operator.post(ACT, {"proposal": packed}, follow=True))

    assert_row(verb, situation, job, before)
    assert assert_record_of_many(verb, situation).actor_name == "olga"
    if is_refused(verb, situation):
        assert TABLE[verb][situation] in page

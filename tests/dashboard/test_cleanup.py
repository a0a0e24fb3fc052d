"""The clean-up: preview, confirm, watch; and never a job that waits or runs."""

import re

import pytest
from django.urls import reverse

from dashboard.limits import TookTooLong
from dbq import bulk
from dbq.models import Job, Operation
from dbq.states import State
from tests.dashboard.console import ask_for, log_in, make_finished, read
from tests.helpers import claim, let_time_pass, make_worker

pytestmark = pytest.mark.django_db
CLEANUP = reverse("dbq:cleanup")
CHOICE = {"age": "24", "unit": "hours", "state": ["COMPLETED", "FAILED", "CANCELLED"]}


@pytest.fixture
def operator(client):
    return log_in(client, "run_cleanup", "view_operation")


def find_packed(response):
    return re.search(r'name="proposal" value="([^"]+)"', response.content.decode())[1]


def test_the_page_asks_first_and_deletes_nothing(operator):
    make_finished(3, hours=48)
    page = read(operator.get(CLEANUP))
    assert "3 finished jobs in all" in page
    assert "Nothing chosen yet" in page
    assert Job.objects.count() == 3


def test_the_preview_says_how_many_of_which_and_from_when(operator):
    make_finished(3, State.COMPLETED, hours=48, queue_name="mail")
    make_finished(2, State.FAILED, hours=30, queue_name="default")
    make_finished(4, hours=1)
    page = read(operator.get(CLEANUP, CHOICE))
    assert "Delete 5 jobs" in page
    assert "2 d ago" in page
    assert "1 d ago" in page
    assert re.search(r"mail 3 3 0 0", page)
    assert re.search(r"default 2 0 2 0", page)
    assert Job.objects.count() == 9


def test_what_the_preview_counted_is_what_is_deleted(operator):
    make_finished(5, hours=48)
    make_finished(2, hours=1)
    Job.objects.create(name="edit")
    Job.objects.create(name="edit", queue_name="running")
    claim(worker=make_worker(), queue_name="running")
    Job.objects.filter(finished=None).update(created=Job.objects.order_by("created").first().created)
    packed = find_packed(operator.get(CLEANUP, CHOICE))
    make_finished(7, hours=72)  # finished by the clock of the past, made after the preview
    page = read(operator.post(CLEANUP, {"proposal": packed, "reason": "weekly"}, follow=True))
    assert "5 jobs deleted." in page
    operation = Operation.objects.get()
    assert (operation.verb, operation.state, operation.done, operation.reason) == (
        "cleanup",
        "DONE",
        5,
        "weekly",
    )
    assert Job.objects.finished().count() == 2 + 7
    assert Job.objects.exclude(pk__in=Job.objects.finished()).count() == 2


def test_a_job_that_was_set_going_meanwhile_is_left_alone(operator):
    make_finished(2, State.FAILED, hours=48)
    packed = find_packed(operator.get(CLEANUP, CHOICE))
    assert Job.objects.first().retry()
    operator.post(CLEANUP, {"proposal": packed})
    assert Job.objects.get().state == State.READY


def test_states_and_queues_narrow_it(operator):
    make_finished(3, State.COMPLETED, hours=48, queue_name="mail")
    make_finished(2, State.FAILED, hours=48, queue_name="mail")
    make_finished(4, State.FAILED, hours=48, queue_name="default")
    page = read(operator.get(CLEANUP, {**CHOICE, "state": "FAILED", "queue": "mail"}))
    assert "Delete 2 jobs" in page


def test_nothing_old_enough_leaves_nothing_to_confirm(operator):
    make_finished(3)
    response = operator.get(CLEANUP, CHOICE)
    assert "There is nothing to delete" in read(response)
    assert 'name="proposal"' not in response.content.decode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"age": ""},
        {"age": "0"},
        {"age": "-5"},
        {"age": "9" * 30},
        {"age": "100000", "unit": "weeks"},
        {"unit": "<b>"},
        {"state": []},
        {"state": "NEW"},
        {"queue": "unknown"},
    ],
)
def test_a_wrong_choice_is_explained_and_previews_nothing(operator, wrong):
    make_finished(1, hours=48)
    response = operator.get(CLEANUP, {**CHOICE, **wrong})
    assert response.status_code == 200
    assert 'class="errorlist' in response.content.decode()
    assert 'name="proposal"' not in response.content.decode()


@pytest.mark.parametrize("packed", ["", "nonsense", "a:b:c"])
def test_a_confirmation_that_was_not_made_here_deletes_nothing(operator, packed):
    make_finished(1, hours=48)
    page = read(operator.post(CLEANUP, {"proposal": packed}, follow=True))
    assert "not made by this console" in page
    assert Job.objects.count() == 1


def test_the_confirmation_of_another_act_or_account_deletes_nothing(operator):
    make_finished(1, State.FAILED, hours=48)
    other = bulk.Actor("99", "mallory")
    packed = bulk.propose_cleanup(24).pack(other)
    assert "another account" in read(operator.post(CLEANUP, {"proposal": packed}, follow=True))
    mine = bulk.Actor.from_user(operator.user)
    retry = bulk.propose("retry", [["state", "in", ["FAILED"]]]).pack(mine)
    assert "not of a clean-up" in read(operator.post(CLEANUP, {"proposal": retry}, follow=True))
    assert Job.objects.get().state == State.FAILED


def test_a_large_one_runs_in_the_background_with_progress(operator):
    make_finished(bulk.CHUNK + 50, hours=48)
    packed = find_packed(operator.get(CLEANUP, CHOICE))
    response = operator.post(CLEANUP, {"proposal": packed})
    operation = Operation.objects.get()
    assert operation.state == Operation.State.RUNNING
    assert response["Location"] == f"{CLEANUP}?operation={operation.pk}"
    page = operator.get(response["Location"])
    assert "No worker is alive" in read(page)
    assert "data-fast" in page.content.decode()
    bulk.run_chunk("default", operation.pk)
    part = operator.get(response["Location"], headers=ask_for("cleanup-progress"))
    assert f"{bulk.CHUNK} / {bulk.CHUNK + 50}" in read(part)
    bulk.run_to_end(operation)
    done = operator.get(response["Location"], headers=ask_for("cleanup-progress"))
    assert "Done" in read(done)
    assert "hx-trigger" not in done.content.decode()


def test_a_preview_that_takes_too_long_asks_for_less(operator, monkeypatch):
    make_finished(1, hours=48)

    def be_slow(*arguments):
        raise TookTooLong

    monkeypatch.setattr("dashboard.queries.cleanup.preview_cleanup", be_slow)
    response = operator.get(CLEANUP, CHOICE)
    assert response.status_code == 200
    assert "Choose one queue or a greater age" in read(response)


def test_old_jobs_that_wait_are_not_counted(operator):
    Job.objects.create(name="edit")
    let_time_pass(3600 * 48)
    assert "There is nothing to delete" in read(operator.get(CLEANUP, CHOICE))


@pytest.mark.parametrize("pk", ["0", "x", "-1", "9" * 40, "1%27"])
def test_an_operation_that_does_not_exist_is_not_followed(operator, pk):
    assert operator.get(CLEANUP, {"operation": pk}).status_code in (200, 404)


def test_a_preview_that_has_met_none_so_far_does_not_say_that_there_is_none(operator, monkeypatch):
    monkeypatch.setattr("dbq.bulk.SUMMARY_MAX", 2)
    make_finished(3, hours=48)
    make_finished(1, hours=47, queue_name="mail")
    page = read(operator.get(CLEANUP, {**CHOICE, "queue": "mail"}))
    assert "There is nothing to delete" not in page
    assert "Delete 0+ jobs" in page
    assert "all that match are deleted, of 1 finished jobs in these queues and states" in page


def test_a_preview_of_many_queues_shows_those_with_the_most(operator, monkeypatch):
    monkeypatch.setattr("dashboard.queries.cleanup.QUEUES_SHOWN", 1)
    make_finished(2, hours=48, queue_name="mail")
    make_finished(1, hours=48)
    page = read(operator.get(CLEANUP, CHOICE))
    assert "Delete 3 jobs" in page
    assert re.search(r"mail 2 \d", page)
    assert "and of 1 more queue, with fewer jobs." in page

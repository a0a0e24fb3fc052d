"""Bulk acts and the record of all acts, as the console shows them."""

import re
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dbq import bulk
from dbq.models import Job, Operation
from dbq.operations import Actor, act
from dbq.states import Lane, State
from tests.helpers import dialect, make_worker

ALICE = Actor("1", "alice")
ACT = reverse("dbq:jobs-act")
LIST = reverse("dbq:operation-list")

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(client):
    """A client whose account may see, retry and read operations."""
    client.user = make_user("olga", "view_job", "retry_job", "view_operation")
    client.force_login(client.user)
    return client


def make_user(name, *permissions):
    user = User.objects.create_user(name)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    return user


def make_finished(amount, state=State.FAILED, **fields):
    jobs = [Job(name="edit", **fields) for _ in range(amount)]
    Job.objects.bulk_create(jobs)
    now = dialect().read_clock()
    ended = Job.objects.filter(pk__in=[job.pk for job in jobs])
    ended.update(state=state, lane=Lane.FINISHED, started=now, finished=now)
    return jobs


def start(amount=300, verb="retry"):
    """An operation too large to be done at once."""
    make_finished(amount)
    return bulk.start(ALICE, bulk.propose(verb, [["state", "in", ["FAILED"]]]))


def read_packed(response):
    return re.search(r'name="proposal" value="([^"]+)"', response.content.decode())[1]


def read(response):
    """The page as text, without tags."""
    text = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", text)


# Confirming


def test_ticked_jobs_are_shown_before_anything_happens(operator):
    jobs = make_finished(3)
    response = operator.post(ACT, {"verb": "retry", "ids": [str(job.pk) for job in jobs]})
    page = read(response)
    assert response.status_code == 200
    assert "Retry: 3 jobs" in page
    assert "goes on at the task that did not end" in page
    assert str(jobs[0].pk)[-8:] in page
    assert not Operation.objects.exists()
    assert Job.objects.filter(state="FAILED").count() == 3


def test_confirmed_ticked_jobs_are_retried_and_the_reason_is_kept(operator):
    jobs = make_finished(3)
    packed = read_packed(operator.post(ACT, {"verb": "retry", "ids": [str(job.pk) for job in jobs]}))
    response = operator.post(ACT, {"proposal": packed, "reason": "fixed"}, follow=True)
    operation = Operation.objects.get()
    assert response.redirect_chain[-1][0] == reverse("dbq:operation-detail", args=[operation.pk])
    assert (operation.actor_name, operation.reason, operation.done) == ("olga", "fixed", 3)
    assert "Retried 3 jobs." in read(response)
    assert Job.objects.filter(state="READY").count() == 3


def test_all_that_match_are_those_of_the_query_string(operator):
    make_finished(4, queue_name="mail")
    make_finished(2)
    filters = urlencode({"state": "FAILED", "queue": "mail"})
    response = operator.post(ACT, {"verb": "retry", "all": "1", "filters": filters})
    page = read(response)
    assert "Retry: 4 jobs" in page and "state is Failed" in page and "queue is mail" in page
    operator.post(ACT, {"proposal": read_packed(response)})
    operation = Operation.objects.get()
    assert (operation.done, operation.filters) == (4, filters)
    assert Job.objects.filter(state="FAILED").count() == 2


def test_what_will_be_skipped_is_said_beforehand(operator):
    make_finished(2)
    make_finished(3, State.COMPLETED)
    page = read(operator.post(ACT, {"verb": "retry", "all": "1", "filters": ""}))
    assert "Failed 2" in page
    assert "Completed 3 will be skipped" in page
    assert "all jobs, without any filter" in page


def test_nothing_to_do_offers_nothing_to_confirm(operator):
    response = operator.post(ACT, {"verb": "retry", "all": "1", "filters": "state=FAILED"})
    assert "No job matches. There is nothing to confirm." in read(response)
    assert b'class="button primary' not in response.content


def test_a_group_of_failures_is_proposed_by_its_fingerprint(operator):
    jobs = make_finished(3)
    Job.objects.filter(pk__in=[job.pk for job in jobs[:2]]).update(fingerprint="abc")
    address = reverse("dbq:failure-act", args=["abc"])
    response = operator.post(address, {"verb": "retry"})
    assert "Retry: 2 jobs" in read(response)
    operator.post(ACT, {"proposal": read_packed(response)})
    assert Job.objects.filter(state="READY").count() == 2


def test_a_search_in_errors_neither_counts_nor_touches_what_is_masked(operator):
    shown, hidden = make_finished(2)
    Job.objects.filter(pk=shown.pk).update(error_message="cannot reach host")
    Job.objects.filter(pk=hidden.pk).update(error_message="password=host123 refused")
    filters = urlencode({"state": "FAILED", "error": "host"})
    response = operator.post(ACT, {"verb": "retry", "all": "1", "filters": filters})
    page = read(response)
    assert "How many there are was not counted" in page
    assert str(shown.pk)[-8:] in page
    assert str(hidden.pk)[-8:] not in page
    operator.post(ACT, {"proposal": read_packed(response)})
    operation = Operation.objects.get()
    assert (operation.state, operation.done, operation.seen) == ("DONE", 1, 1)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"verb": "retry"}, "No job is ticked."),
        ({"verb": "retry", "ids": ["1"]}, "What is ticked is not a job."),
        ({"verb": "explode", "ids": ["1"]}, "There is no such act."),
        ({"verb": "reveal", "ids": ["1"]}, "There is no such act."),
        ({"verb": "retry", "ids": ["x"] * 501}, "At most 500 jobs can be ticked"),
        ({"verb": "retry", "all": "1", "filters": "state=GONE"}, "The filters are not understood"),
        ({"proposal": "forged"}, "This confirmation was not made by this console."),
    ],
)
def test_a_form_that_means_nothing_is_answered_with_a_sentence(operator, fields, sentence):
    response = operator.post(ACT, {**fields, "next": LIST}, follow=True)
    assert response.redirect_chain[-1][0] == LIST
    assert sentence in read(response)
    assert not Operation.objects.exists()


def test_the_way_back_never_leads_away(operator):
    response = operator.post(ACT, {"verb": "retry", "next": "//evil.example"})
    assert response.headers["Location"] == reverse("dbq:job-list")


def test_nothing_acts_by_get(operator):
    operation = start()
    for address in (
        ACT,
        reverse("dbq:failure-act", args=["abc"]),
        reverse("dbq:operation-stop", args=[operation.pk]),
        reverse("dbq:operation-run", args=[operation.pk]),
    ):
        assert operator.get(address).status_code == 405
    operation.refresh_from_db()
    assert operation.is_running


def test_every_act_wants_a_csrf_token(operator):
    operation = start()
    operator.handler.enforce_csrf_checks = True
    for address in (ACT, reverse("dbq:operation-stop", args=[operation.pk])):
        assert operator.post(address, {"verb": "retry"}).status_code == 403


# Permissions


@pytest.mark.parametrize("verb", ["requeue", "cancel", "delete", "cleanup"])
def test_a_verb_without_its_permission_is_refused_and_recorded(operator, verb):
    [job] = make_finished(1)
    response = operator.post(ACT, {"verb": verb, "ids": [str(job.pk)]})
    assert response.status_code == 403
    operation = Operation.objects.get()
    assert (operation.verb, operation.state, operation.actor_name) == (verb, "REFUSED", "olga")


def test_a_permission_lost_before_the_confirmation_counts(operator):
    [job] = make_finished(1)
    packed = read_packed(operator.post(ACT, {"verb": "retry", "ids": [str(job.pk)]}))
    operator.user.user_permissions.remove(Permission.objects.get(codename="retry_job"))
    assert operator.post(ACT, {"proposal": packed}).status_code == 403
    assert Operation.objects.get().is_refused
    job.refresh_from_db(fields=["state"])
    assert job.state == State.FAILED


def test_a_proposal_of_one_account_is_nothing_to_another(operator, client):
    [job] = make_finished(1)
    packed = read_packed(operator.post(ACT, {"verb": "retry", "ids": [str(job.pk)]}))
    client.force_login(make_user("otto", "view_job", "retry_job", "view_operation"))
    response = client.post(ACT, {"proposal": packed, "next": LIST}, follow=True)
    assert "This confirmation was made for another account." in read(response)
    assert not Operation.objects.exists()


def test_operations_are_seen_only_with_their_permission(client):
    client.force_login(make_user("vera", "view_job"))
    operation = start()
    assert client.get(LIST).status_code == 403
    assert client.get(reverse("dbq:operation-detail", args=[operation.pk])).status_code == 403


def test_who_may_not_retry_may_not_stop_or_carry_out_a_retry(client):
    client.force_login(make_user("vera", "view_job", "view_operation"))
    operation = start()
    page = client.get(reverse("dbq:operation-detail", args=[operation.pk]))
    assert b"/stop/" not in page.content and b"/run/" not in page.content
    for name in ("dbq:operation-stop", "dbq:operation-run"):
        assert client.post(reverse(name, args=[operation.pk])).status_code == 403
    operation.refresh_from_db()
    assert (operation.is_running, operation.done) == (True, 0)


# An operation while it runs


def test_a_running_operation_shows_how_far_it_is_and_can_be_stopped(operator):
    make_worker()
    operation = start()
    bulk.run_chunk("default")
    address = reverse("dbq:operation-detail", args=[operation.pk])
    response = operator.get(address)
    page = read(response)
    assert "200 of 300" in page
    assert '<progress value="200" max="300"' in response.content.decode()
    assert "dbq:tick" in response.content.decode()
    response = operator.post(
        reverse("dbq:operation-stop", args=[operation.pk]), {"reason": "wrong queue"}, follow=True
    )
    assert "Stopped by olga. wrong queue" in read(response)
    assert "dbq:tick" not in response.content.decode()
    operation.refresh_from_db()
    assert (operation.state, operation.done) == ("STOPPED", 200)


def test_without_a_worker_the_page_says_so_and_does_it_itself(operator):
    operation = start()
    address = reverse("dbq:operation-detail", args=[operation.pk])
    assert "No worker lives that would carry this out" in read(operator.get(address))
    operator.post(reverse("dbq:operation-run", args=[operation.pk]))
    operation.refresh_from_db()
    assert (operation.state, operation.done) == ("DONE", 300)


def test_the_refresh_is_a_part_of_the_page(operator):
    operation = start()
    address = reverse("dbq:operation-detail", args=[operation.pk])
    response = operator.get(address, headers={"HX-Request": "true"})
    assert b"<html" not in response.content
    assert response.content.lstrip().startswith(b'<div class="stack" id="operation"')
    assert "HX-Request" in response.headers["Vary"]


def test_each_job_has_its_outcome_and_reason(operator):
    operation = start()
    Job.objects.filter(state="FAILED").first().retry()
    bulk.run_to_end(operation)
    address = reverse("dbq:operation-detail", args=[operation.pk])
    page = read(operator.get(address, {"outcome": "SKIPPED"}))
    assert "The job waits for a worker already (Ready)." in page
    response = operator.get(address, {"outcome": "DONE"})
    assert response.content.count(b'id="item-') == 50
    assert "after=" in response.content.decode()


@pytest.mark.parametrize("place", ["-1", "x", "9" * 40, "٣", "1;drop"])
def test_a_place_that_is_none_begins_at_the_beginning(operator, place):
    operation = start()
    address = reverse("dbq:operation-detail", args=[operation.pk])
    for name in ("before", "after"):
        assert operator.get(LIST, {name: place}).status_code == 200
        assert operator.get(address, {name: place}).status_code == 200


def test_an_unknown_operation_is_not_found(operator):
    assert operator.get(reverse("dbq:operation-detail", args=[999])).status_code == 404


# The record


def test_every_act_is_listed_the_refused_ones_too(operator):
    [job] = make_finished(1)
    act(ALICE, "retry", job, reason="<script>alert(1)</script>")
    act(Actor("2", "bob"), "retry", job)
    response = operator.get(LIST)
    page = response.content.decode()
    assert "Retried" in page and "alice" in page
    assert "Refused" in page and "bob" in page
    assert "The job waits for a worker already" in page
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"verb": "retry"}, {"alice", "bob"}),
        ({"verb": "pause_queue"}, {"carol"}),
        ({"actor": "ali"}, {"alice"}),
        ({"state": "REFUSED"}, {"bob"}),
        ({"state": ["DONE", "REFUSED"], "verb": "retry"}, {"alice", "bob"}),
        ({"verb": "none", "state": "x", "job": "y"}, {"alice", "bob", "carol"}),
    ],
)
def test_the_record_can_be_narrowed_down(operator, asked, found):
    [job] = make_finished(1)
    act(ALICE, "retry", job)
    act(Actor("2", "bob"), "retry", job)
    act(Actor("3", "carol"), "pause_queue", "mail")
    page = operator.get(LIST, asked).content.decode()
    assert {name for name in ("alice", "bob", "carol") if f"<bdi>{name}</bdi>" in page} == found


def test_the_acts_on_one_job_include_those_on_many(operator):
    [job] = make_finished(1)
    bulk.start(ALICE, bulk.propose("retry", ids=[job.pk]))
    make_finished(1)
    bulk.start(Actor("2", "bob"), bulk.propose("retry", [["state", "in", ["FAILED"]]]))
    page = operator.get(LIST, {"job": str(job.pk)}).content.decode()
    assert "alice" in page and "bob" not in page


def test_the_record_is_paged_both_ways(operator):
    Operation.objects.bulk_create(
        Operation(created=dialect().read_clock(), verb="retry", actor_name=f"user{n}") for n in range(120)
    )
    first = operator.get(LIST)
    assert first.content.count(b'id="operation-') == 50
    second_address = re.search(r'rel="next" href="([^"]+)"', first.content.decode())[1]
    second = operator.get(second_address)
    names = re.findall(r"<bdi>user(\d+)</bdi>", second.content.decode())
    assert names == [str(n) for n in range(69, 19, -1)]
    back = re.search(r'rel="prev" href="([^"]+)"', second.content.decode())[1]
    names = re.findall(r"<bdi>user(\d+)</bdi>", operator.get(back).content.decode())
    assert names == [str(n) for n in range(119, 69, -1)]


def test_nothing_done_yet_is_said(operator):
    assert "Nobody has done anything yet" in read(operator.get(LIST))
    assert "No operation matches" in read(operator.get(LIST, {"verb": "retry"}))


# Cost


@contextmanager
def reading_at_most(amount):
    """Count what reads rows; time limits and savepoints cost each database something else."""
    with CaptureQueriesContext(connection) as queries:
        yield
    reads = [query["sql"] for query in queries if " FROM " in query["sql"].upper()]
    assert len(reads) <= amount, "\n".join(reads)


def test_the_list_costs_the_same_for_one_row_and_for_fifty(operator):
    for amount in (1, 60):
        for _ in range(amount):
            act(ALICE, "pause_queue", "mail")
        with reading_at_most(5):
            operator.get(LIST)


def test_an_operation_costs_the_same_for_any_size(operator):
    operation = start(450)
    bulk.run_to_end(operation)
    with reading_at_most(7):
        operator.get(reverse("dbq:operation-detail", args=[operation.pk]))


def test_a_confirmation_costs_the_same_for_any_size(operator):
    make_finished(300)
    with reading_at_most(9):
        operator.post(ACT, {"verb": "retry", "all": "1", "filters": "state=FAILED"})

"""The probes: what everybody may ask, what they are told, and what it costs."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dbq import probes
from dbq.health import Finding
from dbq.models import Job, Queue
from tests.helpers import Race, make_worker
from tests.outage import SECRET, out_of_reach, read_only

LIVE, READY, QUEUE = "/healthz/live", "/healthz/ready", "/healthz/queue"
every_probe = pytest.mark.parametrize("address", [LIVE, READY, QUEUE])
alone = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_remembered():
    forget()
    yield
    forget()


def forget() -> None:
    probes.obstacles.forget()
    probes.all_findings.forget()


@pytest.fixture
def client() -> Client:
    """One that shows what a server would send, errors too."""
    return Client(raise_request_exception=False)


def test_the_addresses_are_these():
    names = [reverse(f"dbq_health:{name}") for name in ("live", "ready", "queue")]
    assert names == [LIVE, READY, QUEUE]


# Live


def test_live_needs_no_database(client):
    # Without the mark, pytest-django refuses every connection.
    response = client.get(LIVE)
    assert (response.status_code, response.content) == (200, b"live\n")
    assert response["Content-Type"] == "text/plain; charset=utf-8"


# Ready


@pytest.mark.django_db
def test_ready_when_the_database_can_be_worked_with(client):
    # Whatever becomes of the queues: another web server would not serve them better.
    Job.objects.create(name="edit")
    response = client.get(READY)
    assert (response.status_code, response.content) == (200, b"ready\n")


@alone
def test_not_ready_without_the_database(client):
    with out_of_reach():
        response = client.get(READY)
    assert (response.status_code, response.content) == (503, b"The database does not answer.\n")


@alone
def test_not_ready_when_the_database_takes_no_writes(client):
    with read_only():
        response = client.get(READY)
    assert (response.status_code, response.content) == (503, b"The database takes no writes.\n")


@alone
@every_probe
def test_atomic_requests_do_not_turn_an_outage_into_an_error(client, monkeypatch, address):
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    with out_of_reach():
        response = client.get(address)
    assert response.status_code == (200 if address == LIVE else 503)


# Queue


@pytest.mark.django_db
def test_queues_that_are_well(client):
    response = client.get(QUEUE)
    assert response.status_code == 200
    assert response.json() == {"status": 0, "verdict": "well", "findings": []}


@pytest.mark.django_db
def test_queues_that_are_degraded_are_told_and_still_200(client):
    make_worker(queue_names=["default"])
    job = Job.objects.create(name="edit")
    Job.objects.filter(pk=job.pk).update(name="gone")
    response = client.get(QUEUE)
    assert response.status_code == 200
    assert response.json()["status"] == 1


@pytest.mark.django_db
def test_queues_that_are_down_are_503_with_reasons(client):
    Job.objects.create(name="edit", queue_name="mail")
    response = client.get(QUEUE)
    assert response.status_code == 503
    assert response.json() == {
        "status": 2,
        "verdict": "down",
        "findings": [
            {
                "level": "alarm",
                "code": "unserved",
                "queue": "mail",
                "reason": "No live worker serves it, with 1 job due.",
            }
        ],
    }


@pytest.mark.django_db
def test_a_stranger_hears_no_names_of_jobs_or_people_and_no_workspaces(client):
    job = Job.objects.create(name="edit", workspace={"customer": "Erika"})
    Job.objects.filter(pk=job.pk).update(name="import_of_erika")
    Queue.objects.create(
        name="default", paused_at=timezone.now(), paused_by="olga", paused_reason="Erika complained"
    )
    body = client.get(QUEUE).content.decode().lower()
    assert '"unknown"' in body
    assert '"paused"' in body
    for secret in ("erika", "olga", "edit", "detail"):
        assert secret not in body


@alone
@pytest.mark.parametrize("address", [READY, QUEUE])
def test_a_stranger_does_not_hear_where_the_database_is(client, address):
    with out_of_reach():
        body = client.get(address).content.decode()
    assert "The database does not answer." in body
    for secret in ("127.0.0.1", SECRET, "no-such-folder", "OperationalError"):
        assert secret not in body


# Who may ask, and how


@pytest.mark.django_db
@every_probe
def test_head_is_as_good_as_get_and_nothing_else_is(client, address):
    assert client.head(address).status_code == 200
    assert client.head(address).content == b""
    for method in ("post", "put", "patch", "delete"):
        assert getattr(client, method)(address).status_code == 405


@pytest.mark.django_db
@every_probe
@pytest.mark.parametrize("suffix", ["/", "/x", ".json"])
def test_the_routes_are_exact(client, address, suffix):
    assert client.get(address + suffix).status_code == 404


@pytest.mark.django_db
@every_probe
def test_a_project_that_asks_everybody_to_log_in_does_not_ask_probes(client, settings, address):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert client.get(address).status_code == 200


@pytest.mark.django_db
@every_probe
def test_answers_are_not_kept_on_their_way_and_set_no_cookie(client, address):
    response = client.get(address)
    assert "no-store" in response["Cache-Control"]
    assert not response.cookies


# What it costs


@pytest.mark.django_db
@pytest.mark.parametrize("address", [READY, QUEUE])
def test_a_flood_of_questions_is_one_to_the_database(client, address):
    client.get(address)
    with CaptureQueriesContext(connection) as captured:
        for _ in range(50):
            client.get(address)
    assert len(captured) == 0


def test_an_answer_is_looked_for_anew_after_a_moment(monkeypatch):
    looks = []
    answer = probes.SharedAnswer(lambda: looks.append(1) or [])
    assert [answer.get(), answer.get()] == [[], []]
    assert len(looks) == 1
    monkeypatch.setattr(probes, "SHARED_SECONDS", -1)
    answer.get()
    assert len(looks) == 2


def test_whoever_asks_while_another_waits_for_the_database_is_not_held_up(monkeypatch):
    monkeypatch.setattr(probes, "WAIT_SECONDS", 0)
    looking, may_end = threading.Event(), threading.Event()

    def look():
        looking.set()
        may_end.wait(30)
        return []

    answer = probes.SharedAnswer(look)
    contest = Race()
    contest.start("first", answer.get)
    assert looking.wait(30)
    [found] = answer.get()
    may_end.set()
    assert isinstance(found, Finding)
    assert found.reason == "The database has not answered the question before this."
    assert contest.join() == {"first": []}
    assert answer.get() == []

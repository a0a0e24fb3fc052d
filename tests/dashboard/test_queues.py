"""Pausing and resuming queues from the console, with and without scripts."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from dashboard import snapshots
from dbq.models import Job, Operation, Queue
from tests.dashboard.console import ask_for, log_in, make_minute, read
from tests.helpers import claim, make_worker

pytestmark = pytest.mark.django_db
LIST = reverse("dbq:queue-list")
PAUSE = reverse("dbq:queue-pause", args=["mail"])
RESUME = reverse("dbq:queue-resume", args=["mail"])


@pytest.fixture
def operator(client):
    return log_in(client, "pause_queue")


def test_the_page_of_a_pause_says_what_it_will_do(operator):
    Job.objects.create(name="edit", queue_name="mail")
    page = read(operator.get(PAUSE))
    assert "No more jobs of the queue are claimed" in page
    assert "1 waiting" in page
    assert not Queue.objects.exists()


def test_a_queue_is_paused_with_reason_and_end_and_it_is_recorded(operator):
    response = operator.post(PAUSE, {"reason": "provider is down", "minutes": "60", "next": LIST})
    assert response["Location"] == LIST
    queue = Queue.objects.get()
    assert (queue.paused_by, queue.paused_reason) == ("olga", "provider is down")
    assert timedelta(minutes=59) < queue.paused_until - timezone.now() <= timedelta(minutes=60)
    [record] = Operation.objects.all()
    assert (record.verb, record.queue_name, record.reason, record.state) == (
        "pause_queue",
        "mail",
        "provider is down",
        "DONE",
    )
    page = read(operator.get(LIST))
    assert "provider is down" in page
    assert "is paused until" in page


def test_a_second_pause_is_an_explained_refusal(operator):
    Queue(name="mail").pause(by="ann")
    page = read(operator.post(PAUSE, {"reason": ""}, follow=True))
    assert "was paused already, by ann" in page
    assert Operation.objects.get().state == "REFUSED"


def test_a_queue_is_resumed(operator):
    Queue(name="mail").pause(by="ann")
    page = read(operator.post(RESUME, follow=True))
    assert "is resumed" in page
    assert not Queue.objects.paused().exists()


def test_a_queue_is_emptied_by_way_of_the_confirmation(client):
    log_in(client, "cancel_job")
    Job.objects.create(name="edit", queue_name="mail")
    Job.objects.create(name="edit", queue_name="mail", run_after=timezone.now() + timedelta(hours=1))
    Job.objects.create(name="edit", queue_name="other")
    page = client.get(LIST).content.decode()
    [filters] = re.findall(r'name="filters" value="([^"]+mail)"', page)
    form = {"all": "1", "filters": unescape(filters), "verb": "cancel", "next": LIST}
    confirmation = client.post(reverse("dbq:jobs-act"), form)
    assert "2 jobs" in read(confirmation)
    assert Job.objects.filter(state="CANCELLED").count() == 0
    proposal = unescape(re.search(r'name="proposal" value="([^"]+)"', confirmation.content.decode())[1])
    client.post(reverse("dbq:jobs-act"), {"proposal": proposal, "reason": "flood"})
    assert sorted(Job.objects.filter(state="CANCELLED").values_list("queue_name", flat=True)) == ["mail"] * 2
    assert "Empty…" in read(client.get(LIST))  # the other one


def test_emptying_is_offered_to_whom_it_is_allowed_where_something_waits(client):
    make_worker(queue_names=["idle"])
    log_in(client, "cancel_job")
    assert "Empty…" not in read(client.get(LIST))
    Job.objects.create(name="edit", queue_name="idle")
    snapshots.forget()
    page = read(client.get(LIST))
    assert "Empty… idle" in page
    assert "Pause" not in page
    assert "Empty…" not in read(client.get(reverse("dbq:overview")))
    log_in(client, "pause_queue", name="paul")
    assert "Empty…" not in read(client.get(LIST))


def test_a_wrong_time_pauses_nothing_and_keeps_the_reason(operator):
    response = operator.post(PAUSE, {"reason": "because", "minutes": "999999999"})
    assert response.status_code == 200
    assert 'value="because"' in response.content.decode()
    assert not Queue.objects.exists()


def test_htmx_gets_the_sheet_alone(operator):
    response = operator.get(PAUSE, headers=ask_for("sheet-body"))
    assert "<html" not in response.content.decode()
    assert "data-close" in response.content.decode()


def test_a_name_that_no_queue_can_have_is_not_found(operator):
    assert operator.get(reverse("dbq:queue-pause", args=["a b"])).status_code == 404
    assert operator.post(reverse("dbq:queue-pause", args=["x" * 51])).status_code == 404


def test_the_list_refreshes_by_its_table_alone(operator):
    make_worker(queue_names=["mail"])
    response = operator.get(LIST, headers=ask_for("queues"))
    assert response.content.decode().lstrip().startswith('<div class="stack" id="queues"')


def test_the_page_of_queues_tells_the_usual_and_the_slowest_beside_p95(operator):
    for amount, wait in ((60, 0.2), (36, 2), (4, 30)):
        make_minute("mail", completed=amount, wait=wait, run=wait, ago=amount // 4)
    page = read(operator.get(LIST))
    spread = re.search(r"p50 (\S+) ms p99 (\S+) s", page)
    assert 200 <= float(spread[1]) <= 240
    assert 30 <= float(spread[2]) <= 36
    # The overview keeps to p95, and the rest is shown on hover.
    page = operator.get(reverse("dbq:overview")).content.decode()
    assert "p99" in page
    assert '<p class="row-note">p99' not in page


def test_a_queue_shows_how_busy_the_threads_are_that_serve_it(operator):
    both = make_worker(name="both", queue_names=["mail", "default"], threads=4)
    make_worker(name="mail", queue_names=["mail"], threads=2)
    for name in ("mail", "default", "default"):
        Job.objects.create(name="edit", queue_name=name)
        claim(worker=both, queue_name=name)
    page = operator.get(LIST).content.decode()
    assert re.findall(r"<span>(\d) of (\d)</span>", page) == [("3", "4"), ("3", "6")]


def test_who_goes_back_in_history_gets_the_whole_page(operator):
    response = operator.get(LIST, headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<html" in response.content.decode()


def test_many_queues_come_in_pages_and_can_be_searched(operator, monkeypatch):
    monkeypatch.setattr("dashboard.views.queues.QUEUES_PER_PAGE", 2)
    make_worker(queue_names=["a-mail", "b-mail", "c-file", "d-mail"])
    page = operator.get(LIST)
    assert find_names(page) == ["a-mail", "b-mail"]
    assert "Page 1 of 2 · 4 queues by name" in read(page)
    assert find_names(operator.get(LIST, {"page": "2"})) == ["c-file", "d-mail"]
    assert find_names(operator.get(LIST, {"page": "99"})) == ["c-file", "d-mail"]
    assert find_names(operator.get(LIST, {"page": "x"})) == ["a-mail", "b-mail"]
    assert find_names(operator.get(LIST, {"name": "MAIL", "page": "2"})) == ["d-mail"]
    page = operator.get(LIST, {"name": "<nothing>"})
    assert "No queue has this in its name" in read(page)
    assert 'value="&lt;nothing&gt;"' in page.content.decode()


def find_names(response):
    return re.findall(r'<tr id="queue-([\w-]+)"', response.content.decode())


def test_a_page_of_queues_refreshes_itself_and_not_the_first(operator, monkeypatch):
    monkeypatch.setattr("dashboard.views.queues.QUEUES_PER_PAGE", 1)
    make_worker(queue_names=["a", "b"])
    page = operator.get(LIST, {"page": "2"}, headers=ask_for("queues"))
    assert f'hx-get="{LIST}?page=2"' in page.content.decode()
    assert find_names(page) == ["b"]

"""Who works, who stopped, and what to do about it."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from dashboard.queries.workers import list_workers
from dbq.dialects import get_dialect
from dbq.models import Job, Operation, Worker
from dbq.states import State
from tests.dashboard.console import log_in, read, reading_at_most
from tests.helpers import assert_state, claim, let_lease_run_out, make_worker

pytestmark = pytest.mark.django_db
LIST = reverse("dbq:worker-list")
RESCUE = reverse("dbq:workers-rescue")


@pytest.fixture
def operator(client):
    return log_in(client, "change_worker")


def test_no_worker_is_said_in_words(operator):
    assert "No worker is alive" in read(operator.get(LIST))


def test_a_worker_shows_its_sign_of_life_work_memory_and_version(operator):
    worker = make_worker(
        name="web-1:7",
        queue_names=["default", "mail"],
        memory_bytes=61_000_000,
        version="0.1.0",
        jobs_done=42,
    )
    Job.objects.create(name="edit")
    claim(worker=worker)
    page = read(operator.get(LIST))
    for text in ("1 alive", "web-1:7", "61 MB", "dbq 0.1.0", "default", "mail", "edit", "42"):
        assert text in page


def test_a_worker_shows_how_many_of_its_threads_are_busy(operator):
    worker = make_worker(queue_names=["default"], threads=8)
    assert "0 of 8" in read(operator.get(LIST))
    for _ in range(3):
        Job.objects.create(name="edit")
    claim(worker=worker)
    claim(worker=worker)
    page = operator.get(LIST)
    assert "2 of 8" in read(page)
    assert '<progress value="2" max="8"' in page.content.decode()


def test_jobs_claimed_ahead_keep_no_thread_busy(operator):
    worker = make_worker(queue_names=["default"], threads=1)
    for _ in range(2):
        Job.objects.create(name="edit")
        claim(worker=worker)
    assert "1 of 1" in read(operator.get(LIST))


def test_the_workers_of_one_queue_are_shown_alone(operator):
    make_worker(name="a", queue_names=["mail", "default"])
    make_worker(name="b", queue_names=["default"])
    for name in ("lost", "mail"):
        Job.objects.create(name="edit", queue_name=name)
    queues = operator.get(reverse("dbq:queue-list")).content.decode()
    assert f'href="{LIST}?queue=mail"' in queues
    response = operator.get(LIST, {"queue": "mail"})
    page = read(response)
    assert "1 alive Queue: mail" in page
    assert re.findall(r'class="row-title">(.)<', response.content.decode()) == ["a"]
    assert f'hx-get="{LIST}?queue=mail"' in response.content.decode()
    # Of a worker that serves several queues, each job says which it is of.
    claim(worker=Worker.objects.get(name="a"), queue_name="mail")
    assert "mail · edit" in read(operator.get(LIST, {"queue": "mail"}))
    # What needs an operator is said whatever is shown.
    assert "Nobody serves lost" in page


def test_a_queue_without_workers_is_said_in_words(operator):
    make_worker(queue_names=["default"])
    page = operator.get(LIST, {"queue": "<b>"}).content.decode()
    assert "No worker serves this queue" in page
    assert "<bdi>&lt;b&gt;</bdi>" in page


def test_another_version_than_the_others_stands_out(operator):
    for name, version in (("a", "2"), ("b", "2"), ("c", "1")):
        make_worker(name=name, version=version)
    assert "different versions" in read(operator.get(LIST))


def test_a_worker_that_misses_its_signs_of_life_is_late(operator):
    make_worker(beat=timezone.now() - timedelta(seconds=40))
    assert "late" in read(operator.get(LIST))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (90, "The clock of this web server is 1 min 30 s behind the database's."),
        (-30, "The clock of this web server is 30 s ahead of the database's."),
        (4, ""),
    ],
)
def test_clocks_that_disagree_are_said(operator, monkeypatch, seconds, words):
    dialect = type(get_dialect("default"))
    monkeypatch.setattr(dialect, "read_clock", lambda self: timezone.now() + timedelta(seconds=seconds))
    page = unescape(read(operator.get(LIST)))
    assert ("The clock of this web server" in page) == bool(words)
    assert words in page


def test_a_queue_that_nobody_serves_comes_with_the_command_that_would(operator):
    Job.objects.create(name="edit", queue_name="lost")
    page = read(operator.get(LIST))
    assert "Nobody serves lost" in page
    assert "manage.py worker lost" in page


def test_a_worker_is_asked_to_stop_after_being_told_what_that_means(operator):
    worker = make_worker(name="web-1:7")
    address = reverse("dbq:worker-stop", args=[worker.pk])
    assert "claims nothing more" in read(operator.get(address))
    assert not Worker.objects.get().stop_requested
    page = read(operator.post(address, {"reason": "leaks"}, follow=True))
    assert "asked to stop" in page
    assert "stopping" in page
    assert Worker.objects.get().stop_requested
    assert Operation.objects.get().reason == "leaks"


def test_a_dead_worker_cannot_be_stopped_and_that_is_said(operator):
    worker = make_worker()
    let_lease_run_out(worker)
    page = read(operator.post(reverse("dbq:worker-stop", args=[worker.pk]), follow=True))
    assert "does not live any more" in page


def test_jobs_of_a_dead_worker_are_rescued(operator):
    dead = make_worker(name="gone:1")
    job = Job.objects.create(name="edit")
    claim(worker=dead)
    let_lease_run_out(dead)
    assert "1 job is held by a worker that is dead" in read(operator.get(LIST))
    assert "gone:1" in read(operator.get(RESCUE))
    page = read(operator.post(RESCUE, follow=True))
    assert "Rescued 1 job" in page
    assert_state(job, State.READY)


def test_nothing_to_rescue_is_said(operator):
    assert "No dead worker holds jobs" in read(operator.get(RESCUE))
    assert "No dead worker holds jobs" in read(operator.post(RESCUE, follow=True))


def test_jobs_whose_worker_has_no_row_any_more_are_seen(operator):
    worker = make_worker()
    Job.objects.create(name="edit")
    claim(worker=worker)
    Worker.objects.all()._raw_delete("default")
    page = read(operator.get(LIST))
    assert f"worker {worker.pk}" in page
    assert "dead" in page


def test_the_budget_holds_with_many_workers(operator):
    for place in range(20):
        worker = make_worker(name=f"w{place}", queue_names=["default"])
        Job.objects.create(name="edit")
        claim(worker=worker)
    with reading_at_most(13):
        operator.get(LIST)


def test_of_many_jobs_and_queues_of_a_worker_the_first_are_shown(operator):
    worker = make_worker(name="full", queue_names=["default", *(f"queue-{place:02}" for place in range(14))])
    other = make_worker(name="other")
    for place in range(8):
        Job.objects.create(name="edit")
        [job] = claim(worker=worker)
        Job.objects.filter(pk=job.pk).update(started=timezone.now() - timedelta(minutes=place))
    Job.objects.create(name="edit")
    claim(worker=other)
    [full, last] = list_workers()
    assert [report.worker.name for report in (full, last)] == ["full", "other"]
    assert (len(full.jobs), full.held, full.more) == (5, 8, 3)
    # Those it has been at for the longest.
    started = [job.started for job in full.jobs]
    assert started == sorted(started)
    assert min(started) < timezone.now() - timedelta(minutes=6)
    assert (len(last.jobs), last.more) == (1, 0)
    page = read(operator.get(LIST))
    assert "queue-08" in page
    assert "queue-09" not in page
    assert "and 5 more" in page
    assert "and 3 more" in page

"""Is it healthy: the overview's verdict, totals, queues and chart."""

import re
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape

from dashboard import snapshots
from dashboard.limits import TookTooLong
from dashboard.queries import live
from dashboard.queries.queues import report_queues
from dashboard.queries.throughput import RANGES, read_throughput
from dbq.identifiers import uuid7
from dbq.models import Job, Operation, Queue, Rollup, Worker
from dbq.states import State
from tests.dashboard.console import ask_for, log_in, make_finished, make_minute, read, reading_at_most
from tests.helpers import claim, let_lease_run_out, let_time_pass, make_job, make_worker

pytestmark = pytest.mark.django_db
# An engine refuses to run a task within somebody else's transaction.
with_engine = pytest.mark.django_db(transaction=True)
OVERVIEW = reverse("dbq:overview")
BUDGET = 12


def find(name):
    return next(queue for queue in report_queues().queues if queue.name == name)


def make_id(moment):
    """An id as it would have been given then."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | (uuid7().int & (2**80 - 1)))


# Totals


@with_engine
def test_every_state_is_counted_and_scheduled_jobs_apart(client):
    for state in (State.FAILED, State.COMPLETED, State.CANCELLED, State.READY, State.PROCESSING):
        make_job(state)
    Job.objects.create(name="edit")
    Job.objects.create(name="edit", run_after=timezone.now() + timedelta(hours=1))
    queue = find("default")
    counted = (queue.new, queue.ready, queue.scheduled, queue.processing)
    assert [number.value for number in counted] == [1, 1, 1, 1]
    assert (queue.completed.value, queue.failed.value, queue.cancelled.value) == (1, 1, 1)
    page = read(log_in(client).get(OVERVIEW))
    for word in ("New", "Ready", "Scheduled", "Processing", "Completed", "Failed", "Cancelled"):
        assert f"{word} 1" in page


def test_counting_stops_at_the_limit_and_says_so(client, monkeypatch):
    monkeypatch.setattr(live, "COUNT_LIMIT", 5)
    monkeypatch.setattr(live, "LOOKED_AT", 4)
    Job.objects.bulk_create([Job(name="edit", queue_name="full") for _ in range(8)])
    Job.objects.bulk_create([Job(name="edit", queue_name="small") for _ in range(3)])
    assert [str(find("full").due), str(find("full").new)] == ["5+", "5+"]
    assert [str(find("small").due), str(find("small").new)] == ["3", "3"]
    assert "5+" in read(log_in(client).get(OVERVIEW))


def test_of_many_due_jobs_the_states_are_told_by_their_shares(monkeypatch):
    monkeypatch.setattr(live, "LOOKED_AT", 9)
    Job.objects.bulk_create([Job(name="edit") for _ in range(40)])
    queue = find("default")
    assert str(queue.due) == "40"
    assert str(queue.new) == "≈ 40"
    assert str(queue.ready) == "0"


def test_a_full_lane_of_scheduled_jobs_makes_every_queue_s_number_a_lower_bound(monkeypatch):
    monkeypatch.setattr(live, "COUNT_LIMIT", 5)
    later = timezone.now() + timedelta(hours=1)
    for name in ("a", "b"):
        Job.objects.bulk_create([Job(name="edit", queue_name=name, run_after=later) for _ in range(4)])
    assert {str(find(name).scheduled)[-1] for name in ("a", "b")} == {"+"}


def test_the_budget_holds_with_many_queues(client):
    for place in range(30):
        Job.objects.create(name="edit", queue_name=f"queue-{place:02}")
        make_minute(f"queue-{place:02}", completed=3, failed=1, wait=1, run=2)
        make_worker(name=f"w{place}", queue_names=[f"queue-{place:02}"])
    make_finished(20)
    log_in(client)
    with reading_at_most(BUDGET):
        response = client.get(OVERVIEW)
    assert "All 31 queues" in read(response)


def test_of_many_queues_those_that_need_a_look_come_first_and_then_the_fullest(client, monkeypatch):
    monkeypatch.setattr("dashboard.views.overview.QUEUES_SHOWN", 3)
    make_worker(queue_names=["calm", "full", "fuller", "idle"])
    for name, amount in (("calm", 1), ("full", 2), ("fuller", 3), ("lost", 1)):
        Job.objects.bulk_create([Job(name="edit", queue_name=name) for _ in range(amount)])
    page = log_in(client).get(OVERVIEW).content.decode()
    assert re.findall(r'<tr id="queue-(\w+)"', page) == ["lost", "fuller", "full"]
    # The totals are of all.
    assert "New 7" in read(client.get(OVERVIEW))


def test_a_page_that_refreshes_itself_takes_what_another_was_given(client):
    log_in(client)
    Job.objects.create(name="edit")
    client.get(OVERVIEW, headers=ask_for("health"))
    Job.objects.create(name="edit")
    for key, snapshot in list(snapshots._snapshots.items()):
        snapshots._keep(key, replace(snapshot, made=snapshot.made - 2))
    with CaptureQueriesContext(connection) as queries:
        assert "New 1" in read(client.get(OVERVIEW, headers=ask_for("health")))
    assert not any("dbq_job" in query["sql"] for query in queries)
    assert "New 2" in read(client.get(OVERVIEW))


# Health, in words


def test_nothing_yet_is_a_state_of_its_own(client):
    page = read(log_in(client).get(OVERVIEW))
    assert "No job has been created yet" in page
    assert "manage.py create_job" in page


def test_all_is_well(client):
    make_worker(queue_names=["default"])
    Job.objects.create(name="edit")
    page = read(log_in(client).get(OVERVIEW))
    assert "All is well" in page
    assert "Jobs flow." in page


def test_a_queue_that_nobody_serves_is_an_alarm(client):
    make_worker(queue_names=["other"])
    Job.objects.bulk_create([Job(name="edit", queue_name="lost") for _ in range(3)])
    queue = find("lost")
    assert (queue.light, queue.reasons) == ("alarm", ["No live worker serves it; 3 wait."])
    assert "1 of 2 queues needs a look" in read(log_in(client).get(OVERVIEW))


def test_a_queue_whose_only_worker_stops_is_served_by_nobody():
    make_worker(queue_names=["default"], stop_requested=True)
    Job.objects.create(name="edit")
    assert find("default").light == "alarm"


def test_old_jobs_turn_the_light():
    make_worker(queue_names=["default"])
    Job.objects.create(name="edit")
    let_time_pass(12 * 60)
    queue = find("default")
    assert (queue.light, queue.reasons) == ("warning", ["The oldest job waits 12 min."])
    let_time_pass(30 * 60)
    snapshots.forget()
    assert find("default").light == "alarm"


def test_all_who_look_within_a_second_cost_one_count_and_an_act_shows_at_once(client):
    Job.objects.create(name="edit")
    assert find("default").due.value == 1
    Job.objects.create(name="edit")
    with CaptureQueriesContext(connection) as queries:
        assert find("default").due.value == 1
    assert not any("lane = 1" in query["sql"] for query in queries)
    log_in(client, "pause_queue").post(reverse("dbq:queue-pause", args=["mail"]), {"reason": "busy"})
    assert find("default").due.value == 2


def test_a_worker_that_left_meanwhile_has_orphaned_nothing():
    worker = make_worker(queue_names=["default"])
    make_job()
    claim(worker=worker)
    assert find("default").orphaned == 0
    Worker.objects.all().delete()
    assert find("default").orphaned == 0
    snapshots.forget()
    assert find("default").orphaned == 1


def test_failures_turn_the_light_by_their_share():
    make_worker(queue_names=["default"])
    make_minute("default", completed=92, failed=8)
    queue = find("default")
    assert (queue.light, queue.reasons) == ("warning", ["8 % failed in the last hour: 8 of 100."])


def test_few_failures_say_nothing():
    make_worker(queue_names=["default"])
    make_minute("default", completed=0, failed=2)
    assert find("default").light == "good"


def test_jobs_of_a_dead_worker_are_an_alarm(client):
    dead = make_worker(name="gone", queue_names=["default"])
    make_worker(name="here", queue_names=["default"])
    Job.objects.create(name="edit")
    claim(worker=dead)
    let_lease_run_out(dead)
    assert find("default").reasons == ["1 job is held by a dead worker."]


def test_a_pause_shows_who_why_and_until_when(client):
    make_worker(queue_names=["mail"])
    Job.objects.create(name="edit", queue_name="mail")
    Queue(name="mail").pause(by="ann", reason="provider is down.", until=timezone.now() + timedelta(hours=2))
    let_time_pass(600)
    queue = find("mail")
    assert queue.light == "paused"
    assert queue.reasons[0].startswith("Paused by ann 10 min ago: provider is down. Resumes by itself in 1 h")
    assert queue.drain == "paused"
    assert "provider is down" in read(log_in(client).get(OVERVIEW))


# Rates


def test_rates_percentiles_and_the_drain_estimate():
    make_worker(queue_names=["default"])
    for ago in range(9, 0, -1):
        make_minute("default", ago, created=10, completed=20, wait=2, run=0.5)
    hour_ago = timezone.now() - timedelta(hours=1)
    Job.objects.bulk_create([Job(id=make_id(hour_ago), name="edit") for _ in range(30)])
    queue = find("default")
    assert (queue.inflow, queue.outflow) == (9.0, 18.0)
    assert queue.rates.wait.p95 == pytest.approx(2, rel=0.2)
    assert queue.rates.run.p95 == pytest.approx(0.5, rel=0.2)
    assert queue.drain == "draining"
    assert queue.drain_seconds == pytest.approx(200)


def test_jobs_nobody_has_claimed_yet_belong_to_the_inflow():
    Job.objects.bulk_create([Job(name="edit") for _ in range(20)])
    queue = find("default")
    assert queue.inflow == 2.0
    assert queue.drain == "standing"


@with_engine
def test_deltas_that_are_not_folded_yet_are_counted():
    make_worker(queue_names=["default"])
    make_job(State.COMPLETED)
    assert find("default").rates.completed == 1


# The chart


@pytest.mark.parametrize("key", RANGES)
def test_every_range_has_all_its_buckets_and_loses_nothing(client, key):
    choice = RANGES[key]
    make_minute("default", 3, completed=5, failed=2, cancelled=1)
    throughput = read_throughput(key)
    assert len(throughput.buckets) == choice.buckets
    assert (throughput.completed, throughput.failed, throughput.cancelled) == (5, 2, 1)
    assert throughput.buckets[-1].end > timezone.now() >= throughput.buckets[-1].start
    page = log_in(client).get(OVERVIEW, {"range": key}).content.decode()
    assert "5 completed" in " ".join(page.split())


def test_a_bar_leads_to_its_jobs_and_the_table_says_the_same(client):
    make_minute("default", 3, completed=5)
    response = log_in(client).get(OVERVIEW, headers=ask_for("throughput"))
    page = response.content.decode()
    assert "state=COMPLETED&amp;state=FAILED&amp;state=CANCELLED&amp;finished_after=" in page
    assert "<details" in page
    assert "<html" not in page


def test_the_chart_shows_one_queue_that_a_select_offers(client):
    for name, amount in (("mail", 5), ("imports", 7)):
        make_finished(1, queue_name=name)
        make_minute(name, 3, completed=amount)
    log_in(client)
    page = client.get(OVERVIEW, {"queue": "mail", "range": "1h"}, headers=ask_for("throughput"))
    assert "5 completed" in " ".join(read(page).split())
    options = re.findall(r"<option([^>]*)>([^<]+)", page.content.decode())
    assert options == [(' value=""', "All queues"), ("", "imports"), (" selected", "mail")]
    # Another queue keeps the range, another range the queue.
    assert 'name="range" value="1h"' in page.content.decode()
    assert "?queue=mail&amp;range=24h" in page.content.decode()
    assert f'href="{OVERVIEW}?queue=imports#throughput"' in client.get(OVERVIEW).content.decode()


def test_a_queue_of_the_chart_in_which_nothing_has_ended_is_offered_too(client):
    page = log_in(client).get(OVERVIEW, {"queue": "<new>"}).content.decode()
    assert "<option selected>&lt;new&gt;</option>" in page


def test_a_range_that_does_not_exist_is_the_usual_one(client):
    response = log_in(client).get(OVERVIEW, {"range": "99y' OR 1=1"})
    assert 'aria-current="true">1 h<' in response.content.decode()


def test_a_slow_range_follows_the_page_where_scripts_run(client):
    log_in(client)
    client.cookies["dbq_script"] = "1"
    page = client.get(OVERVIEW, {"range": "30d"}).content.decode()
    assert 'hx-trigger="load"' in page
    assert "range=30d&amp;complete=1" in page
    complete = client.get(OVERVIEW, {"range": "30d", "complete": "1"}).content.decode()
    assert 'hx-trigger="load"' not in complete


# When the database is slow


@pytest.mark.parametrize("part", ["report_queues", "read_throughput"])
def test_a_part_that_takes_too_long_says_so_and_the_rest_is_there(client, monkeypatch, part):
    def be_slow(*arguments, **options):
        raise TookTooLong

    monkeypatch.setattr(f"dashboard.views.overview.{part}", be_slow)
    response = log_in(client).get(OVERVIEW)
    assert response.status_code == 200
    page = read(response)
    assert "stopped to spare the database" in page
    assert "Clean-up" in page


# The clean-up card


def test_the_last_clean_up_is_shown(client):
    now = timezone.now()
    Operation.objects.create(created=now, finished=now, actor_name="ann", verb="cleanup", done=1234)
    page = read(log_in(client, "run_cleanup").get(OVERVIEW, headers=ask_for("cleanup-card")))
    assert "by ann" in page
    assert "1,234 jobs deleted" in page


@pytest.mark.parametrize("hostile", ["<img src=x onerror=alert(1)>", "{{7*7}}", "%s{0.__class__}"])
def test_hostile_reasons_are_text(client, hostile):
    Queue(name="mail").pause(by=hostile, reason=hostile)
    page = log_in(client).get(OVERVIEW).content.decode()
    assert f"Paused by {escape(hostile)} just now: {escape(hostile)}." in page


def test_very_long_names_are_shown_whole(client):
    name = "q" * 50
    Job.objects.create(name="edit", queue_name=name)
    assert name in read(log_in(client).get(OVERVIEW))


def test_rollups_of_long_ago_are_not_read():
    Rollup.objects.create(
        minute=timezone.now() - timedelta(days=2), queue_name="default", name="edit", completed=9
    )
    assert report_queues().queues == []

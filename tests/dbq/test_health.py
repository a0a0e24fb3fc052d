"""What is not well, in words and as an exit status."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dbq import findings, limits
from dbq.health import judge_failures, judge_wait
from dbq.models import Job, Queue, Rollup, RollupDelta, Worker
from dbq.states import Lane
from tests.helpers import claim, dialect, let_lease_run_out, let_time_pass, make_worker, race
from tests.outage import SECRET, out_of_reach, read_only

pytestmark = pytest.mark.django_db
alone = pytest.mark.django_db(transaction=True)


def examine(*arguments: str) -> tuple[int, list[str]]:
    """The exit status of the command, and its lines."""
    out = StringIO()
    status: object = 0
    try:
        call_command("dbq_health", *arguments, stdout=out)
    except SystemExit as left:
        status = left.code
    return int(str(status)), out.getvalue().splitlines()


def find_codes(*queue_names: str) -> list[tuple[str, str, str]]:
    return [(found.level, found.code, found.queue_name) for found in findings.find(queue_names)]


def serve(*queue_names: str, **fields) -> Worker:
    return make_worker(queue_names=list(queue_names or ("default",)), **fields)


def make_minute(queue_name: str, *, completed: int, failed: int, minutes_ago: int = 5, model=Rollup) -> None:
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes_ago)
    model.objects.create(
        minute=minute, queue_name=queue_name, name="edit", completed=completed, failed=failed
    )


def rename(job: Job, name: str) -> None:
    Job.objects.filter(pk=job.pk).update(name=name)


# Well


def test_an_empty_database_is_well():
    assert examine() == (0, ["good: Nothing is wrong."])


def test_jobs_that_a_living_worker_is_about_to_run_are_well():
    serve()
    Job.objects.create(name="edit")
    assert examine() == (0, ["good: Nothing is wrong."])


# Nobody serves it


def test_due_jobs_that_nobody_serves_are_an_alarm():
    serve("other")
    Job.objects.create(name="edit", queue_name="mail")
    assert examine() == (2, ['alarm: Queue "mail": No live worker serves it, with 1 job due.'])


@pytest.mark.parametrize("fields", [{"stop_requested": True}, {"expires_at": None}])
def test_a_worker_that_is_told_to_stop_or_declared_dead_serves_nobody(fields):
    serve(**fields)
    Job.objects.create(name="edit")
    assert find_codes() == [("alarm", "unserved", "default")]


def test_a_worker_whose_lease_ran_out_serves_nobody():
    let_lease_run_out(serve())
    Job.objects.create(name="edit")
    assert find_codes() == [("alarm", "unserved", "default")]


def test_scheduled_jobs_that_nobody_serves_are_a_warning():
    Job.objects.create(name="edit", run_after=timezone.now() + timedelta(hours=1))
    assert examine() == (1, ['warning: Queue "default": No live worker serves it, with 1 job scheduled.'])


def test_a_job_whose_time_came_while_no_worker_lived_is_due():
    job = Job.objects.create(name="edit", run_after=timezone.now() + timedelta(hours=1))
    let_time_pass(3600 + 2400)
    assert Job.objects.get(pk=job.pk).lane == Lane.WAITING
    assert examine() == (
        2,
        [
            'alarm: Queue "default": No live worker serves it, with 1 job due.',
            'alarm: Queue "default": The oldest due job waits 40 min.',
        ],
    )


def test_beyond_what_is_looked_at_a_number_shows_a_plus(monkeypatch):
    monkeypatch.setattr(findings, "LOOKED_AT", 3)
    Job.objects.bulk_create([Job(name="edit", queue_name=name) for name in "ab" for _ in range(5)])
    [first, second] = findings.find()
    assert first.reason == "No live worker serves it, with 3+ jobs due."
    assert (first.queue_name, second.queue_name) == ("a", "b")


# Waiting too long


@pytest.mark.parametrize(
    ("seconds", "status", "words"),
    [
        (280, 0, "good: Nothing is wrong."),
        (310, 1, 'warning: Queue "default": The oldest due job waits 5 min.'),
        (1790, 1, 'warning: Queue "default": The oldest due job waits 29 min.'),
        (1810, 2, 'alarm: Queue "default": The oldest due job waits 30 min.'),
        (3 * 3600 + 300, 2, 'alarm: Queue "default": The oldest due job waits 3 h 5 min.'),
    ],
)
def test_a_due_job_that_waits_too_long(seconds, status, words):
    serve()
    Job.objects.create(name="edit")
    let_time_pass(seconds)
    Job.objects.create(name="edit", priority=5)
    assert examine() == (status, [words])


def test_how_long_is_too_long_may_be_said():
    serve()
    Job.objects.create(name="edit")
    let_time_pass(40)
    assert examine("--warn=50")[0] == 0
    assert examine("--warn=30")[0] == 1
    assert examine("--warn=10", "--critical=35") == (
        2,
        ['alarm: Queue "default": The oldest due job waits 40 s.'],
    )


def test_thresholds_in_the_wrong_order_are_refused_and_not_taken_for_degraded():
    with pytest.raises(
        CommandError, match=r"--warn \(60 s\) must not be above --critical \(30 s\)\."
    ) as raised:
        examine("--warn=60", "--critical=30")
    assert raised.value.returncode == 2


@pytest.mark.parametrize("argument", ["--warn=0", "--critical=nan", "--warn=inf", "--warn=soon", "a queue"])
def test_what_is_no_threshold_or_queue_is_refused(argument):
    with pytest.raises(CommandError):
        examine(argument)


# Orphans


@alone
def test_jobs_of_a_worker_that_died_just_now_are_a_warning():
    worker = serve()
    Job.objects.create(name="edit")
    claim(worker=worker)
    serve(name="living")
    let_lease_run_out(worker)
    assert examine() == (
        1,
        [
            'warning: Queue "default": 1 job is held by dead workers;'
            " the next sweep of a living one frees them."
        ],
    )


@alone
@pytest.mark.parametrize("death", ["lease ran out", "declared dead", "row deleted"])
def test_jobs_that_nobody_frees_are_an_alarm(death):
    worker = serve()
    Job.objects.bulk_create([Job(name="edit") for _ in range(2)])
    claim(2, worker=worker)
    long_ago = dialect().read_clock() - timedelta(minutes=5)
    row = Worker.objects.filter(pk=worker.pk)
    if death == "row deleted":
        row.delete()
    else:
        row.update(beat=long_ago, expires_at=long_ago if death == "lease ran out" else None)
    assert examine() == (
        2,
        ['alarm: Queue "default": 2 jobs are held by dead workers, and nobody frees them.'],
    )


@alone
def test_jobs_of_a_living_worker_are_no_orphans():
    worker = serve()
    Job.objects.create(name="edit")
    claim(worker=worker)
    assert findings.find() == []


# Failures


@pytest.mark.parametrize(
    ("failed", "ended", "level"),
    [
        (4, 4, "good"),
        (5, 101, "good"),
        (5, 100, "warning"),
        (24, 100, "warning"),
        (25, 100, "alarm"),
        (0, 0, "good"),
    ],
)
def test_the_rule_about_failures(failed, ended, level):
    assert judge_failures(failed, ended) == level


def test_the_rule_about_waiting():
    assert [judge_wait(age) for age in (0, 299, 300, 1799, 1800)] == [
        "good",
        "good",
        "warning",
        "warning",
        "alarm",
    ]


def test_failures_of_the_last_hour_are_a_share_of_what_ended():
    make_minute("mail", completed=60, failed=6)
    make_minute("mail", completed=30, failed=4, model=RollupDelta)
    make_minute("mail", completed=0, failed=900, minutes_ago=70)
    make_minute("other", completed=0, failed=4)
    assert examine() == (1, ['warning: Queue "mail": 10 of 100 jobs that ended in the last hour failed.'])


def test_many_failures_are_an_alarm():
    make_minute("mail", completed=1, failed=2000)
    assert examine() == (2, ['alarm: Queue "mail": 2,000 of 2,001 jobs that ended in the last hour failed.'])


# Names that the settings do not have


def test_jobs_with_unknown_names_are_a_warning_and_do_not_count_as_waiting_long():
    serve()
    for name in ("gone", "gone", "away"):
        rename(Job.objects.create(name="edit"), name)
    later = Job.objects.create(name="edit", run_after=timezone.now() + timedelta(seconds=30))
    rename(later, "away")
    let_time_pass(7200)
    Job.objects.create(name="edit")
    assert examine() == (
        1,
        [
            'warning: Queue "default": 4 jobs have names that settings.JOBS does not have.'
            " (away × 2, gone × 2)"
        ],
    )


def test_settings_that_break_a_rule_are_an_alarm(settings):
    settings.JOBS = {"broken": []}
    assert examine() == (2, ['alarm: The settings of dbq break a rule. (JOBS["broken"] has no tasks.)'])


# Pauses


def test_a_pause_is_told_and_is_no_fault():
    serve()
    Job.objects.create(name="edit")
    let_time_pass(7200)
    Queue.objects.create(
        name="default", paused_at=timezone.now(), paused_by="olga", paused_reason="maintenance\nof the shop"
    )
    assert examine() == (0, ['paused: Queue "default": Paused. (by olga: maintenance of the shop)'])


def test_a_pause_that_has_ended_is_not_told():
    now = timezone.now()
    Queue.objects.create(name="default", paused_at=now, paused_until=now - timedelta(seconds=1))
    assert findings.find() == []


# Several queues


def test_the_worst_comes_first_and_only_the_queues_that_were_named():
    for name in ("c", "b", "a"):
        Job.objects.create(name="edit", queue_name=name)
    make_minute("a", completed=90, failed=10)
    assert find_codes() == [
        ("alarm", "unserved", "a"),
        ("alarm", "unserved", "b"),
        ("alarm", "unserved", "c"),
        ("warning", "failures", "a"),
    ]
    assert find_codes("b", "nothing") == [("alarm", "unserved", "b")]
    assert examine("nothing")[0] == 0


def test_json_says_the_same_to_programs():
    rename(Job.objects.create(name="edit"), "gone")
    serve()
    status, [line] = examine("--json")
    assert status == 1
    assert json.loads(line) == {
        "status": 1,
        "verdict": "degraded",
        "findings": [
            {
                "level": "warning",
                "code": "unknown",
                "queue": "default",
                "reason": "1 job has a name that settings.JOBS does not have.",
                "detail": "gone × 1",
            }
        ],
    }


# The database


@alone
def test_a_database_out_of_reach_is_an_alarm_without_its_password():
    with out_of_reach():
        status, [line] = examine()
    assert status == 2
    assert line.startswith("alarm: The database does not answer. (OperationalError: ")
    assert connection.vendor == "sqlite" or SECRET not in line


@alone
def test_a_read_only_database_is_an_alarm():
    Job.objects.create(name="edit")
    with read_only():
        status, [line] = examine()
    assert status == 2
    assert line.startswith("alarm: The database takes no writes. (")
    assert find_codes() == [("alarm", "unserved", "default")]


@alone
def test_a_writer_that_holds_the_database_is_no_refusal():
    serve()
    with dialect().write():
        make_worker(name="unfinished")
        assert race([findings.find]) == [[]]


def test_an_unapplied_migration_is_an_alarm_and_nothing_else_is_looked_at():
    Job.objects.create(name="edit")
    MigrationRecorder.Migration.objects.using("default").filter(app="dbq", name="0001_initial").delete()
    status, lines = examine()
    assert status == 2
    assert len(lines) == 1
    assert "of dbq" in lines[0]
    assert "dbq.0001_initial" in lines[0]


@alone
def test_a_connection_that_was_cut_meanwhile_is_made_anew():
    assert findings.find() == []
    connection.connection.close()
    assert findings.find() == []


def test_statements_that_take_too_long_are_an_alarm(monkeypatch):
    def give_up(*arguments):
        raise limits.TookTooLong

    monkeypatch.setattr(findings, "_read_states", give_up)
    assert examine() == (2, ["alarm: The database took too long to answer."])


# What it costs


def test_a_queue_more_costs_one_short_statement():
    for name in ("a", "b"):
        Job.objects.create(name="edit", queue_name=name)
    with CaptureQueriesContext(connection) as few:
        findings.find()
    Job.objects.bulk_create([Job(name="edit", queue_name=f"queue-{n}") for n in range(30)])
    with CaptureQueriesContext(connection) as many:
        assert len(findings.find()) == 32
    assert len(many) == len(few) + 30

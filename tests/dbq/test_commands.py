"""The commands for people and cron: what they print, and one clear sentence when they refuse."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.conf import settings as project
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models import F
from django.utils import timezone

from dbq.models import Job, QueueCount
from dbq.states import Lane, State

pytestmark = pytest.mark.django_db


def call(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def refuse(*arguments: str) -> str:
    with pytest.raises(CommandError) as raised:
        call(*arguments)
    assert not Job.objects.filter(state=State.NEW).exists()
    message = str(raised.value)
    assert "\n" not in message
    return message


def make_old(*states: State, hours: float = 48, queue_name: str = "default") -> None:
    """Finished jobs from some time ago; how they got there is told elsewhere."""
    for state in states:
        job = Job.objects.create(name="nothing", queue_name=queue_name)
        job.cancel()
        Job.objects.filter(pk=job.pk).update(state=state, created=F("created") - timedelta(hours=hours))


# create_job


def test_create_job_prints_the_id_and_nothing_else():
    printed = call("create_job", "nothing")

    assert printed == f"{Job.objects.get().pk}\n"


def test_create_job_takes_what_a_job_takes():
    call(
        "create_job",
        "nothing",
        "--queue_name=mail",
        '--workspace={"a": [1, "ü"]}',
        "--priority=-3",
        "--run_after=2100-01-31T08:00:00+02:00",
    )

    job = Job.objects.get()
    assert (job.queue_name, job.workspace, job.priority) == ("mail", {"a": [1, "ü"]}, -3)
    assert job.run_after == datetime(2100, 1, 31, 6, tzinfo=UTC)
    assert job.lane == Lane.WAITING


def test_create_job_takes_the_definitions_word_for_what_is_left_out():
    call("create_job", "elsewhere")

    job = Job.objects.get()
    assert (job.queue_name, job.priority, job.workspace) == ("mail", 7, {})


def test_create_job_reads_a_time_without_a_zone_in_the_projects_zone(settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    timezone.get_default_timezone.cache_clear()
    try:
        call("create_job", "nothing", "--run_after=2100-01-31T08:00:00")
    finally:
        timezone.get_default_timezone.cache_clear()

    assert Job.objects.get().run_after == datetime(2100, 1, 30, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], '"nowhere" is not a job name in settings.JOBS.'),
        (
            ["nothing", "--workspace={"],
            "The workspace is not valid JSON: Expecting property name enclosed in double quotes"
            " (line 1, column 2).",
        ),
        (["nothing", "--workspace=[1]"], "A workspace must be an object (a dict), not list."),
        (["nothing", "--workspace="], "The workspace is not valid JSON: Expecting value (line 1, column 1)."),
        (
            ["nothing", '--workspace={"a": NaN}'],
            "workspace['a'] is nan, which JSON does not have.",
        ),
        (
            ["nothing", '--workspace={"a": ' + "9" * 5000 + "}"],
            "The workspace holds a number of too many digits.",
        ),
        (
            ["nothing", "--queue_name=a b"],
            'A queue name must be 1 to 50 letters, digits, "_", ".", ":" or "-", not \'a b\'.',
        ),
        (
            ["nothing", "--priority=40000"],
            "A priority must be a whole number from -32767 to 32767, not 40000.",
        ),
        (
            ["nothing", "--priority=high"],
            "Error: argument --priority: invalid int value: 'high'",
        ),
        (
            ["nothing", "--run_after=tomorrow"],
            '--run_after must be a time such as 2030-01-31T08:00:00Z, not "tomorrow".',
        ),
        (
            ["nothing", "--run_after=2030-02-31T08:00:00Z"],
            '--run_after must be a time such as 2030-01-31T08:00:00Z, not "2030-02-31T08:00:00Z".',
        ),
        (
            ["nothing", "--run_after="],
            '--run_after must be a time such as 2030-01-31T08:00:00Z, not "".',
        ),
        ([], "Error: the following arguments are required: name"),
    ],
)
def test_create_job_refuses_in_one_sentence_and_creates_nothing(arguments, message):
    assert refuse("create_job", *arguments) == message


def test_create_job_passes_on_what_a_creation_hook_raises():
    with pytest.raises(ValueError, match="not on my watch"):
        call("create_job", "refused")

    assert not Job.objects.exists()


# delete_old_jobs


def test_delete_old_jobs_deletes_finished_jobs_older_than_a_day():
    make_old(State.COMPLETED, State.FAILED, State.CANCELLED)
    make_old(State.COMPLETED, hours=1)

    assert call("delete_old_jobs") == "Deleted 3 finished jobs older than 24 hours.\n"

    assert Job.objects.count() == 1


def test_delete_old_jobs_takes_an_age_and_a_queue():
    make_old(State.COMPLETED, hours=2)
    make_old(State.COMPLETED, hours=2, queue_name="mail")

    printed = call("delete_old_jobs", "--hours=1.5", "--queue_name=mail")

    assert printed == "Deleted 1 finished job older than 1.5 hours.\n"
    assert Job.objects.get().queue_name == "default"


def test_delete_old_jobs_may_only_say_what_it_would_do():
    make_old(State.COMPLETED, State.FAILED)

    assert call("delete_old_jobs", "--dry-run") == ("Would delete 2 finished jobs older than 24 hours.\n")

    assert Job.objects.count() == 2


def test_delete_old_jobs_never_deletes_what_waits():
    job = Job.objects.create(name="nothing")
    Job.objects.update(created=F("created") - timedelta(hours=1000))

    assert call("delete_old_jobs", "--hours=0") == ("Deleted 0 finished jobs older than 0 hours.\n")
    assert Job.objects.get().pk == job.pk


@pytest.mark.parametrize(
    ("hours", "reason"),
    [
        ("-1", "must be 0 or more hours, at most 878400, not -1."),
        ("nan", "must be 0 or more hours, at most 878400, not nan."),
        ("inf", "must be 0 or more hours, at most 878400, not inf."),
        ("1e9", "must be 0 or more hours, at most 878400, not 1e9."),
        ("many", "invalid hours value: 'many'"),
    ],
)
def test_delete_old_jobs_refuses_an_age_that_is_none(hours, reason):
    make_old(State.COMPLETED)

    assert refuse("delete_old_jobs", f"--hours={hours}") == f"Error: argument --hours: {reason}"

    assert Job.objects.count() == 1


# queue_depth


def test_queue_depth_tells_of_the_default_queue_in_one_line():
    for _ in range(3):
        Job.objects.create(name="nothing")
    Job.objects.create(name="elsewhere")

    assert call("queue_depth") == "event=queue_depths default=3\n"


def test_queue_depth_tells_of_the_queues_it_is_asked_for():
    Job.objects.create(name="elsewhere")

    assert call("queue_depth", "default", "mail", "nowhere") == (
        "event=queue_depths default=0 mail=1 nowhere=0\n"
    )


def test_queue_depth_may_leave_the_future_out():
    Job.objects.create(name="nothing", run_after=timezone.now() + timedelta(hours=1))
    Job.objects.create(name="nothing")

    assert call("queue_depth") == "event=queue_depths default=2\n"
    assert call("queue_depth", "--exclude_future_jobs") == "event=queue_depths default=1\n"


def test_queue_depth_counts_only_what_waits():
    make_old(State.COMPLETED)

    assert call("queue_depth") == "event=queue_depths default=0\n"


# recount_jobs


def test_recount_jobs_says_that_all_is_well():
    Job.objects.create(name="nothing").cancel()

    assert call("recount_jobs") == "All totals were exact.\n"


def test_recount_jobs_says_what_was_off_and_repairs_it():
    QueueCount.objects.create(queue_name="default", state="COMPLETED", amount=5)
    make_old(State.FAILED)  # counted as cancelled

    assert call("recount_jobs") == (
        "default CANCELLED was off by +1.\ndefault COMPLETED was off by +5.\ndefault FAILED was off by -1.\n"
    )
    assert call("recount_jobs") == "All totals were exact.\n"


# The process that a shell sees


def run(*arguments: str) -> subprocess.CompletedProcess:
    """manage.py in a process of its own, on the test database."""
    code = (
        "from django.conf import settings; from django.core.management import"
        " execute_from_command_line as run; import sys;"
        f" settings.DATABASES['default']['NAME'] = {project.DATABASES['default']['NAME']!r};"
        " run(sys.argv)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=project.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (
            ["create_job", "nowhere"],
            1,
            'CommandError: "nowhere" is not a job name in settings.JOBS.',
        ),
        # As argparse does it: the usage first.
        (
            ["delete_old_jobs", "--hours=-1"],
            2,
            "argument --hours: must be 0 or more hours, at most 878400, not -1.",
        ),
    ],
)
def test_a_refused_command_ends_with_a_status_and_its_sentence(arguments, status, sentence):
    ended = run(*arguments)

    assert ended.returncode == status
    assert ended.stderr.strip().splitlines()[-1].endswith(sentence)
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""

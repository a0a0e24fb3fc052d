"""The options of `manage.py worker`, as its processes obey them."""

import signal
from datetime import timedelta

import pytest
from django.utils import timezone

from dbq.models import Job, Worker
from dbq.states import State
from tests.process.workers import wait_until, wait_until_all_ended

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]


def test_burst_leaves_when_nothing_is_due(workers):
    due = Job.objects.bulk_create([Job(name="two") for _ in range(20)])
    tomorrow = timezone.now() + timedelta(days=1)
    scheduled = Job.objects.create(name="work", run_after=tomorrow)

    assert workers.start("--burst", "--processes", "2").wait() == 0
    assert read_states(due) == {State.COMPLETED}
    assert read_states([scheduled]) == {State.NEW}


def test_processes_and_threads_run_so_many_tasks_at_once(workers, ledger, make_gate, create_waiting):
    command = workers.start("--processes", "2", "--threads", "3")
    gate = make_gate("gate")
    jobs = [create_waiting(gate) for _ in range(7)]
    wait_until(lambda: len(ledger.get_runs()) == 6, what="six tasks run")
    pids = [run.pid for run in ledger.get_runs()]
    gate.open()
    wait_until_all_ended(jobs)

    assert sorted(pids.count(pid) for pid in set(pids)) == [3, 3]
    assert set(pids) <= set(command.get_children())
    started = sorted(run.started for run in ledger.get_runs())
    assert started[6] > min(run.ended for run in ledger.get_runs())


def test_a_worker_serves_the_queues_it_names_and_no_other(workers):
    served = [Job.objects.create(name="work", queue_name=name) for name in ("a", "b", "a", "b")]
    others = [Job.objects.create(name="work", queue_name=name) for name in ("c", "default")]

    assert workers.start("a", "b", "--burst").wait() == 0
    assert read_states(served) == {State.COMPLETED}
    assert read_states(others) == {State.NEW}
    assert workers.start("--burst").wait() == 0
    assert read_states(others[:1]) == {State.NEW}
    assert read_states(others[1:]) == {State.COMPLETED}


def test_a_rate_limit_spaces_the_starts(workers, ledger):
    Job.objects.bulk_create([Job(name="work") for _ in range(5)])

    assert workers.start("--burst", "--rate_limit", "0.5").wait() == 0
    started = [run.started for run in ledger.get_runs()]
    assert len(started) == 5
    # Four times half a second, less what the first start may have been late.
    assert started[-1] - started[0] > 1


def test_an_idle_worker_takes_up_what_is_created(workers, ledger):
    command = workers.start()
    command.wait_until_ready()
    for _ in range(3):
        job = Job.objects.create(name="two")
        wait_until_all_ended([job])
        assert job.state == State.COMPLETED


def test_tasks_may_use_connections_of_their_own(workers):
    jobs = Job.objects.bulk_create([Job(name="ask") for _ in range(20)])

    assert workers.start("--burst", "--processes", "2", "--threads", "2").wait() == 0
    assert read_states(jobs) == {State.COMPLETED}


def test_reload_starts_afresh_when_a_file_changes(workers, tmp_path, settings):
    settings.JOBS = {"say": ["reloaded.say"]}
    module = tmp_path / "reloaded.py"
    module.write_text(say("old"))
    command = workers.start("--reload", JOBS=settings.JOBS)
    assert run_say() == "old"
    before = Worker.objects.get().pk

    module.write_text(say("new word"))
    wait_until(lambda: Worker.objects.exclude(pk=before).exists(), what="another worker starts")
    assert run_say() == "new word"
    command.signal(signal.SIGTERM)
    assert command.wait() == 0
    assert not Worker.objects.exists()


def say(word):
    return f'def say(job):\n    job.workspace["word"] = "{word}"\n'


def run_say():
    job = Job.objects.create(name="say")
    wait_until(lambda: Job.objects.filter(pk=job.pk, state=State.COMPLETED).exists())
    return Job.objects.get(pk=job.pk).workspace["word"]


@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        ({"empty": []}, 'JOBS["empty"] has no tasks.'),
        ({"typo": ["no.such.task"]}, '"no.such.task" does not import'),
    ],
)
def test_a_worker_refuses_wrong_jobs_at_its_start(workers, jobs, reason):
    command = workers.start(JOBS=jobs)

    assert command.wait() == 1
    assert reason in command.read_output()
    assert not Worker.objects.exists()


def read_states(jobs):
    ids = [job.pk for job in jobs]
    return set(Job.objects.filter(pk__in=ids).values_list("state", flat=True))

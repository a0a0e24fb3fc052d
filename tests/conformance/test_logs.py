"""What a worker logs: of each job which, where and who, and never a secret."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import DataError

from dbq import signals
from dbq.logs import JobFormatter
from dbq.models import Job
from dbq.runner import Runner
from dbq.states import State
from dbq.supervisor import Death, Supervisor
from dbq.threads import TaskThread
from tests.helpers import (
    assert_state,
    dialect,
    make_job,
    run,
    start_engine,
    take_up,
    work_off,
)

SECRET = "correct-horse-battery-staple"
FIELDS = ("job_id", "job_name", "queue_name", "task", "attempt", "worker")
HERE = "tests.conformance.test_logs"
HOSTILE = {
    "hostile": {
        "tasks": [f"{HERE}.leak"],
        "max_attempts": 2,
        "post_task_hook": f"{HERE}.leak_in_hook",
        "failure_hook": f"{HERE}.leak_in_failure_hook",
    },
    "leaky": {"tasks": ["tests.jobs.edit"], "post_task_hook": f"{HERE}.leak_in_hook"},
}


def leak(job):
    try:
        raise KeyError(f"Authorization: Bearer {job.workspace['password']}")
    except KeyError as error:
        raise ValueError(f"login failed with password={job.workspace['password']}") from error


def leak_in_hook(job):
    leak(job)


def leak_in_failure_hook(job, exception):
    leak(job)


class Lines(logging.Handler):
    """Every record of the worker, and how a host that uses dbq's formatter reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.texts: list[str] = []
        self.setFormatter(JobFormatter("%(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.texts.append(self.format(record))

    def find(self, words: str) -> tuple[logging.LogRecord, str]:
        """The one line that says so."""
        found = [pair for pair in zip(self.records, self.texts, strict=True) if words in pair[1]]
        assert len(found) == 1, "\n".join(self.texts)
        return found[0]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("dbq")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def assert_about(line: tuple[logging.LogRecord, str], job: Job, worker: str, **expected: Any) -> None:
    """The line has every field about that job, and shows what an operator looks for."""
    record, text = line
    expected = {"queue_name": job.queue_name, "task": job.next_task, "attempt": 1, **expected}
    fields = {"job_id": str(job.pk), "job_name": job.name, "worker": worker, **expected}
    assert {name: getattr(record, name) for name in FIELDS} == fields
    for name in ("queue_name", "task", "attempt", "worker"):
        assert f"{name}={fields[name]}" in text
    assert str(job.pk) in text


# Each line about a job


def test_the_end_of_a_job(lines):
    engine = start_engine("mail")
    job = make_job(name="edit", queue_name="mail")

    work_off(engine=engine)

    assert_about(lines.find("completed."), job, engine.worker.name)
    assert_about(lines.find("COMPLETED in"), job, engine.worker.name)
    assert lines.find("completed.")[1].endswith(f"worker={engine.worker.name}]")


def test_the_tasks_of_a_job_are_told_apart(lines):
    engine = start_engine()
    job = make_job(name="two")

    work_off(engine=engine)

    name = engine.worker.name
    assert_about(lines.find("tests.jobs.succeed COMPLETED in"), job, name, task="tests.jobs.succeed")
    assert_about(lines.find("_again COMPLETED in"), job, name, task="tests.jobs.succeed_again")


@pytest.mark.parametrize(
    ("name", "words"), [("fail", "attempt 1: "), ("fail_twice", "attempt 1; runs again")]
)
def test_a_failure(lines, name, words):
    engine = start_engine()
    job = make_job(name=name)

    work_off(engine=engine)

    assert_about(lines.find(words), job, engine.worker.name)


@pytest.mark.parametrize(
    ("name", "words"),
    [("broken_failure_hook", "The failure hook of job"), ("broken_post_hook", "The post-task hook of job")],
)
def test_a_hook_that_raises(lines, settings, name, words):
    settings.JOBS = {name: {**settings.JOBS[name], "tasks": settings.JOBS[name]["tasks"][:1]}}
    engine = start_engine()
    job = make_job(name=name)

    work_off(engine=engine)

    line = lines.find(words)
    assert_about(line, job, engine.worker.name)
    assert "Traceback" in line[1]


def test_a_signal_receiver_that_raises(lines):
    def explode(**_):
        raise RuntimeError("the receiver is broken")

    signals.job_completed.connect(explode)
    try:
        engine = start_engine()
        job = make_job()
        work_off(engine=engine)
    finally:
        signals.job_completed.disconnect(explode)

    line = lines.find("The signal receiver")
    assert_about(line, job, engine.worker.name)
    assert f"[job_id={job.pk} queue_name=" in line[1]
    assert "the receiver is broken" in line[1]


def test_a_lost_lease(lines):
    engine = start_engine()
    job = make_job()
    task_run = take_up(engine)
    Job.objects.filter(pk=job.pk).update(fence=9)

    run(engine, task_run)
    engine.cycle()

    assert_about(lines.find("the lease of this run was lost"), job, engine.worker.name)


def test_a_task_that_the_settings_do_not_have_any_more(lines):
    engine = start_engine()
    job = make_job()
    Job.objects.filter(pk=job.pk).update(next_task="tests.jobs.gone")

    engine.cycle()

    assert_about(lines.find("is not in JOBS"), job, engine.worker.name, task="tests.jobs.gone")


def test_a_claim_whose_answer_got_lost(lines):
    engine = start_engine()
    job = make_job()
    engine.cycle()
    engine.ready.clear()

    engine._release_unknown()

    assert_about(lines.find("the answer got lost"), job, engine.worker.name)


def test_a_run_that_ended_badly(lines):
    class Clock:
        def now(self):
            raise RuntimeError("no time")

    engine = start_engine()
    job = make_job()
    task_run = take_up(engine)
    good, engine.clock = engine.clock, Clock()
    thread = TaskThread(engine, 0)
    with pytest.raises(RuntimeError):  # it asks for the time once more, to write down the end
        thread._execute(task_run)
    engine.clock = good

    assert_about(lines.find("ended badly"), job, engine.worker.name)


def test_the_job_that_ran_when_its_worker_died(lines):
    engine = start_engine()
    job = make_job()
    take_up(engine)
    supervisor = Supervisor(lambda board: 0)

    supervisor._rescue(Death(engine.worker.pk, [job.pk], "It died."))

    assert_about(lines.find("ran when its worker died"), job, engine.worker.name)
    assert_state(job, State.READY)


def test_a_line_about_no_job_is_left_as_it_is(lines):
    engine = start_engine("mail")

    assert lines.find("serves")[1] == f"INFO {engine.worker.name} serves mail."


# Never a secret


def assert_no_secret(lines: Lines) -> None:
    for record, text in zip(lines.records, lines.texts, strict=True):
        assert SECRET not in text
        # Handlers that know nothing of our formatter write the fields, or the exception itself.
        assert SECRET not in repr(vars(record))
        assert record.exc_info is None


@pytest.mark.parametrize("name", ["hostile", "leaky"])
def test_no_line_tells_a_secret_of_a_workspace_or_an_exception(lines, settings, name):
    settings.JOBS = HOSTILE

    def explode(job, **_):
        leak(job)

    signals.job_failed.connect(explode)
    signals.job_retried.connect(explode)
    try:
        make_job(name=name, workspace={"password": SECRET, "note": f"token={SECRET}"})
        work_off()
        Job.objects.update(run_after=dialect().read_clock() - timedelta(seconds=1))
        start_engine().promote()
        work_off()
    finally:
        signals.job_failed.disconnect(explode)
        signals.job_retried.disconnect(explode)

    told = "\n".join(lines.texts)
    # All of them were there to be told.
    expected = {
        "hostile": ("failed in", "runs again", "The failure hook", "The signal receiver", "Traceback"),
        "leaky": ("The post-task hook", "completed.", "Traceback"),
    }[name]
    for words in expected:
        assert words in told
    assert_no_secret(lines)


def test_no_line_tells_what_the_database_quotes(lines):
    runner = Runner(start_engine())
    error = DataError(f'invalid input: DETAIL: row (17, {{"password": "{SECRET}"}})')

    runner._complain(error)

    assert "The database fails; trying on. DataError: " in lines.texts[-1]
    assert_no_secret(lines)


def test_no_duty_that_fails_tells_a_secret(lines):
    engine = start_engine()
    [duty] = [duty for duty in engine._duties if duty.act == engine.fold]

    def fold():
        raise ValueError(f"password={SECRET}")

    duty.act = fold
    duty.do_if_due(float("inf"))

    assert "The worker's fold failed." in lines.texts[-1]
    assert "ValueError" in lines.texts[-1]
    assert_no_secret(lines)


def test_an_exception_that_misbehaves_is_logged_by_its_type(lines, settings):
    settings.JOBS = {
        "j": {"tasks": ["tests.jobs.edit"], "post_task_hook": "tests.jobs.raise_the_unspeakable"}
    }
    job = make_job(name="j")

    work_off()

    assert_state(job, State.COMPLETED)
    assert "Unspeakable" in lines.find("The post-task hook")[1]

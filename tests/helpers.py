"""What tests say often: make a job of some state, walk the engine, let time pass, race."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connection, connections
from django.db.models import Count, F, Model

from dbq import counts, transitions
from dbq.counts import Tally
from dbq.definitions import PRIORITY_LIMIT
from dbq.dialects import Dialect, get_dialect
from dbq.engine import Engine
from dbq.execution import execute, find_open_transactions
from dbq.models import (
    Attempt,
    Job,
    Operation,
    OperationItem,
    Queue,
    QueueCount,
    QueueCountDelta,
    Rollup,
    RollupDelta,
    Worker,
)
from dbq.results import Result
from dbq.run import TaskRun
from dbq.states import Outcome, State
from tests import jobs as sample

TABLES: tuple[type[Model], ...] = (
    OperationItem,
    Operation,
    Attempt,
    Job,
    Worker,
    Queue,
    QueueCount,
    QueueCountDelta,
    Rollup,
    RollupDelta,
)
RACE_SECONDS = 30
STEPS_MAX = 500
# Of each property, so many cases; more of them in a quiet hour.
EXAMPLES = int(os.environ.get("DBQ_EXAMPLES", "15"))


def empty_tables() -> None:
    """Leave no row of dbq behind; cheaper than a flush of all tables."""
    for model in TABLES:
        model._base_manager.all()._raw_delete("default")


def dialect() -> Dialect:
    return get_dialect("default")


# Asserting


def reload(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def assert_state(job: Job, state: State) -> Job:
    """Check the state in the database; return the job as it is there."""
    fresh = reload(job)
    assert fresh.state == state, f"{job} is {fresh.state}, not {state}: {fresh.error_message}"
    return fresh


def read_everything() -> dict[str, list[dict[str, Any]]]:
    """Every row of dbq's tables, to see that nothing has changed."""
    return {model.__name__: list(model._base_manager.order_by("pk").values()) for model in TABLES}


def read_attempts(job: Job) -> list[tuple[str, int, str]]:
    """The history of a job in short: task, number, outcome."""
    return [
        (attempt.task.rpartition(".")[2], attempt.number, attempt.outcome)
        for attempt in Attempt.objects.filter(job_id=job.pk)
    ]


def count_finished() -> dict[tuple[str, str], int]:
    """What the totals must say, from the jobs themselves."""
    rows = Job.objects.finished().order_by().values_list("queue_name", "state")
    return {(name, state): amount for name, state, amount in rows.annotate(n=Count("pk"))}


def assert_totals_are_exact() -> None:
    assert counts.get_finished_totals() == count_finished()


# Walking the engine


def start_engine(*queue_names: str, **options: Any) -> Engine:
    engine = Engine(queue_names or ("default",), **options)
    engine.register()
    return engine


def take_up(engine: Engine) -> TaskRun | None:
    """Claim if there is room, and take the next run as a task thread would."""
    engine.cycle()
    return engine.next_run(0, wait_seconds=0)


def run(engine: Engine, task_run: TaskRun) -> Result:
    """Run the task and hand in how it ended; nothing is written yet."""
    result = execute(task_run, engine.clock, find_open_transactions())
    engine.put(0, task_run, result)
    return result


def flush(engine: Engine) -> None:
    """Write what ended and claim nothing."""
    results, engine.results = list(engine.results), type(engine.results)()
    accepted, _ = engine._write(results, 0)
    engine._settle(results, accepted)


def step(engine: Engine) -> Result | None:
    """Run one task of one job and write how it ended; None if there was nothing to do."""
    task_run = take_up(engine)
    if task_run is None:
        return None
    result = run(engine, task_run)
    flush(engine)
    return result


def run_one(engine: Engine) -> None:
    """Claim one job, the first, and run it to its end."""
    engine.cycle()
    while (task_run := engine.next_run(0, wait_seconds=0)) is not None:
        run(engine, task_run)
        flush(engine)


def work_off(*queue_names: str, engine: Engine | None = None) -> list[Result]:
    """Run everything that is due, as one worker would, and say how the runs ended."""
    engine = engine or start_engine(*queue_names)
    results = []
    while (result := step(engine)) is not None:
        results.append(result)
        assert len(results) < STEPS_MAX, "There is no end to the work."
    flush(engine)
    return results


def claim(amount: int = 1, *, worker: Worker | None = None, queue_name: str = "default") -> list[Job]:
    """Claim as an engine does, in one committed transaction."""
    worker = worker or make_worker()
    tally = Tally()
    bound = dialect()
    with bound.write():
        claimed = transitions.claim(bound, worker.pk, queue_name, amount, bound.read_clock(), tally)
        tally.write(bound)
    return claimed


def record(*results: Result) -> list[Result]:
    """Write results as an engine does; return those that were accepted."""
    tally = Tally()
    bound = dialect()
    with bound.write():
        accepted = transitions.record(bound, list(results), tally)
        tally.write(bound)
    return accepted


def make_result(job: Job, outcome: Outcome = Outcome.COMPLETED, **fields: Any) -> Result:
    """How a run of a claimed job ended, as its thread would say it."""
    moment = dialect().read_clock()
    return Result(
        job=job,
        fence=job.fence,
        task=job.next_task,
        number=job.attempt,
        outcome=outcome,
        **{"started": moment, "finished": moment, "seconds": 0.5, **fields},
    )


# Jobs and workers of every state


def make_worker(**fields: Any) -> Worker:
    now = dialect().read_clock()
    return Worker.objects.create(
        **{
            "name": "elsewhere:1",
            "host": "elsewhere",
            "pid": 1,
            "version": "1",
            "started": now,
            "beat": now,
            "expires_at": now + timedelta(seconds=60),
            **fields,
        }
    )


def make_job(state: State = State.NEW, **fields: Any) -> Job:
    """A job that came into a state the way jobs do, past all others; its first task is `edit`."""
    fields.setdefault("name", "fail_at_the_end" if state == State.FAILED else "edit")
    if state in (State.NEW, State.CANCELLED):
        job = Job.objects.create(**fields)
        if state == State.CANCELLED:
            job.cancel()
    else:
        job = Job.objects.create(**{**fields, "priority": PRIORITY_LIMIT})
        if state in (State.COMPLETED, State.FAILED):
            run_one(start_engine(job.queue_name))
        else:
            [claimed] = claim(queue_name=job.queue_name)
            if state == State.READY:
                record(make_result(claimed, Outcome.RELEASED))
        Job.objects.filter(pk=job.pk).update(priority=fields.get("priority", 0))
    return assert_state(job, state)


# Time


def let_time_pass(seconds: float) -> None:
    """Move every time that the database knows of jobs and queues into the past."""
    shift = timedelta(seconds=seconds)
    Job.objects.update(
        created=F("created") - shift, enqueued=F("enqueued") - shift, run_after=F("run_after") - shift
    )
    Queue.objects.update(paused_at=F("paused_at") - shift, paused_until=F("paused_until") - shift)


def let_lease_run_out(*workers: Worker) -> None:
    Worker.objects.filter(pk__in=[worker.pk for worker in workers]).update(
        expires_at=dialect().read_clock() - timedelta(seconds=1)
    )


def promote() -> int:
    return transitions.promote(dialect())


# Races


class Race:
    """Functions in threads of their own, each with its own connection to the database."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, name: str, function: Callable[[], Any]) -> None:
        thread = threading.Thread(target=self._run, args=(name, function), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, function: Callable[[], Any]) -> None:
        try:
            self.answers[name] = function()
        except BaseException as error:
            self.errors.append(error)
        finally:
            connections.close_all()

    def join(self) -> dict[str, Any]:
        """Wait for all; raise what one of them raised."""
        for thread in self._threads:
            thread.join(RACE_SECONDS)
            assert not thread.is_alive(), f"{thread.name} is still waiting for somebody."
        for error in self.errors:
            raise error
        return self.answers


def race(functions: Iterable[Callable[[], Any]]) -> list[Any]:
    """Run functions at the same moment, each on its own connection; return their answers in order."""
    functions = list(functions)
    barrier = threading.Barrier(len(functions), timeout=RACE_SECONDS)
    contest = Race()

    def begin(function: Callable[[], Any]) -> Callable[[], Any]:
        def run_together() -> Any:
            connection.ensure_connection()
            barrier.wait()
            return function()

        return run_together

    for number, function in enumerate(functions):
        contest.start(str(number), begin(function))
    answers = contest.join()
    return [answers[str(number)] for number in range(len(functions))]


def insist(function: Callable[[], Any]) -> Any:
    """Run a transaction again when it lost a race in the database, as a worker does."""
    for _ in range(50):
        try:
            return function()
        except DatabaseError as error:
            if not dialect().is_passing(error):
                raise
    raise AssertionError("The transaction lost fifty races in a row.")


@contextmanager
def script(*steps: Callable[[Job], None]):
    """What the scripted jobs do, one call a run; all of it must have been asked for."""
    sample.script[:] = steps
    yield
    left = len(sample.script)
    sample.script.clear()
    assert left == 0, f"{left} steps of the script were never run."

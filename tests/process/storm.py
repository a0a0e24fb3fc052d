"""Workers are killed at random moments while they drain a queue; the ledger says what came of it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

from dbq.models import Attempt, Job
from dbq.states import Outcome, State
from tests.process.ledger import Ledger, Verdict
from tests.process.workers import WorkerCommand, Workers, wait_until, wait_until_drained

SEED = int(os.environ.get("DBQ_TEST_SEED", "20"))
# The longest a task of the storm takes.
TASK_SECONDS = 0.004
# A line of the ledger has about so many characters; each task writes two.
LINE = 110


def survive_storm(
    workers: Workers,
    ledger: Ledger,
    record_property: Callable[[str, Any], None],
    *,
    amount: int,
    kills: int,
    seconds: float,
) -> None:
    """Drain so many two-task jobs under so many kills, and assert that no job is the worse for it."""
    dice = random.Random(SEED)

    def start() -> WorkerCommand:
        # Whoever was hit runs again first, and may well be hit three times by chance; twice as often it may
        # not, and a job that fails shows that more crashes were counted than there were.
        return workers.start("--processes", "2", MAX_CRASHES=6)

    commands = [start() for _ in range(2)]
    jobs = Job.objects.bulk_create([make_job(dice) for _ in range(amount)])
    began = time.monotonic()

    child_kills = 0
    for kill in range(kills):
        # All of them within the first half of what is written.
        share = amount * 4 * LINE // kills
        wait_for_progress(ledger, dice.randrange(share // 10, share * 2 // 5))
        position = dice.randrange(len(commands))
        # Every third is the death of a machine, the others of one process with a living supervisor.
        if kill % 3 == 2:
            commands[position].kill_all()
            commands[position] = start()
        else:
            kill_child(commands[position], dice)
            child_kills += 1
    wait_until_drained(seconds)

    verdict = ledger.judge(Job.objects.all(), workers.kills)
    report(record_property, workers, verdict, amount, kills, time.monotonic() - began)
    verdict.assert_all_is_well()
    assert Job.objects.filter(state=State.COMPLETED).count() == len(jobs) == amount
    # The jobs that such a process had only claimed are given back; with one thread one of them ran.
    crashes = Attempt.objects.filter(error_type="dbq.WorkerCrashed")
    counted = crashes.filter(error_message__contains="(crash ")
    assert counted.count() <= child_kills
    # The rest had run to their end, which nobody wrote down: known by the mark of a later attempt.
    assert not crashes.exclude(pk__in=counted).filter(number=1).exists()
    record_property("crashes counted", counted.count())
    record_property("ends that nobody wrote down", crashes.count() - counted.count())


def make_job(dice: random.Random) -> Job:
    return Job(name="two", workspace={"seconds": dice.uniform(0, TASK_SECONDS)})


def wait_for_progress(ledger: Ledger, size: int) -> None:
    """Wait until tasks have written so many characters more: workers are busy at that moment."""
    goal = ledger.get_size() + size
    wait_until(lambda: ledger.get_size() >= goal, what="tasks run")


def kill_child(command: WorkerCommand, dice: random.Random) -> None:
    children = wait_until(command.get_children, what="the supervisor has a child")
    command.kill(dice.choice(children))


def report(
    record_property: Callable[[str, Any], None],
    workers: Workers,
    verdict: Verdict,
    amount: int,
    kills: int,
    seconds: float,
) -> None:
    figures = {
        "jobs": amount,
        "kills": kills,
        "processes killed": len(workers.kills),
        "runs": verdict.runs,
        "lost": len(verdict.lost),
        "stuck": len(verdict.stuck),
        "phantom": len(verdict.phantom),
        "repeats": len(verdict.duplicated),
        "repeats without a kill": len(verdict.unexplained),
        "lost attempts in the history": Attempt.objects.filter(outcome=Outcome.LOST).count(),
        "seconds": round(seconds, 1),
    }
    for name, value in figures.items():
        record_property(name, value)
    print(*(f"{name}: {value}" for name, value in figures.items()), sep=", ")  # noqa: T201

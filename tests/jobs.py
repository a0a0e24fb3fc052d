"""Sample tasks, named for what they do."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.db import DatabaseError, connection, connections, transaction

# What ran, in this process: (job id, task).
ran: list = []
# What `follow_the_script` does, one call a run.
script: list[Callable] = []
# A task that waits sets the first and ends with the second.
begun = threading.Event()
may_end = threading.Event()


def succeed(job):
    ran.append((job.id, "succeed"))


def succeed_again(job):
    ran.append((job.id, "succeed_again"))


def edit(job):
    job.workspace["edited"] = job.workspace.get("edited", 0) + 1


def nothing(job):
    pass


def fail(job):
    job.workspace["left"] = "behind"
    raise ValueError(f"job {job.id} is told to fail")


def fail_twice(job):
    if job.attempt < 3:
        raise RuntimeError("not yet")
    job.workspace["attempts"] = job.attempt


def follow_the_script(job):
    script.pop(0)(job)


def follow_the_script_again(job):
    script.pop(0)(job)


def follow_the_script_to_the_end(job):
    script.pop(0)(job)


def save_and_fail(job):
    job.workspace["saved"] = True
    job.checkpoint()
    job.workspace["lost"] = True
    raise ValueError("after the checkpoint")


def create_another(job):
    type(job).objects.create(name="succeed")


def wait(job):
    begun.set()
    may_end.wait(20)


# Tasks that end in ways no task should


def exit_with_zero(job):
    sys.exit(0)


def exit_with_one(job):
    sys.exit(1)


def press_ctrl_c(job):
    raise KeyboardInterrupt


def close_a_generator(job):
    raise GeneratorExit


def cancel_a_coroutine(job):
    raise asyncio.CancelledError


def recurse_for_ever(job):
    recurse_for_ever(job)


def run_out_of_memory(job):
    raise MemoryError


def stop_iterating(job):
    raise StopIteration


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


def raise_the_unspeakable(job):
    raise Unspeakable


def raise_a_group(job):
    raise ExceptionGroup("several", [ValueError("one"), KeyError("two")])


def raise_in_many_scripts(job):
    raise ValueError("naïve \N{PARTY POPPER} \0 \ud800 'quoted' \\ \"twice\" {} % %s")


def return_garbage(job):
    return object()


async def succeed_asynchronously(job):
    await asyncio.sleep(0)
    job.workspace["loop"] = type(asyncio.get_running_loop()).__name__


async def fail_asynchronously(job):
    await asyncio.sleep(0)
    raise LookupError("within a coroutine")


# Tasks that do not leave the database as they found it


def left_behind():
    """Write what must not outlive the transaction it was written in."""
    # Settings import this module: there are no models yet.
    from dbq.models import Queue

    Queue.objects.create(name="left-behind")


def leave_a_transaction_open(job):
    transaction.atomic().__enter__()
    left_behind()


def type_begin(job):
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
    left_behind()


def turn_autocommit_off(job):
    transaction.set_autocommit(False)
    left_behind()


def break_a_transaction(job):
    """Swallow the error that aborted the transaction, and go on as if nothing had been."""
    with transaction.atomic():
        try:
            run_bad_sql()
        except DatabaseError:
            job.workspace["swallowed"] = True


def break_a_transaction_and_leave_it(job):
    transaction.atomic().__enter__()
    try:
        run_bad_sql()
    except DatabaseError:
        job.workspace["swallowed"] = True


def run_bad_sql():
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def close_the_connection(job):
    connection.ensure_connection()
    connection.close()


def close_all_connections(job):
    connection.ensure_connection()
    connections.close_all()


def close_the_driver_connection(job):
    """Behind Django's back, as a dropped network would."""
    connection.ensure_connection()
    connection.connection.close()


def change_directory(job):
    os.chdir("/")


# Workspaces that are none


def keep_not_a_number(job):
    job.workspace["value"] = float("nan")


def keep_a_nul(job):
    job.workspace["value"] = "a\0b"


def keep_half_a_surrogate_pair(job):
    job.workspace["value"] = "\ud800"


def keep_two_megabytes(job):
    job.workspace["value"] = "x" * 2_000_000


def keep_a_set(job):
    job.workspace["value"] = {1, 2}


def keep_a_time(job):
    job.workspace["value"] = datetime.now(UTC)


def keep_a_number_as_key(job):
    job.workspace[1] = "one"


def keep_itself(job):
    job.workspace["itself"] = job.workspace


def keep_a_deep_nest(job):
    for _ in range(5_000):
        job.workspace = {"deeper": job.workspace}


def replace_the_workspace_by_a_list(job):
    job.workspace = [1, 2]


def replace_the_workspace_by_none(job):
    job.workspace = None


def keep_a_tuple(job):
    job.workspace["pair"] = (1, 2)


def look_at_the_pair(job):
    job.workspace["kind"] = type(job.workspace["pair"]).__name__


# Tasks that take too long


def outlive_the_timeout(job):
    begun.set()
    while not may_end.wait(0.005):
        pass


def outlive_the_timeout_in_a_sleep(job):
    begun.set()
    time.sleep(0.2)


async def outlive_the_timeout_asynchronously(job):
    await asyncio.sleep(60)


async def raise_a_timeout_of_its_own(job):
    raise TimeoutError("a socket, not the task")


# Hooks


def add_to_the_workspace(job):
    job.workspace["created_by"] = job.name


def refuse_creation(job):
    raise ValueError("not on my watch")


def note_pre(job):
    job.workspace.setdefault("hooks", []).append(f"pre {job.next_task.rpartition('.')[2]}")


def note_post(job):
    job.workspace.setdefault("hooks", []).append(f"post {job.next_task.rpartition('.')[2]}")


def note_failure(job, exception):
    ran.append((job.id, f"failure hook: {exception}"))


def raise_in_hook(job):
    raise RuntimeError("the hook is broken")


def edit_and_raise_in_hook(job):
    job.workspace["half"] = "done"
    raise RuntimeError("the hook is broken")


def raise_in_failure_hook(job, exception):
    sys.exit(3)


def leave_a_transaction_open_in_hook(job):
    transaction.atomic().__enter__()
    left_behind()


def _alone(*names: str) -> dict[str, list[str]]:
    """A job of one task for each, of the same name."""
    return {name: [f"tests.jobs.{name}"] for name in names}


JOBS = {
    "succeed": ["tests.jobs.succeed"],
    "nothing": ["tests.jobs.nothing"],
    "two": ["tests.jobs.succeed", "tests.jobs.succeed_again"],
    "edit": ["tests.jobs.edit"],
    "fail": ["tests.jobs.fail"],
    "fail_twice": {"tasks": ["tests.jobs.fail_twice"], "max_attempts": 3, "backoff": 1},
    "fail_at_the_end": ["tests.jobs.edit", "tests.jobs.fail"],
    "scripted_once": ["tests.jobs.follow_the_script"],
    "scripted": [
        "tests.jobs.follow_the_script",
        "tests.jobs.follow_the_script_again",
        "tests.jobs.follow_the_script_to_the_end",
    ],
    "scripted_patiently": {
        "tasks": [
            "tests.jobs.follow_the_script",
            "tests.jobs.follow_the_script_again",
            "tests.jobs.follow_the_script_to_the_end",
        ],
        "max_attempts": 30,
        "backoff": 1,
    },
    "fail_for_ever": {"tasks": ["tests.jobs.fail"], "max_attempts": 30, "backoff": 10},
    "elsewhere": {"tasks": ["tests.jobs.nothing"], "queue_name": "mail", "priority": 7},
    "tuples": ["tests.jobs.keep_a_tuple", "tests.jobs.look_at_the_pair"],
    "hooked": {
        "tasks": ["tests.jobs.succeed", "tests.jobs.succeed_again"],
        "creation_hook": "tests.jobs.add_to_the_workspace",
        "pre_task_hook": "tests.jobs.note_pre",
        "post_task_hook": "tests.jobs.note_post",
        "failure_hook": "tests.jobs.note_failure",
    },
    "hooked_failure": {
        "tasks": ["tests.jobs.fail"],
        "failure_hook": "tests.jobs.note_failure",
    },
    "hooked_retries": {
        "tasks": ["tests.jobs.fail"],
        "max_attempts": 2,
        "failure_hook": "tests.jobs.note_failure",
    },
    "refused": {"tasks": ["tests.jobs.nothing"], "creation_hook": "tests.jobs.refuse_creation"},
    "broken_pre_hook": {
        "tasks": ["tests.jobs.succeed"],
        "pre_task_hook": "tests.jobs.raise_in_hook",
    },
    "broken_post_hook": {
        "tasks": ["tests.jobs.succeed", "tests.jobs.edit"],
        "post_task_hook": "tests.jobs.edit_and_raise_in_hook",
    },
    "careless_post_hook": {
        "tasks": ["tests.jobs.succeed"],
        "post_task_hook": "tests.jobs.leave_a_transaction_open_in_hook",
    },
    "broken_failure_hook": {
        "tasks": ["tests.jobs.fail"],
        "failure_hook": "tests.jobs.raise_in_failure_hook",
    },
    "limited": {"tasks": ["tests.jobs.outlive_the_timeout"], "timeout": 30},
    "limited_in_a_sleep": {"tasks": ["tests.jobs.outlive_the_timeout_in_a_sleep"], "timeout": 30},
    "limited_asynchronously": {
        "tasks": ["tests.jobs.outlive_the_timeout_asynchronously"],
        "timeout": 0.01,
    },
    "limited_generously": {"tasks": ["tests.jobs.raise_a_timeout_of_its_own"], "timeout": 30},
    **_alone(
        "save_and_fail",
        "create_another",
        "wait",
        "exit_with_zero",
        "exit_with_one",
        "press_ctrl_c",
        "close_a_generator",
        "cancel_a_coroutine",
        "recurse_for_ever",
        "run_out_of_memory",
        "stop_iterating",
        "raise_the_unspeakable",
        "raise_a_group",
        "raise_in_many_scripts",
        "return_garbage",
        "succeed_asynchronously",
        "fail_asynchronously",
        "leave_a_transaction_open",
        "type_begin",
        "turn_autocommit_off",
        "break_a_transaction",
        "break_a_transaction_and_leave_it",
        "close_the_connection",
        "close_all_connections",
        "close_the_driver_connection",
        "change_directory",
        "keep_not_a_number",
        "keep_a_nul",
        "keep_half_a_surrogate_pair",
        "keep_two_megabytes",
        "keep_a_set",
        "keep_a_time",
        "keep_a_number_as_key",
        "keep_itself",
        "keep_a_deep_nest",
        "replace_the_workspace_by_a_list",
        "replace_the_workspace_by_none",
    ),
}

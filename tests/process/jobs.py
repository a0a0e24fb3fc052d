"""Sample tasks that run in real worker processes; each notes its start and its end in the ledger."""

import ctypes
import functools
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

from django.db import connection

from tests.process import ledger

GATE_SECONDS = 60


def noted(task):
    @functools.wraps(task)
    def run(job):
        ledger.note("start", job)
        task(job)
        ledger.note("end", job)

    return run


@noted
def work(job):
    """Take `seconds` of the workspace for it, or no time."""
    time.sleep(job.workspace.get("seconds", 0))


@noted
def work_on(job):
    time.sleep(job.workspace.get("seconds", 0))


def write(job):
    """Leave something in the workspace, and nothing in the ledger: for runs too long to keep one."""
    job.workspace["written"] = job.workspace["text"][::-1]


@noted
def wait(job):
    """Wait until the test makes the file `gate`."""
    _wait_for(job.workspace["gate"])


@noted
def count(job):
    """Make a checkpoint at each step to `steps`."""
    job.workspace["seen"] = []
    for step in range(job.workspace["steps"]):
        job.workspace["seen"].append(step)
        job.checkpoint()


@noted
def ask(job):
    """Use the task's own connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@noted
def crash(job):
    """End the process without a word, each time in another way."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    match job.attempt:
        case 1:
            os._exit(7)
        case 2:
            os.abort()
        case _:
            ctypes.string_at(0)


@noted
def sleep_long_once(job):
    if job.attempt == 1:
        time.sleep(GATE_SECONDS)


@noted
def hold_interpreter_once(job):
    """Sleep in C with the interpreter lock held: no other thread of the process gets a turn."""
    if job.attempt == 1:
        ctypes.PyDLL(None).sleep(GATE_SECONDS)


@noted
def fork(job):
    """Three ways of having another process for a while."""
    process = multiprocessing.get_context("fork").Process(target=os.getpid)
    process.start()
    process.join()
    pid = os.fork()
    if pid == 0:
        sys.exit(3)  # as careless code does: with everything that was inherited
    _, status = os.waitpid(pid, 0)
    done = subprocess.run([sys.executable, "-c", ""])
    job.workspace["left with"] = [process.exitcode, os.waitstatus_to_exitcode(status), done.returncode]


@noted
def change_session(job):
    """Leave the task's connection as no other task would like to find it."""
    with connection.cursor() as cursor:
        for statement in SESSIONS[connection.vendor]:
            cursor.execute(statement)


@noted
def run_out_of_memory(job):
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * os.sysconf("SC_PAGE_SIZE") + 64 * 2**20, hard))
    try:
        bytearray(2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@noted
def fail_at_random(job):
    """Fail as often as the workspace says."""
    if random.random() < job.workspace["failing"]:
        raise ValueError("The dice said so.")


@noted
def never_end(job):
    while True:
        time.sleep(0.01)


def _wait_for(path):
    deadline = time.monotonic() + GATE_SECONDS
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Nobody opened {path}.")
        time.sleep(0.005)


SESSIONS = {
    "postgresql": [
        "SET default_transaction_read_only = on",
        "SET search_path = nowhere",
        "SET TIME ZONE 'Pacific/Auckland'",
        "SELECT pg_advisory_lock(1)",
    ],
    "mysql": ["SET SESSION sql_mode = ''", "SET time_zone = '+11:00'", "SET SESSION lock_wait_timeout = 1"],
    "sqlite": [],
}

JOBS = {
    "work": ["tests.process.jobs.work"],
    "two": ["tests.process.jobs.work", "tests.process.jobs.work_on"],
    "plain": ["tests.process.jobs.write"],
    "wait": ["tests.process.jobs.wait"],
    "wait_then_work": ["tests.process.jobs.wait", "tests.process.jobs.work"],
    "count": ["tests.process.jobs.count"],
    "ask": ["tests.process.jobs.ask"],
    "crash": ["tests.process.jobs.crash"],
    "sleep_long_once": {"tasks": ["tests.process.jobs.sleep_long_once"], "hard_timeout": 1},
    "hold_interpreter_once": {
        "tasks": ["tests.process.jobs.hold_interpreter_once"],
        "hard_timeout": 1,
    },
    "fork": ["tests.process.jobs.fork"],
    "change_session": ["tests.process.jobs.change_session"],
    "run_out_of_memory": ["tests.process.jobs.run_out_of_memory"],
    "gamble": ["tests.process.jobs.work", "tests.process.jobs.fail_at_random", "tests.process.jobs.work_on"],
    "never_end": {"tasks": ["tests.process.jobs.never_end"], "timeout": 0.5},
}

"""What happens to SQLite's file: somebody locks it, its writers are killed, it is full, or read-only."""

import random
import signal
import sqlite3
import threading
import time
from contextlib import closing, contextmanager

import pytest
from django.db import connection

from dbq.models import Job
from dbq.states import State
from tests.chaos.load import assert_all_is_well, make_jobs
from tests.chaos.servers import ask
from tests.process.workers import wait_until, wait_until_drained

pytestmark = [
    pytest.mark.process,
    pytest.mark.chaos,
    pytest.mark.on("sqlite"),
    pytest.mark.django_db(transaction=True),
]

JOBS = 800
LOCKED_SECONDS = 10
KILLS = 200
SEED = 17
# Every commit is on the disk when it has returned.
FULL = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"


@pytest.mark.fault(16)
@pytest.mark.parametrize("timeout", [0.5, 20])
def test_a_lock_of_ten_seconds_by_somebody_else_is_outlived(timeout, workers, ledger, record_property):
    command = workers.start("--processes", "2", "--threads", "2", options={"timeout": timeout})
    command.wait_until_ready(2)
    children = command.get_children()
    make_jobs(JOBS)
    wait_until(lambda: ledger.get_size() > 5000, what="tasks run")

    with locked_file():
        threading.Event().wait(LOCKED_SECONDS)
    began = time.monotonic()
    completed = Job.objects.filter(state=State.COMPLETED)
    before = completed.count()
    assert before < JOBS, "The file was locked too late: nothing was left to do."
    wait_until(lambda: completed.count() > before, what="a job completes")
    record_property("seconds from the lock's end to a completed job", round(time.monotonic() - began, 2))

    wait_until_drained()
    assert_all_is_well(ledger)
    assert command.get_children() == children


@contextmanager
def locked_file():
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=20)) as file:
        file.execute("BEGIN EXCLUSIVE")
        yield
        file.execute("ROLLBACK")


@pytest.mark.fault(17)
def test_workers_killed_in_the_middle_of_commits_leave_a_whole_file(workers, ledger, record_property):
    dice = random.Random(SEED)
    commands = [start(workers) for _ in range(2)]
    for number in range(KILLS):
        if number % 10 == 0:
            make_jobs(100)
        # A commit follows the end of each task within moments.
        goal = ledger.get_size() + dice.randrange(100, 1500)
        wait_until(lambda goal=goal: ledger.get_size() >= goal or is_drained(), what="tasks run")
        place = dice.randrange(len(commands))
        commands[place].kill_all()
        commands[place] = start(workers)
        assert number % 10 or ask("PRAGMA quick_check") == [("ok",)]
    wait_until_drained(120)

    assert ask("PRAGMA integrity_check") == [("ok",)]
    verdict = ledger.judge(Job.objects.all(), workers.kills)
    record_property("processes killed", len(workers.kills))
    record_property("repeats", len(verdict.duplicated))
    verdict.assert_all_is_well()


def start(workers):
    """Without a supervisor that goes on: nobody tidies up at once."""
    return workers.start(options={"init_command": FULL})


def is_drained():
    return not Job.objects.exclude(state=State.COMPLETED).exists()


@pytest.mark.fault(15)
def test_workers_wait_for_room_in_a_full_file(workers, ledger, record_property):
    limit = ask("PRAGMA page_count")[0][0] + 50
    command = workers.start(options={"init_command": f"{FULL} PRAGMA max_page_count={limit};"})
    command.wait_until_ready()
    children = command.get_children()
    with filled_up(limit):
        make_jobs(JOBS)
        command.wait_until_it_says("database or disk is full")
        waiting = Job.objects.exclude(state=State.COMPLETED).count()
        assert waiting > 0
        assert ask("PRAGMA integrity_check") == [("ok",)]
    wait_until_drained()

    record_property("jobs that waited for room", waiting)
    assert_all_is_well(ledger)
    assert command.get_children() == children
    assert ask("PRAGMA integrity_check") == [("ok",)]


@contextmanager
def filled_up(pages):
    """Take so many pages and more, as if the disk of whoever is limited to them were full."""
    ask("CREATE TABLE filling (text)")
    while ask("PRAGMA page_count")[0][0] <= pages:
        ask("INSERT INTO filling VALUES (zeroblob(100000))")
    try:
        yield
    finally:
        ask("DROP TABLE filling")


@pytest.mark.fault(9)
def test_a_worker_on_a_file_that_is_read_only_complains_once_and_stays(workers):
    job = Job.objects.create(name="work")
    name = f"file:{connection.settings_dict['NAME']}?mode=ro"
    # Not its journal mode: to set it is to write.
    command = workers.start(database={"NAME": name}, options={"uri": True, "init_command": ""})
    command.wait_until_it_says("attempt to write a readonly database")
    children = command.get_children()
    threading.Event().wait(5)

    assert command.read_output().count("ERROR") == 1
    assert command.get_children() == children
    job.refresh_from_db()
    assert job.state == State.NEW
    command.signal(signal.SIGTERM)
    assert command.wait() == 0

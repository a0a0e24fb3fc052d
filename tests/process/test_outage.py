"""The database goes away under load and comes back: no worker exits, no job is lost or run twice."""

import os
import random
import sqlite3
import threading

import pytest
from django.db import connection

from dbq.models import Job
from tests.process.workers import wait_until, wait_until_drained

pytestmark = [pytest.mark.process, pytest.mark.django_db(transaction=True)]

OUTAGES = 12
# Created before each of them.
JOBS = 60
SEED = int(os.environ.get("DBQ_TEST_SEED", "6"))


@pytest.mark.fault(6)
def test_workers_outlive_outages_of_the_database(workers, ledger, record_property):
    dice = random.Random(SEED)
    # SQLite: what waits no longer for the lock than this fails as if there were no database.
    options = {"timeout": 0.05} if connection.vendor == "sqlite" else {}
    command = workers.start("--processes", "2", "--threads", "2", options=options)
    command.wait_until_ready(2)
    children = command.get_children()
    for _ in range(OUTAGES):
        goal = ledger.get_size() + dice.randrange(1000, 10_000)
        Job.objects.bulk_create([make_job(number) for number in range(JOBS)])
        wait_until(lambda size=goal: ledger.get_size() >= size, what="tasks run")
        interrupt_database()
    wait_until_drained(120)

    jobs = list(Job.objects.all())
    verdict = ledger.judge(jobs)
    record_property("repeats", len(verdict.duplicated))
    verdict.assert_all_is_well()
    assert len(jobs) == OUTAGES * JOBS
    assert verdict.duplicated == []
    assert command.get_children() == children
    for job in jobs:
        if job.name == "count":
            assert job.workspace["seen"] == list(range(job.workspace["steps"]))


def make_job(number):
    if number % 20 == 0:
        return Job(name="count", workspace={"steps": 10})
    return Job(name="two", workspace={"seconds": 0.001})


def interrupt_database():
    """Cut every connection but this one; on SQLite, which has none, lock the file for a while."""
    if connection.vendor == "postgresql":
        ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    elif connection.vendor == "mysql":
        others = ask(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        )
        for (number,) in others:
            kill_connection(number)
    else:
        lock_file()


def ask(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def kill_connection(number):
    with connection.cursor() as cursor:
        try:
            cursor.execute(f"KILL CONNECTION {int(number)}")
        except connection.Database.OperationalError as error:
            if error.args[0] != 1094:  # it has just gone
                raise


def lock_file():
    file = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=20)
    try:
        file.execute("BEGIN EXCLUSIVE")
        threading.Event().wait(0.3)
        file.execute("ROLLBACK")
    finally:
        file.close()

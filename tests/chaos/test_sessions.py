"""What a server, or somebody else who uses it, does to the sessions of workers."""

import threading
import time
from contextlib import closing, contextmanager

import pytest
from django.db import DatabaseError, connection, connections

from dbq.models import Job
from dbq.states import State
from tests.chaos.load import assert_all_is_well, make_jobs
from tests.chaos.servers import ask, lead_to, serve
from tests.process.test_outage import interrupt_database
from tests.process.workers import wait_until, wait_until_all_ended, wait_until_drained

pytestmark = [
    pytest.mark.process,
    pytest.mark.chaos,
    pytest.mark.on("postgresql", "mysql"),
    pytest.mark.django_db(transaction=True),
]

CUTS = 10


@pytest.mark.fault(6)
def test_workers_outlive_a_cut_of_all_connections_every_two_seconds(workers, ledger, record_property):
    command = workers.start("--processes", "2", "--threads", "2")
    command.wait_until_ready(2)
    children = command.get_children()
    began = time.monotonic()
    for number in range(1, CUTS + 1):
        while time.monotonic() < began + 2 * number:
            make_jobs(50)
            threading.Event().wait(0.2)
        interrupt_database()
    wait_until_drained(120)

    record_property("jobs", Job.objects.count())
    record_property("seconds", round(time.monotonic() - began, 1))
    assert_all_is_well(ledger)
    assert command.get_children() == children


# Read-only

READ_ONLY = {
    "postgresql": (
        "ALTER DATABASE dbq SET default_transaction_read_only = on",
        "ALTER DATABASE dbq RESET default_transaction_read_only",
    ),
    "mysql": ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0"),
}


@pytest.mark.fault(9)
def test_workers_wait_while_the_database_is_read_only_and_complain_once(
    server, workers, ledger, record_property
):
    # MariaDB lets accounts that may do everything write all the same.
    database = {"USER": "plain", "PASSWORD": "plain"} if connection.vendor == "mysql" else {}
    command = workers.start("--threads", "2", database=database)
    command.wait_until_ready()
    children = command.get_children()
    make_jobs(600)
    wait_until(lambda: ledger.get_size() > 5000, what="tasks run")

    with read_only():
        command.wait_until_it_says("The database fails")
        threading.Event().wait(10)
        assert command.read_output().count(" ERROR ") == 1
        assert "Traceback" not in command.read_output()
        waiting = Job.objects.exclude(state=State.COMPLETED).count()
        assert waiting > 0
    began = time.monotonic()
    wait_until(lambda: Job.objects.exclude(state=State.COMPLETED).count() < waiting, what="a job completes")
    record_property("seconds from the end to a completed job", round(time.monotonic() - began, 2))

    wait_until_drained()
    assert_all_is_well(ledger)
    assert command.get_children() == children


@contextmanager
def read_only():
    begin, end = READ_ONLY[connection.vendor]
    ask(begin)
    interrupt_database()
    try:
        yield
    finally:
        ask(end)
        interrupt_database()


# Calls


@pytest.mark.on("postgresql")
@pytest.mark.fault(14)
def test_a_job_whose_call_is_lost_is_found_all_the_same(workers, settings, record_property):
    command = workers.start()
    command.wait_until_ready()
    record_property("seconds for a job, called", measure_job())

    settings.DBQ = {"NOTIFY": False}
    slowest = max(measure_job() for _ in range(5))
    record_property("seconds for the slowest of 5 jobs, not called", slowest)
    assert slowest < 3
    assert "ERROR" not in command.read_output()


def measure_job():
    """Seconds from the creation of a job until it has ended."""
    began = time.monotonic()
    wait_until_all_ended([Job.objects.create(name="work")])
    return round(time.monotonic() - began, 3)


@pytest.mark.on("postgresql")
@pytest.mark.fault(14)
def test_a_full_queue_of_notifications_keeps_nobody_from_creating_jobs(workers, transactional_db):
    with serve("max_notify_queue_pages=64") as server, lead_to(server.port):
        workers.start(NOTIFY=False).wait_until_ready()
        with sleeping_listener():
            fill_notifications()
            jobs = [Job.objects.create(name="work") for _ in range(3)]
            wait_until_all_ended(jobs)
        assert [job.state for job in jobs] == [State.COMPLETED] * 3


@contextmanager
def sleeping_listener():
    """Somebody who listens, and never ends its transaction to hear."""
    with closing(connections.create_connection("default")) as other:
        other.settings_dict = connection.settings_dict
        with other.cursor() as cursor:
            cursor.execute("LISTEN dbq")
            cursor.execute("BEGIN")
            cursor.execute("SELECT 1")
            yield


def fill_notifications():
    for _ in range(1000):
        try:
            ask("SELECT pg_notify('dbq', repeat('x', 7900))")
        except DatabaseError as error:
            assert "NOTIFY queue" in str(error)
            return
    raise AssertionError("The queue of notifications is never full.")


# Isolation


@pytest.mark.on("postgresql")
@pytest.mark.fault(19)
@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_workers_serve_a_database_with_another_isolation_level(
    level, server, workers, ledger, record_property
):
    ask(f"ALTER DATABASE dbq SET default_transaction_isolation = '{level}'")
    try:
        command = workers.start("--processes", "2", "--threads", "2")
        command.wait_until_ready(2)
        began = time.monotonic()
        for _ in range(20):
            make_jobs(50)
        wait_until_drained(120)
    finally:
        ask("ALTER DATABASE dbq RESET default_transaction_isolation")
    record_property("jobs in a second", round(1000 / (time.monotonic() - began)))
    assert_all_is_well(ledger)


@pytest.mark.on("mysql")
@pytest.mark.fault(19)
@pytest.mark.parametrize("level", ["READ-COMMITTED", "REPEATABLE-READ", "SERIALIZABLE"])
def test_the_isolation_level_of_the_server_does_not_matter(level, server, workers, ledger):
    [[before]] = ask("SELECT @@global.tx_isolation")
    ask("SET GLOBAL tx_isolation = %s", [level])
    try:
        command = workers.start("--processes", "2", "--threads", "2")
        command.wait_until_ready(2)
        for _ in range(10):
            make_jobs(50)
        wait_until_drained(120)
    finally:
        ask("SET GLOBAL tx_isolation = %s", [before])
    assert_all_is_well(ledger)


@pytest.mark.on("mysql")
@pytest.mark.fault(19)
def test_a_worker_that_asks_for_another_isolation_level_is_refused(workers):
    command = workers.start(options={"isolation_level": "repeatable read"})

    assert command.wait() == 1
    assert 'uses the isolation level "repeatable read"; dbq needs "read committed"' in command.read_output()


# Somebody else's transaction


@pytest.mark.on("postgresql")
@pytest.mark.fault(52)
def test_a_transaction_of_somebody_else_does_not_keep_jobs_waiting(workers, ledger, record_property):
    command = workers.start("--threads", "2")
    command.wait_until_ready()
    record_property("seconds for a job before", median_of_jobs())
    with reader():
        began = time.monotonic()
        while time.monotonic() - began < 30:
            make_jobs(200)
            wait_until_drained()
        record_property("jobs during the transaction", Job.objects.count())
        during = median_of_jobs()
        record_property("seconds for a job at its end", during)
    assert during < 1


@contextmanager
def reader():
    with closing(connections.create_connection("default")) as other:
        other.settings_dict = connection.settings_dict
        with other.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT COUNT(*) FROM dbq_job")
            yield


def median_of_jobs():
    return sorted(measure_job() for _ in range(11))[5]

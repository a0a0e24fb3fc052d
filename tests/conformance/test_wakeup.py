"""Telling sleeping workers that there is work: after the commit, once for many jobs, and as a hint only."""

import select
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction

from dbq import wakeup
from dbq.engine import Duty
from dbq.models import Job, Queue
from dbq.runner import Runner
from dbq.states import State
from tests.helpers import RACE_SECONDS, dialect, make_job, start_engine

CALLS = connection.vendor == "postgresql"


@pytest.fixture
def listener():
    """Somebody else's ear, where the database has one."""
    with closing(connections.create_connection("default")) as other:
        yield type(dialect())(other).listen()


def hear(listener) -> set[str]:
    """The queues that were called: all there are before a call of somebody else's, made now."""
    heard: set[str] = set()
    if listener is not None:
        with closing(connections.create_connection("default")) as bell, bell.cursor() as cursor:
            cursor.execute("SELECT pg_notify('dbq', 'somebody-else')")
        while "somebody-else" not in heard:
            assert select.select([listener], [], [], RACE_SECONDS)[0]
            heard |= listener.read()
    return heard - {"somebody-else"}


def test_only_postgresql_can_call(listener):
    assert (listener is not None) is CALLS


def test_only_a_worker_on_sqlite_watches_for_changes():
    changes = dialect().watch_changes()
    assert (changes is not None) is (connection.vendor == "sqlite" and sys.platform == "linux")
    if changes is not None:
        make_job()
        assert changes.read()
        changes.close()


def test_a_created_job_calls_the_workers_of_its_queue(listener):
    make_job(queue_name="mail")

    assert hear(listener) == ({"mail"} if CALLS else set())


@pytest.mark.fault(48)
def test_a_job_that_is_not_committed_calls_nobody(listener):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        make_job()
        1 / 0  # noqa: B018

    assert hear(listener) == set()


def test_a_call_waits_for_the_commit(listener):
    with transaction.atomic():
        make_job()
        assert hear(listener) == set()

    assert hear(listener) == ({"default"} if CALLS else set())


@pytest.mark.on("postgresql")
class TestACallAlongWithItsJob:
    @pytest.fixture(autouse=True)
    def statements(self) -> Iterator[list]:
        """Those of this test, on a connection that repeats nothing yet."""
        wakeup._last_calls.clear()
        connection.close()
        statements: list = []
        with connection.execute_wrapper(note_statements(statements)):
            yield statements

    def test_costs_no_round_trip(self, listener, statements):
        job = Job.objects.create(name="nothing")

        assert ["INSERT" in statement for statement in statements] == [True]
        assert hear(listener) == {"default"}
        assert Job.objects.get().pk == job.pk

    def test_is_none_within_a_transaction(self, listener, statements):
        with transaction.atomic():
            make_job()
            assert "pg_notify" not in statements[-1]
        assert "pg_notify" in statements[-1]

    def test_is_none_where_values_travel_beside_the_statement(self, listener, statements, monkeypatch):
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "server_side_binding", True)
        make_job()

        assert "pg_notify" not in statements[0]
        assert hear(listener) == {"default"}

    def test_whose_job_is_refused_is_given_back(self, listener, statements):
        job = make_job()
        wakeup._last_calls.clear()
        hear(listener)
        with pytest.raises(IntegrityError):
            Job.objects.create(name="nothing", id=job.pk)
        # The connection is as it was, in no transaction.
        assert hear(listener) == set()

        make_job()
        assert hear(listener) == {"default"}

    def test_that_fails_leaves_the_job(self, listener, monkeypatch, caplog):
        # The longest name of a channel has 63 bytes.
        monkeypatch.setattr("dbq.dialects.postgresql.CHANNEL", "c" * 64)
        job = make_job()

        assert Job.objects.get().pk == job.pk
        assert "Workers of default could not be called." in caplog.messages


def note_statements(statements: list) -> Callable:
    def note(execute, sql, parameters, many, context):
        statements.append(sql)
        return execute(sql, parameters, many, context)

    return note


def test_many_jobs_call_once(listener, monkeypatch):
    monkeypatch.setattr(wakeup, "PAUSE_SECONDS", 60)
    calls = []
    with connection.execute_wrapper(note_calls(calls)):
        for _ in range(10):
            make_job()
        Job.objects.bulk_create([Job(name="nothing") for _ in range(10)])

    assert len(calls) == (1 if CALLS else 0)


def note_calls(calls):
    def note(execute, sql, parameters, many, context):
        if "pg_notify" in sql:
            calls.append(parameters)
        return execute(sql, parameters, many, context)

    return note


def test_a_scheduled_job_calls_nobody(listener):
    make_job(run_after=dialect().read_clock().replace(year=2100))

    assert hear(listener) == set()


@pytest.mark.parametrize("verb", ["retry", "requeue"])
def test_a_job_that_is_set_going_calls(verb, listener):
    job = make_job(State.FAILED)
    wakeup._last_calls.clear()
    hear(listener)

    getattr(job, verb)()

    assert hear(listener) == ({"default"} if CALLS else set())


def test_a_resumed_queue_calls(listener):
    Queue(name="mail").pause()

    Queue(name="mail").resume()

    assert hear(listener) == ({"mail"} if CALLS else set())


def test_calls_can_be_turned_off(listener, settings):
    settings.DBQ = {"NOTIFY": False}

    make_job()

    assert hear(listener) == set()


@pytest.mark.parametrize("was_cut_off", [False, True])
def test_a_called_worker_claims_before_it_does_what_is_due(was_cut_off):
    make_job()
    engine, claimed = start_engine(), []
    engine._duties = [Duty(lambda: claimed.append(bool(engine.ready)), 60)]

    engine.was_cut_off = was_cut_off
    engine.expect_work()
    engine.turn()

    # After an outage its heartbeat comes first.
    assert claimed == [not was_cut_off]
    assert len(engine.ready) == 1


@pytest.mark.on("postgresql")
class TestAWorkerHearsOnItsOwnConnection:
    @pytest.fixture
    def runner(self) -> Iterator[Runner]:
        runner = Runner(start_engine())
        runner.engine.turn()
        yield runner
        # The next test has a connection that hears nothing.
        connection.close()

    def test_while_it_waits(self, runner):
        with closing(connections.create_connection("default")) as other:
            call("default", other)
            runner._wait(RACE_SECONDS)

        assert runner.engine._is_called

    def test_along_with_an_answer(self, runner):
        call("default")
        dialect().execute("SELECT 1")

        # The call was read from the line: nobody would wake up from it.
        assert not select.select([runner.engine.listener], [], [], 0)[0]
        runner._wait(RACE_SECONDS)
        assert runner.engine._is_called

    def test_of_its_own_queues_alone(self, runner):
        call("somebody-else")
        runner._wait(RACE_SECONDS)

        assert not runner.engine._is_called

    def test_on_the_next_one_as_well(self, runner):
        connection.close()
        assert runner._get_listener() is None
        assert not runner._hears

        runner.engine.turn()
        call("default")
        runner._wait(RACE_SECONDS)
        assert runner.engine._is_called

    def test_until_the_line_is_cut(self, runner):
        assert dialect().hang_up()
        runner._wait(RACE_SECONDS)

        # It neither fails nor wakes up again and again.
        assert runner._get_listener() is None
        with pytest.raises(OperationalError):
            runner.engine.turn()

    def test_not_if_calls_are_turned_off(self, settings):
        settings.DBQ = {"NOTIFY": False}
        runner = Runner(start_engine())
        runner.engine.turn()

        assert runner._get_listener() is None


def call(queue_name: str, by: Any = connection) -> None:
    with by.cursor() as cursor:
        cursor.execute("SELECT pg_notify('dbq', %s)", [queue_name])

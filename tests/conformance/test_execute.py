"""Statements of our own on an engine's connection: rows, errors and transactions as cursors have them."""

import pytest
from django.db import DatabaseError, IntegrityError, OperationalError, connection, connections, transaction

from dbq.engine import Engine
from dbq.models import Job, Queue
from tests.helpers import dialect, make_job

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def engine():
    """Its first turn sets the connection up for its statements."""
    engine = Engine()
    engine.turn()
    yield engine
    engine.deregister()


def test_rows_are_those_of_a_cursor():
    for number in range(3):
        make_job(workspace={"n": number, "text": "ü — 100 %"}, unique_key=f"key-{number}")
    statement = (
        "SELECT id, name, lane, priority, workspace, created, finished, unique_key FROM dbq_job ORDER BY id"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement)
        expected = [tuple(row) for row in cursor.fetchall()]
    rows = dialect().execute(statement)
    assert [tuple(row) for row in rows] == expected
    assert [list(map(type, row)) for row in rows] == [list(map(type, row)) for row in expected]


def test_parameters_and_percent_signs_are_as_in_a_cursor():
    assert list(dialect().execute("SELECT '1%%', %s, %s", ("50%", None))) == [("1%", "50%", None)]
    assert list(dialect().execute("SELECT '1%%'")) == [("1%",)]


def test_a_statement_without_rows_gives_none():
    make_job()
    assert list(dialect().execute("UPDATE dbq_job SET priority = 7")) == []
    assert Job.objects.get().priority == 7


def test_a_transaction_holds_what_it_did():
    job = make_job()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        dialect().execute("UPDATE dbq_job SET priority = 7")
        assert list(dialect().execute("SELECT priority FROM dbq_job")) == [(7,)]
        raise ZeroDivisionError
    assert Job.objects.get(pk=job.pk).priority == 0
    with transaction.atomic():
        dialect().execute("UPDATE dbq_job SET priority = 8")
    assert Job.objects.get(pk=job.pk).priority == 8


def test_errors_are_those_of_django():
    Queue.objects.create(name="mail")
    twice = "INSERT INTO dbq_queue (name, paused_by, paused_reason) SELECT name, '', '' FROM dbq_queue"
    with pytest.raises(IntegrityError), transaction.atomic():
        dialect().execute(twice)
    with pytest.raises(DatabaseError), transaction.atomic():
        dialect().execute("SELECT nonsense FROM nowhere")
    assert list(dialect().execute("SELECT name FROM dbq_queue")) == [("mail",)]


def test_wrappers_see_the_statements_and_may_change_them():
    seen = []

    def change(execute, sql, parameters, many, context):
        seen.append((sql, list(parameters), many, context["connection"].alias))
        return execute("SELECT %s", ["another"], many, context)

    with connection.execute_wrapper(change):
        assert list(dialect().execute("SELECT %s", ("one",))) == [("another",)]
    assert seen == [("SELECT %s", ["one"], False, "default")]


@pytest.mark.on("postgresql")
def test_a_line_that_is_cut_is_an_error_of_the_connection():
    [(pid,)] = dialect().execute("SELECT pg_backend_pid()")
    other = connections.create_connection("default")
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()
    with pytest.raises(OperationalError):
        dialect().execute("SELECT 1")
    assert connection.connection.closed
    connection.close()


@pytest.mark.on("postgresql")
def test_a_transaction_has_the_level_that_the_settings_ask_for():
    from psycopg import IsolationLevel

    connection.connection.isolation_level = IsolationLevel.REPEATABLE_READ
    with transaction.atomic():
        assert dialect().execute("SHOW transaction_isolation") == [("repeatable read",)]
    connection.close()


@pytest.mark.on("postgresql")
def test_the_server_does_not_compile_what_it_may_not_scan():
    """Before PostgreSQL 18 a plan that is switched off costs so much that it is compiled, in 200 ms."""
    assert dialect().execute("SHOW jit") == [("off",)]

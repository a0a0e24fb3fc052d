"""Who creates many jobs, one by one, on the same connection: PostgreSQL gets to know the statement."""

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, connection, connections, transaction

from dbq import wakeup
from dbq.dialects import prepared
from dbq.dialects.postgresql import PostgreSQLDialect
from dbq.dialects.prepared import WORTH_TIMES
from dbq.models import Job
from tests.helpers import dialect

pytestmark = pytest.mark.on("postgresql")

TEXT = "it's 100 %s of \\ $1 and {}"


@pytest.fixture(autouse=True)
def statements() -> Iterator[list[str]]:
    """Those that create, of a connection that repeats nothing yet."""
    connection.close()
    wakeup._last_calls.clear()
    statements: list[str] = []

    def note(execute, sql, parameters, many, context):
        if "INSERT" in sql or "EXECUTE" in sql:
            statements.append(sql)
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        yield statements
    # The next test knows nothing of what was prepared.
    connection.close()


def create(times: int = 1, **fields: Any) -> list[Job]:
    return [
        Job.objects.create(name="nothing", workspace={"n": n, "text": TEXT}, **fields) for n in range(times)
    ]


def have_it_prepared(statements: list[str]) -> None:
    create(WORTH_TIMES + 1)
    assert "EXECUTE" in statements[-1]
    statements.clear()


def test_what_is_repeated_is_prepared(statements):
    create(WORTH_TIMES)
    assert not any("EXECUTE" in statement for statement in statements)

    statements.clear()
    create(2)
    assert statements[0].startswith("PREPARE")
    assert ["EXECUTE" in statement for statement in statements[1:]] == [True, True]


def test_a_job_is_the_same_either_way():
    jobs = create(WORTH_TIMES + 2, priority=3)
    rows = list(Job.objects.order_by("pk").values())

    assert [row["id"] for row in rows] == [job.pk for job in jobs]
    differing = {"id", "created", "enqueued", "workspace"}
    kept = [{name: value for name, value in row.items() if name not in differing} for row in rows]
    assert kept[0] == kept[-1]
    assert [row["workspace"] for row in rows] == [job.workspace for job in jobs]
    assert [row["enqueued"] for row in rows] == [job.enqueued for job in jobs]


def test_a_call_travels_along_as_well(statements):
    have_it_prepared(statements)
    wakeup._last_calls.clear()

    create()

    assert statements[0].startswith("BEGIN; EXECUTE")
    assert "pg_notify" in statements[0]


def test_within_a_transaction_nothing_is_risked(statements):
    have_it_prepared(statements)

    with transaction.atomic():
        create()

    assert ["INSERT" in statement for statement in statements] == [True]


def test_what_somebody_made_the_session_forget_is_said_in_full(statements):
    have_it_prepared(statements)
    wakeup._last_calls.clear()
    dialect().execute("DEALLOCATE ALL")

    jobs = create(3)

    assert ["INSERT" in statement for statement in statements] == [False, True, True, True]
    assert Job.objects.filter(pk__in=[job.pk for job in jobs]).count() == 3
    assert not dialect().has_open_transaction()


def test_a_job_that_is_refused_is_refused_as_ever(statements):
    [job] = create()
    have_it_prepared(statements)

    with pytest.raises(IntegrityError):
        create(id=job.pk)

    assert not dialect().has_open_transaction()
    create()
    assert "EXECUTE" in statements[-1]


def test_a_session_that_is_lent_is_left_as_it_is(statements, monkeypatch):
    monkeypatch.setattr(PostgreSQLDialect, "is_lent", lambda self: True)

    create(WORTH_TIMES + 3)

    assert not any("EXECUTE" in statement for statement in statements)


def test_what_cannot_be_prepared_is_said_in_full(statements):
    def refuse(execute, sql, parameters, many, context):
        if sql.startswith("PREPARE"):
            raise ProgrammingError("It exists.")
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(refuse):
        create(WORTH_TIMES + 3)

    assert Job.objects.count() == WORTH_TIMES + 3
    assert not any("EXECUTE" in statement for statement in statements)


def test_values_that_travel_beside_the_statement_need_none_of_it(statements, monkeypatch):
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "server_side_binding", True)

    create(WORTH_TIMES + 3)

    assert not any("EXECUTE" in statement for statement in statements)


def test_nothing_keeps_a_connection_that_nobody_uses_any_more():
    other = connections.create_connection("default")
    other.ensure_connection()
    prepared.find_repeated(other).count("SELECT 1")
    session = weakref.ref(other.connection)
    # By the driver, as when a thread ends: Django's own wrapper still holds what it opened.
    other.connection.close()
    del other

    gc.collect()

    assert session() is None

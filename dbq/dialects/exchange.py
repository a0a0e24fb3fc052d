"""A statement and its whole answer in one call of PostgreSQL's own library.

The driver takes an answer piece by piece, and has to have Python's lock for each of them: beside threads
that run tasks it waits for that lock some hundred times in a batch, for half a millisecond each. libpq's
own call waits for the whole answer without it. Only for a connection that nobody else uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import psycopg
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus


def exchange(connection: BaseDatabaseWrapper, statement: str, parameters: Sequence[Any]) -> list[tuple]:
    """Run a statement as a cursor of Django's would, and give all its rows; raises Django's errors."""
    with connection.cursor() as cursor:
        call = _call
        for wrapper in reversed(connection.execute_wrappers):
            call = partial(wrapper, call)
        return call(statement, parameters, False, {"connection": connection, "cursor": cursor})


def _call(statement: str, parameters: Sequence[Any], _many: bool, context: dict[str, Any]) -> list[tuple]:
    connection = context["connection"]
    connection.validate_no_broken_transaction()
    raw = connection.connection
    with connection.wrap_database_errors:
        text = context["cursor"].mogrify(statement, parameters)
        result = raw.pgconn.exec_(f"{_begin(raw)}{text}".encode())
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise _make_error(raw, result)
        reader = Transformer(raw)
        reader.set_pgresult(result)
        return reader.load_rows(0, result.ntuples, tuple) if result.nfields else []


def _begin(raw: psycopg.Connection) -> str:
    """What the driver would send first: a transaction begins with its first statement."""
    if raw.autocommit or raw.info.transaction_status != TransactionStatus.IDLE:
        return ""
    level = raw.isolation_level
    return f"BEGIN ISOLATION LEVEL {level.name.replace('_', ' ')};" if level else "BEGIN;"


def _make_error(raw: psycopg.Connection, result: Any) -> psycopg.Error:
    error = error_from_result(result)
    if error.sqlstate is None and raw.pgconn.status == ConnStatus.BAD:
        # Not the server's words: the line is cut.
        return psycopg.OperationalError(str(error))
    return error

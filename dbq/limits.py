"""A bound on what one screen may cost the database that the workers need."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connections, transaction

SECONDS = 2.0
# How many of SQLite's instructions pass between two looks at the clock: about 50 µs.
SQLITE_INSTRUCTIONS = 10_000
# SQLSTATE of PostgreSQL, error numbers of MariaDB and MySQL, SQLite's message.
TIMEOUT_CODES = {"57014", 1969, 3024, "interrupted"}


class TookTooLong(Exception):
    """A statement was stopped at its time limit, to spare the database."""


@contextmanager
def time_limit(seconds: float = SECONDS, alias: str = "default") -> Iterator[None]:
    """Stop the statements within after so long each; raise TookTooLong. For reading only."""
    connection = connections[alias]
    guard = {"postgresql": _on_postgresql, "mysql": _on_mysql, "sqlite": _on_sqlite}[connection.vendor]
    try:
        with guard(connection, seconds):
            yield
    except DatabaseError as error:
        if _is_timeout(error):
            raise TookTooLong from error
        raise


@contextmanager
def _on_postgresql(connection: Any, seconds: float) -> Iterator[None]:
    # The settings last until the end of the transaction, which may be the caller's: put them back then.
    is_nested = connection.in_atomic_block
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if is_nested:
            cursor.execute(
                "SELECT current_setting('statement_timeout'), current_setting('enable_bitmapscan'),"
                " current_setting('jit')"
            )
            before = cursor.fetchone()
        # What screens ask for stands in the order of an index and is wanted in part. A bitmap reads all of
        # it first, and is chosen because lane and due time pass for independent: 255 ms instead of 20. To
        # compile a statement for its price takes longer than it may run.
        _set(cursor, str(int(seconds * 1000)), "off", "off")
        yield
        if is_nested:
            _set(cursor, *before)


def _set(cursor: Any, timeout: str, bitmapscan: str, jit: str) -> None:
    cursor.execute(
        "SELECT set_config('statement_timeout', %s, true), set_config('enable_bitmapscan', %s, true),"
        " set_config('jit', %s, true)",
        [timeout, bitmapscan, jit],
    )


@contextmanager
def _on_mysql(connection: Any, seconds: float) -> Iterator[None]:
    if connection.mysql_is_mariadb:
        variable, value = "max_statement_time", seconds
    else:
        variable, value = "max_execution_time", int(seconds * 1000)
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION {variable} = %s", [value])
        try:
            yield
        finally:
            cursor.execute(f"SET SESSION {variable} = DEFAULT")


@contextmanager
def _on_sqlite(connection: Any, seconds: float) -> Iterator[None]:
    connection.ensure_connection()
    end = time.monotonic() + seconds
    handle = connection.connection
    handle.set_progress_handler(lambda: time.monotonic() > end, SQLITE_INSTRUCTIONS)
    try:
        yield
    finally:
        handle.set_progress_handler(None, 0)


def _is_timeout(error: DatabaseError) -> bool:
    cause = error.__cause__
    codes = {getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None), *error.args[:1]}
    return bool(codes & TIMEOUT_CODES)

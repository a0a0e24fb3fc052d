"""What jobs meet in real life: finished ones beside them, a far future, old statistics and readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.peers.speed.contender import Copies
from benchmarks.throughput.databases import Database
from benchmarks.throughput.setups import Setup


def add_finished(setup: Setup, database: Database, amount: int) -> None:
    """So many finished jobs more, copied from one that its workers have finished."""
    copy_all(database, setup.contender.tables.finished, amount)
    settle(setup, database)


def add_scheduled(setup: Setup, database: Database, amount: int) -> None:
    """So many jobs more that are due in a year, copied from one that waits."""
    copy_all(database, setup.contender.tables.scheduled, amount)
    settle(setup, database)


def settle(setup: Setup, database: Database) -> None:
    """Let the server be done with the copies, as it would be with rows that have lain there for days."""
    for table in setup.contender.tables.names:
        database.execute(f"VACUUM ANALYZE {table}")
    database.execute("CHECKPOINT")


def copy_all(database: Database, tables: tuple[Copies, ...], amount: int) -> None:
    # Without triggers, which would announce each row, and without checks of references.
    database.execute("SET session_replication_role = replica")
    for copies in tables:
        copy(database, copies, amount)
    database.execute("SET session_replication_role = origin")


def copy(database: Database, copies: Copies, amount: int) -> None:
    columns = read_columns(database, copies.table)
    values = [copies.changes.get(column, f'model."{column}"') for column in columns]
    database.execute(
        f"INSERT INTO {copies.table} ({', '.join(quote(columns))}) OVERRIDING SYSTEM VALUE"
        f" SELECT {', '.join(values)} FROM (SELECT * FROM {copies.table} WHERE {copies.where} LIMIT 1)"
        f" AS model, generate_series(1, {amount}) AS n"
    )


def read_columns(database: Database, table: str) -> list[str]:
    rows = database.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
        (table,),
    )
    return [row[0] for row in rows.fetchall()]


def quote(names: list[str]) -> list[str]:
    return [f'"{name}"' for name in names]


def freeze_statistics(setup: Setup, database: Database) -> None:
    """Let the server believe for good that its tables are empty, as they are now."""
    for table in setup.contender.tables.names:
        database.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        database.execute(f"VACUUM ANALYZE {table}")


@contextmanager
def hold_snapshot(url: str) -> Iterator[None]:
    """A reader that sees the database as it is now, and keeps all that is deleted from being cleaned up."""
    with Database(url) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM pg_class")
        yield

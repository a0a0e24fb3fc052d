"""Whether the database can be worked with at all: it answers, has dbq's tables, and takes writes."""

from __future__ import annotations

from contextlib import suppress

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import Error

from dbq.dialects import get_dialect
from dbq.health import Finding
from dbq.limits import TookTooLong, time_limit
from dbq.masking import mask_text

DETAIL_MAX_CHARACTERS = 500


def find_obstacles(alias: str) -> list[Finding]:
    """Why nothing can be done with that database now; empty when all is ready."""
    try:
        _reach(alias)
        missing = _list_unapplied(alias)
    except (Error, OSError, TookTooLong) as error:
        return [describe_outage(error)]
    if missing:
        noun = "migration" if len(missing) == 1 else "migrations"
        verb = "is" if len(missing) == 1 else "are"
        reason = f"{len(missing)} {noun} of dbq {verb} not applied."
        return [Finding("alarm", "migrations", reason, detail=", ".join(missing))]
    return _find_refusal(alias)


def describe_outage(error: BaseException) -> Finding:
    """A database that does not answer as it should, as a finding."""
    if isinstance(error, TookTooLong):
        return Finding("alarm", "slow", "The database took too long to answer.")
    return Finding("alarm", "database", "The database does not answer.", detail=_quote(error))


def _reach(alias: str) -> None:
    connection = connections[alias]
    try:
        _ask(alias)
    except (Error, OSError):
        if connection.in_atomic_block:
            raise
        # A connection that was kept open, while the database was started anew.
        with suppress(Error, OSError):
            connection.close()
        _ask(alias)


def _ask(alias: str) -> None:
    # Not "SELECT 1": SQLite answers that without its file.
    dialect = get_dialect(alias)
    dialect.execute("SELECT 1" if dialect.connection.vendor != "sqlite" else "PRAGMA schema_version")


def _list_unapplied(alias: str) -> list[str]:
    """The migrations of dbq, and those they need, that this code has and the database does not."""
    with time_limit(alias=alias):
        executor = MigrationExecutor(connections[alias])
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes("dbq"))
    return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


def _find_refusal(alias: str) -> list[Finding]:
    try:
        with time_limit(alias=alias):
            get_dialect(alias).try_to_write()
    except TookTooLong as error:
        return [describe_outage(error)]
    except (Error, OSError) as error:
        return [Finding("alarm", "read-only", "The database takes no writes.", detail=_quote(error))]
    return []


def _quote(error: BaseException) -> str:
    text = " ".join(mask_text(str(error)).split())
    return f"{type(error).__name__}: {text}"[:DETAIL_MAX_CHARACTERS]

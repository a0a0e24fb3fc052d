"""Everything the supported databases do differently, behind one interface."""

from typing import Any

from django.db import connections
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from dbq.dialects.base import Dialect
from dbq.dialects.batch import Rows
from dbq.dialects.fields import ExactCharField
from dbq.dialects.indexes import FailureIndex, KeyConstraint, LaneIndex
from dbq.exceptions import ConfigurationError

__all__ = [
    "Dialect",
    "ExactCharField",
    "FailureIndex",
    "KeyConstraint",
    "LaneIndex",
    "Rows",
    "get_dialect",
    "set_storage",
]


def get_dialect(alias: str) -> Dialect:
    """The dialect of a database alias, bound to this thread's connection."""
    connection = connections[alias]
    return find_dialect_class(connection.vendor)(connection)


def find_dialect_class(vendor: str) -> type[Dialect]:
    """The class for a Django database vendor; raise ConfigurationError for one that is not supported."""
    if vendor == "postgresql":
        from dbq.dialects.postgresql import PostgreSQLDialect

        return PostgreSQLDialect
    if vendor == "sqlite":
        from dbq.dialects.sqlite import SQLiteDialect

        return SQLiteDialect
    if vendor == "mysql":
        from dbq.dialects.mysql import MySQLDialect

        return MySQLDialect
    raise ConfigurationError(
        f'dbq supports SQLite, PostgreSQL, MariaDB and MySQL, not the database vendor "{vendor}".'
    )


def set_storage(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Tell the database how busy the queue's tables are, where it can be told; an act of a migration."""
    for statement in find_dialect_class(schema_editor.connection.vendor).storage:
        schema_editor.execute(statement)

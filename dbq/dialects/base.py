"""The statements of the engine, as far as the databases agree on them."""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar
from uuid import UUID

from django.db import DatabaseError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, JSONField, Model, QuerySet, TextField, UUIDField
from django.db.models.base import ModelState
from django.db.models.expressions import Expression, Func
from django.db.models.sql import UpdateQuery
from django.utils import timezone
from django.utils.dateparse import parse_datetime

Row = dict[str, Any]
Rows = list[Row]

# A statement's rows travel as one JSON document; this keeps it below every default packet size.
DOCUMENT_MAX_CHARACTERS = 4_000_000
# About what a row takes beside its long texts.
ROW_CHARACTERS = 500
# What a fenced update must match.
GUARD = {"id", "fence"}
# How often a transaction that lost a race in the database is run.
PASSING_TRIES = 5


class DatabaseNow(Func):
    """The database's clock at the start of the statement, in the form Django stores times."""

    output_field = models.DateTimeField()

    def as_postgresql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple]:
        return "STATEMENT_TIMESTAMP()", ()

    def as_mysql(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple]:
        return "UTC_TIMESTAMP(6)", ()

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple]:
        # SQLite's clock is this host's clock, but has milliseconds only and compares as text.
        from django.utils import timezone

        value = connection.ops.adapt_datetimefield_value(timezone.now())
        return "%s", (value,)


class Slot(Expression):
    """In a compiled statement, the place of a value that is given each time it runs."""

    def __init__(self, name: str, output_field: Field) -> None:
        super().__init__(output_field=output_field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        return "%s", [self]


@dataclass(frozen=True)
class Take:
    """A `take` whose statements are compiled, with the slots among their parameters."""

    model: type[Model]
    # Of the instances that it gives.
    fields: tuple[str, ...]
    statements: tuple[tuple[str, tuple], ...]


class Dialect:
    """What the engine asks of a database; one subclass for each that answers differently."""

    # Seconds between two looks at an idle queue: the first one after work, and the longest.
    poll_seconds: ClassVar[tuple[float, float]] = (0.02, 0.25)
    # SQLSTATEs or error numbers after which the same transaction may simply be run again.
    passing_errors: ClassVar[frozenset] = frozenset()

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    @property
    def alias(self) -> str:
        return self.connection.alias

    # Batches of rows

    def insert_rows(self, model: type[Model], rows: Rows) -> None:
        """Insert rows that all have the same columns, in as few statements as their size allows."""
        if not rows:
            return
        fields = _get_fields(model, tuple(rows[0]))
        shared, varying = self._split(fields, rows)
        columns = ", ".join(self.quote(field.column) for field in fields)
        values = ", ".join(self.read_value(field, shared) for field in fields)
        statement = (
            f"INSERT INTO {self.quote(model._meta.db_table)} ({columns})"
            f" SELECT {values} FROM {self.source(varying)}"
        )
        for document in self.make_documents(rows, varying):
            self.execute(statement, (*shared.values(), document))

    def update_fenced(self, model: type[Model], rows: Rows, *, keep_fence: bool) -> set[UUID]:
        """Update the rows whose id and fence both still match, and say which ids those were.

        Args:
            rows: the new values by attribute name, the same names in each; `id` and `fence` are the guard.
            keep_fence: whether the writer goes on owning the rows. If not, the fence rises, and nothing
                it may still send will match.
        """
        if not rows:
            return set()
        # In the order of ids, so that two batches never wait for each other in a circle.
        rows = sorted(rows, key=itemgetter("id"))
        fields = _get_fields(model, tuple(rows[0]))
        shared, varying = self._split(fields, rows)
        table = self.quote(model._meta.db_table)
        assignments = self.list_assignments(fields, table, keep_fence, shared)
        moved: set[UUID] = set()
        for document in self.make_documents(rows, varying):
            moved |= self.execute_update(table, varying, assignments, shared, document)
        return moved

    def execute_update(
        self, table: str, fields: list[Field], assignments: str, shared: Row, document: str
    ) -> set[UUID]:
        """Assign to the rows of a document; `shared` has the parameters of the assignments."""
        statement = (
            f"UPDATE {table} SET {assignments} FROM {self.source(fields)}"
            f" WHERE {table}.id = d.id AND {table}.fence = d.fence RETURNING {table}.id"
        )
        return {_as_uuid(row[0]) for row in self.execute(statement, (*shared.values(), document))}

    def list_assignments(self, fields: tuple[Field, ...], table: str, keep_fence: bool, shared: Row) -> str:
        """The SET part of a fenced update; `shared` has the values that are parameters."""
        prefix = self.prefix_targets(table)
        assignments = [
            f"{prefix}{self.quote(field.column)} = {self.read_value(field, shared)}"
            for field in fields
            if field.attname not in GUARD
        ]
        assignments.append(f"{prefix}version = {table}.version + 1")
        if not keep_fence:
            assignments.append(f"{prefix}fence = {table}.fence + 1")
        return ", ".join(assignments)

    def prefix_targets(self, table: str) -> str:
        """What goes before each column that an update of a table and a document sets."""
        return ""

    def _split(self, fields: tuple[Field, ...], rows: Rows) -> tuple[Row, list[Field]]:
        """The values that all rows share, which travel once, and the fields of the others."""
        shared: Row = {}
        first = rows[0]
        # A statement needs a table to read from.
        for field in fields if len(rows) > 1 else ():
            name = field.attname
            if not is_key(field) and all(row[name] == first[name] for row in rows):
                shared[name] = self.adapt_shared(first[name])
        varying = [field for field in fields if field.attname not in shared]
        return (shared, varying) if varying else ({}, list(fields))

    def read_value(self, field: Field, shared: Row) -> str:
        """SQL for the value of a field: a parameter if all rows share it, else a column of the document."""
        return self.read_parameter(field) if field.attname in shared else self.read_source(field)

    def read_parameter(self, field: Field) -> str:
        return "%s"

    def make_documents(self, rows: Rows, fields: list[Field]) -> Iterator[str]:
        """Write these fields of rows as JSON arrays, each small enough for one statement."""
        names = [field.attname for field in fields]
        wide = [field.attname for field in fields if isinstance(field, JSONField | TextField)]
        chunk: Rows = []
        size = 0
        for row in rows:
            size += sum(len(row[name] or "") for name in wide) + ROW_CHARACTERS
            if chunk and size > DOCUMENT_MAX_CHARACTERS:
                yield json.dumps(chunk, default=self.adapt)
                chunk, size = [], 0
            chunk.append({name: row[name] for name in names})
        yield json.dumps(chunk, default=self.adapt)

    def write_moment(self, moment: datetime) -> str:
        """A time as the text that the database stores, or reads."""
        if moment.tzinfo is UTC and self.connection.timezone is UTC:
            # What Django's own way comes to, for the times of an engine; most of a row's cost otherwise.
            return str(moment)[: -len("+00:00")]
        return str(self.connection.ops.adapt_datetimefield_value(moment))

    def adapt_shared(self, value: Any) -> Any:
        """A value of a row as a parameter."""
        return self.adapt(value) if isinstance(value, datetime) else value

    def adapt(self, value: Any) -> str:
        """A value as the text that the database reads back into its column."""
        if isinstance(value, datetime):
            return self.write_moment(value)
        if isinstance(value, UUID):
            return str(value) if self.connection.features.has_native_uuid_field else value.hex
        raise TypeError(f"{type(value).__name__} cannot be written to a row.")

    def source(self, fields: Iterable[Field]) -> str:
        """SQL for a table `d` of these fields, read from one JSON parameter."""
        raise NotImplementedError(f"{type(self).__name__} must read rows from JSON.")

    def read_source(self, field: Field) -> str:
        """SQL for one column of that table, in the type of the field."""
        return f"d.{self.quote(field.column)}"

    # The first n rows of a query that nobody else holds

    def take(
        self,
        queryset: QuerySet,
        limit: int,
        assignments: dict[str, Any],
        fields: tuple[str, ...],
        *,
        wait: bool = False,
    ) -> list[Any]:
        """Update the first `limit` rows of an ordered query, passing over those that others hold.

        With `wait`, it waits for those instead, and looks at the condition again when it has them.

        Returns: instances with `fields` as they are after the update, in no particular order.
        """
        return self.run_take(self.compile_take(queryset, limit, assignments, fields, wait=wait), {})

    def compile_take(
        self,
        queryset: QuerySet,
        limit: int,
        assignments: dict[str, Any],
        fields: tuple[str, ...],
        *,
        wait: bool = False,
    ) -> Take:
        """A `take` to be run often; slots in it are filled by run_take."""
        raise NotImplementedError(f"{type(self).__name__} must take rows.")

    def run_take(self, take: Take, values: dict[str, Any]) -> list[Any]:
        """Run a compiled take with these values for its slots."""
        statement, parameters = take.statements[0]
        return self.load(take.model, take.fields, self.execute(statement, self._fill(parameters, values)))

    def _fill(self, parameters: tuple, values: dict[str, Any]) -> list[Any]:
        return [values[each.name] if isinstance(each, Slot) else each for each in parameters]

    def load(self, model: type[Model], fields: tuple[str, ...], rows: list[tuple]) -> list[Any]:
        """Instances of the rows that a statement of our own returned; other fields are deferred.

        Django's own way goes through the list of all fields for each row, which costs as much as the
        statement, and sends the signals of `__init__`, which this does not.
        """
        converters = self._find_converters(_get_fields(model, fields))
        instances = []
        for row in rows:
            values = dict(zip(fields, row, strict=True))
            for name, converter, column in converters:
                values[name] = converter(values[name], column, self.connection)
            instance = model.__new__(model)
            instance.__dict__.update(values)
            instance._state = ModelState()
            instance._state.adding = False
            instance._state.db = self.alias
            instances.append(instance)
        return instances

    def _find_converters(self, fields: tuple[Field, ...]) -> list[tuple[str, Callable, Any]]:
        """What makes Python's values of the database's, in the order in which it is to be done."""
        columns = [(field, field.get_col(field.model._meta.db_table)) for field in fields]
        return [
            (field.attname, converter, column)
            for field, column in columns
            for converter in (
                *self.connection.ops.get_db_converters(column),
                *column.get_db_converters(self.connection),
            )
        ]

    def remove(self, queryset: QuerySet, limit: int, fields: tuple[str, ...]) -> list[Any]:
        """Delete the first `limit` rows of an ordered query, passing over those that others hold.

        The guard of the query is checked again on the locked rows: nothing is deleted that has changed.
        """
        raise NotImplementedError(f"{type(self).__name__} must remove rows.")

    def compile_update(self, model: type[Model], assignments: dict[str, Any]) -> tuple[str, tuple]:
        """`UPDATE table SET …` without a condition, by Django's own compiler."""
        query = UpdateQuery(model)
        query.add_update_values(assignments)
        return query.get_compiler(self.alias).as_sql()

    def compile(self, queryset: QuerySet) -> tuple[str, tuple]:
        return queryset.query.get_compiler(self.alias).as_sql()

    def list_columns(self, model: type[Model], fields: tuple[str, ...]) -> str:
        table = self.quote(model._meta.db_table)
        return ", ".join(f"{table}.{self.quote(field.column)}" for field in _get_fields(model, fields))

    def read_moment(self, value: Any) -> Any:
        """A time, or None, that a statement of our own returned: aware, as the ORM would give it."""
        # Text on SQLite, without a zone on MariaDB.
        moment = parse_datetime(value) if isinstance(value, str) else value
        if moment is not None and timezone.is_naive(moment):
            return moment.replace(tzinfo=self.connection.timezone)
        return moment

    # Clock, connection, errors

    def read_clock(self) -> datetime:
        """The database's clock, aware, in UTC."""
        raise NotImplementedError(f"{type(self).__name__} must read its clock.")

    def try_to_write(self) -> None:
        """Write nothing in a way that the database refuses where it would refuse to write a row.

        Raises DatabaseError when the server or this session is read-only, or the account may not write.
        """
        self.execute("UPDATE dbq_worker SET jobs_done = jobs_done WHERE 1 = 0")

    @contextmanager
    def write(self) -> Iterator[None]:
        """A transaction that is sure to write."""
        with transaction.atomic(using=self.alias):
            yield

    def insist(self, transact: Callable[[], Any]) -> Any:
        """Run a function that is one transaction, and run it again when it loses a race.

        Within a larger transaction it runs once: that one is lost as a whole.
        """
        tries = 1 if self.connection.in_atomic_block else PASSING_TRIES
        for _ in range(tries - 1):
            try:
                return transact()
            except DatabaseError as error:
                if not self.is_passing(error):
                    raise
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311  (spread, not secrecy)
        return transact()

    def bound_waits(self, seconds: float) -> None:
        """Have this thread's next connection give up on a silent server, unless its options say when."""

    def hang_up(self) -> bool:
        """Have whoever waits for an answer on this connection fail at once; called by another thread.

        Returns: whether there was something to hang up, and a need to.
        """
        return False

    def prepare_engine_connection(self, lease_seconds: float, patience_seconds: float) -> None:
        """Set this thread's open connection up for the engine's statements.

        What a transaction holds when its worker falls silent comes free after `patience_seconds`, where
        the server has a limit for transactions, or else after a lease. The worker itself hangs up then
        and comes back, and must not wait for what it left behind.
        """

    def _set_options(self, **options: Any) -> None:
        settings = self.connection.settings_dict
        # A copy: other threads share what the settings say.
        self.connection.settings_dict = {**settings, "OPTIONS": {**settings["OPTIONS"], **options}}

    def _set_default_options(self, **options: Any) -> None:
        self._set_options(**{**options, **self.connection.settings_dict["OPTIONS"]})

    def refresh_statistics(self) -> None:
        """Tell the planner how large the tables are, where the database does not find out itself."""

    def has_open_transaction(self) -> bool:
        """Whether a task left a transaction open on this connection."""
        if self.connection.connection is None:
            return False
        return self.connection.in_atomic_block or not self.connection.get_autocommit()

    def was_closed(self) -> bool:
        """Whether the driver's connection was closed without Django's knowledge."""
        return False

    def is_passing(self, error: DatabaseError) -> bool:
        """Whether the transaction lost a race (deadlock, serialisation, busy) and may be run again."""
        cause = error.__cause__
        codes = (getattr(cause, "sqlstate", None), cause.args[0] if cause and cause.args else None)
        return any(code in self.passing_errors for code in codes if code is not None)

    # Wake-up

    def notify(self, queue_names: Iterable[str]) -> None:
        """Tell the workers of these queues that there is work; nothing where the database cannot."""

    def make_listener(self) -> Any:
        """A listener for those calls, to be opened, or None where the database has none."""
        return None

    # SQL

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def quote(self, name: str | None) -> str:
        assert name is not None  # noqa: S101  (every concrete field has a column)
        return self.connection.ops.quote_name(name)


@lru_cache(maxsize=256)
def _get_fields(model: type[Model], names: tuple[str, ...]) -> tuple[Field, ...]:
    by_name = {field.attname: field for field in model._meta.concrete_fields}
    return tuple(by_name[name] for name in names)


def is_key(field: Field) -> bool:
    """Whether a field names a row, and so differs from row to row."""
    return field.attname in GUARD or is_uuid(field)


def is_uuid(field: Field) -> bool:
    return isinstance(getattr(field, "target_field", field), UUIDField)


def _as_uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)

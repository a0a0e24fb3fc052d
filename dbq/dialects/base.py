"""The statements of the engine, as far as the databases agree on them."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, ClassVar
from uuid import UUID

from django.db import DatabaseError, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Field, JSONField, Model, QuerySet
from django.db.models.base import ModelState
from django.db.models.expressions import Expression, Func
from django.db.models.sql import UpdateQuery

from dbq.dialects.batch import GUARD, Batch, FencedUpdate, Log, Rows

# How often a transaction that lost a race in the database is run.
PASSING_TRIES = 5


class CallFailed(DatabaseError):
    """A statement that called along got as far as its commit; that failed, or the call after it did."""

    def __init__(self, reason: DatabaseError) -> None:
        super().__init__(str(reason))
        self.reason = reason


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


class AskedNow(DatabaseNow):
    """The database's clock in a question: each time it is asked, not when it was compiled."""

    def as_sqlite(self, compiler: Any, connection: Any, **_: Any) -> tuple[str, tuple]:
        return "%s", (Slot("now", self.output_field),)


# For an alias: the query of a question, or the rows of an update and what is assigned to them.
Question = Callable[[str], QuerySet]
Change = Callable[[str], tuple[QuerySet, dict[str, Any]]]
# Executes a statement with its parameters.
Run = Callable[[str, Sequence[Any]], Any]
_questions: list[Question] = []
_changes: list[Change] = []


def question(make: Question) -> Question:
    """Mark what `Dialect.ask` is given, for `compile_ahead`."""
    _questions.append(make)
    return make


def change(make: Change) -> Change:
    """Mark what `Dialect.tell` is given, for `compile_ahead`."""
    _changes.append(make)
    return make


def compile_ahead(alias: str) -> None:
    """Compile all that is marked, for processes that are forked afterwards."""
    for make in _questions:
        _compile_question(alias, make)
    for update in _changes:
        _compile_change(alias, update)


# In place of a limit while a statement is compiled.
NO_LIMIT = 2_147_483_647


@dataclass(frozen=True)
class Take:
    """A `take` whose statements are compiled, with the slots among their parameters."""

    model: type[Model]
    # Of the instances that it gives.
    fields: tuple[str, ...]
    statements: tuple[tuple[str, tuple], ...]


class Dialect:
    """What the engine asks of a database; one subclass for each that answers differently."""

    # Seconds between two looks at an idle queue, the first one after work and the longest: of a worker that
    # hears of new work, and of one that does not.
    poll_seconds: ClassVar[tuple[float, float]] = (0.02, 1.0)
    uncalled_poll_seconds: ClassVar[tuple[float, float]] = (0.01, 0.25)
    # SQLSTATEs or error numbers after which the same transaction may simply be run again.
    passing_errors: ClassVar[frozenset] = frozenset()
    # Statements that set how the tables are stored and kept in order, where that can be said.
    storage: ClassVar[tuple[str, ...]] = ()

    # Whether a claim counts its own figures, in one statement that needs no transaction around it.
    counts_claims: ClassVar[bool] = False

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
        names = tuple(rows[0])
        batch = Batch(self, _get_fields(model, names), rows)
        statement = self.make_insert(batch, Log(model, {name: name for name in names}), batch.source)
        for _, document in batch.make_documents():
            self.execute(statement, (*batch.get_parameters(names), document))

    def make_insert(self, batch: Batch, log: Log, source: str) -> str:
        """`INSERT … SELECT` of a batch's rows; its parameters come before those of the source."""
        columns = ", ".join(self.quote(field.column) for field in _get_fields(log.model, tuple(log.sources)))
        values = ", ".join(batch.read(name) for name in log.sources.values())
        return f"INSERT INTO {self.quote(log.model._meta.db_table)} ({columns}) SELECT {values} FROM {source}"

    def make_row_insert(self, model: type[Model], names: tuple[str, ...], usual: dict[str, Any]) -> str:
        """`INSERT` of one row; its parameters are values that `adapt_value` gave.

        Args:
            names: of the values that are parameters.
            usual: other values, which stand in the statement: numbers, words, truths, or None.
        """
        fields = _get_fields(model, (*names, *usual))
        columns = ", ".join(self.quote(field.column) for field in fields)
        values = [self.read_parameter(field) for field in fields[: len(names)]]
        values += map(_write_literal, usual.values())
        return f"INSERT INTO {self.quote(model._meta.db_table)} ({columns}) VALUES ({', '.join(values)})"

    def insert_row(self, model: type[Model], row: dict[str, Any]) -> int:
        """Insert one row, and return the key that the database gave it."""
        statement = f"{self.make_row_insert(model, tuple(row), {})} RETURNING id"
        return self.execute(statement, self._adapt_all(row.values()))[0][0]

    def update_fenced(
        self,
        model: type[Model],
        rows: Rows,
        *,
        keep_fence: bool,
        names: tuple[str, ...] = (),
        log: Log | None = None,
    ) -> Rows:
        """Update the rows whose id and fence both still match, and say which those were.

        Args:
            rows: the new values by attribute name, the same names in each; `id` and `fence` are the guard.
            keep_fence: whether the writer goes on owning the rows. If not, the fence rises, and nothing
                it may still send will match.
            names: of the values that are the model's, if some are not.
            log: what to write down of each row that moves.
        """
        if not rows:
            return []
        names = names or tuple(rows[0])
        # In the order of ids, so that two batches never wait for each other in a circle.
        rows = sorted(rows, key=lambda row: row["id"].int)
        batch = Batch(self, _get_all_fields(model, names, log), rows)
        table = self.quote(model._meta.db_table)
        set_names = tuple(name for name in names if name not in GUARD)
        assignments = self.list_assignments(batch, set_names, table, keep_fence)
        update = FencedUpdate(table, batch, set_names, assignments, log)
        moved: Rows = []
        for chunk, document in batch.make_documents():
            moved += self.execute_update(update, chunk, document)
        return moved

    def execute_update(self, update: FencedUpdate, rows: Rows, document: str) -> Rows:
        """Run a fenced update for some of its rows, which the document has, and write its log."""
        table = update.table
        statement = (
            f"UPDATE {table} SET {update.assignments} FROM {update.batch.source}"
            f" WHERE {table}.id = d.id AND {table}.fence = d.fence RETURNING {table}.id"
        )
        moved = choose(rows, self.execute(statement, (*update.get_parameters(), document)))
        self.write_log(update, rows, document, moved)
        return moved

    def write_log(self, update: FencedUpdate, rows: Rows, document: str, moved: Rows) -> None:
        """Insert what is to be written down of the rows that moved, in a statement of its own."""
        if update.log is None or not moved:
            return
        batch = update.batch
        if len(moved) < len(rows):
            document = batch.write(moved)
        statement = self.make_insert(batch, update.log, batch.source)
        self.execute(statement, (*batch.get_parameters(update.log.sources.values()), document))

    def list_assignments(self, batch: Batch, names: tuple[str, ...], table: str, keep_fence: bool) -> str:
        """The SET part of a fenced update."""
        prefix = self.prefix_targets(table)
        assignments = [
            f"{prefix}{self.quote(batch.fields[name].column)} = {batch.read(name)}" for name in names
        ]
        assignments.append(f"{prefix}version = {table}.version + 1")
        if not keep_fence:
            assignments.append(f"{prefix}fence = {table}.fence + 1")
        return ", ".join(assignments)

    def prefix_targets(self, table: str) -> str:
        """What goes before each column that an update of a table and a document sets."""
        return ""

    def read_parameter(self, field: Field) -> str:
        """SQL for a parameter that is a value of the field."""
        return "%s"

    def source(self, fields: Iterable[Field]) -> str:
        """SQL for a table `d` of these fields, read from one JSON parameter."""
        raise NotImplementedError(f"{type(self).__name__} must read rows from JSON.")

    def read_source(self, field: Field) -> str:
        """SQL for one column of that table, in the type of the field."""
        return f"d.{self.quote(field.column)}"

    # Values

    def write_moment(self, moment: datetime) -> str:
        """A time as the text that the database stores, or reads."""
        if moment.tzinfo is UTC and self.connection.timezone is UTC:
            # What Django's own way comes to, for the times of an engine; most of a row's cost otherwise.
            return str(moment)[: -len("+00:00")]
        return str(self.connection.ops.adapt_datetimefield_value(moment))

    def write_uuid(self, identifier: UUID) -> str:
        return str(identifier) if self.connection.features.has_native_uuid_field else identifier.hex

    def adapt_value(self, value: Any) -> Any:
        """A value of a row as a parameter."""
        return self.adapt(value) if isinstance(value, datetime | UUID) else value

    def _adapt_all(self, values: Iterable[Any]) -> list[Any]:
        return [self.adapt_value(value) for value in values]

    def adapt(self, value: Any) -> str:
        """A value as the text that the database reads back into its column."""
        if isinstance(value, datetime):
            return self.write_moment(value)
        if isinstance(value, UUID):
            return self.write_uuid(value)
        raise TypeError(f"{type(value).__name__} cannot be written to a row.")

    def read_moment(self, value: Any) -> Any:
        """A time, or None, that a statement of our own returned: aware, as the ORM would give it."""
        if value is None:
            return None
        # Text on SQLite and PostgreSQL, without a zone on MariaDB.
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment if moment.tzinfo else moment.replace(tzinfo=self.connection.timezone)

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
        limit: int | Slot,
        assignments: dict[str, Any],
        fields: tuple[str, ...],
        *,
        wait: bool = False,
    ) -> Take:
        """A `take` to be run often; slots in it are filled by run_take."""
        raise NotImplementedError(f"{type(self).__name__} must take rows.")

    def compile_claim(
        self,
        queryset: QuerySet,
        limit: Slot,
        assignments: dict[str, Any],
        fields: tuple[str, ...],
        now: Slot,
    ) -> Take:
        """A take of jobs at a time; `counts_claims` says whether it writes down their figures as well."""
        return self.compile_take(queryset, limit, assignments, fields)

    def run_take(self, take: Take, values: dict[str, Any]) -> list[Any]:
        """Run a compiled take with these values for its slots."""
        statement, parameters = take.statements[0]
        return self.load(take.model, take.fields, self.execute(statement, self._fill(parameters, values)))

    def _fill(self, parameters: tuple, values: dict[str, Any]) -> list[Any]:
        return [values[each.name] if isinstance(each, Slot) else each for each in parameters]

    def load(self, model: type[Model], fields: tuple[str, ...], rows: list[tuple]) -> list[Any]:
        """Instances of the rows that a statement of our own returned; other fields are deferred.

        JSON of a model that has `_texts` stays text until somebody reads it: see LazyJSONField.

        Django's own way goes through the list of all fields for each row, which costs as much as the
        statement, and sends the signals of `__init__`, which this does not.
        """
        if not rows:
            return []
        columns = dict(zip(fields, zip(*rows, strict=True), strict=True))
        for name, convert in self._find_converters(_get_fields(model, fields)):
            columns[name] = tuple(map(convert, columns[name]))
        texts = [field.attname for field in _get_fields(model, fields) if keeps_text(field)]
        words = list(zip(*(columns.pop(name) for name in texts), strict=True))
        instances = []
        for place, values in enumerate(zip(*columns.values(), strict=True)):
            instance: Any = model.__new__(model)
            instance.__dict__.update(zip(columns, values, strict=True))
            if texts:
                instance._texts = dict(zip(texts, words[place], strict=True))
            instance._state = state = ModelState()
            state.adding = False
            state.db = self.alias
            # Made when it is first asked for, by a descriptor, which Django does as late as in __del__.
            state.fields_cache = {}
            instances.append(instance)
        return instances

    def _find_converters(self, fields: Iterable[Field]) -> list[tuple[str, Callable[[Any], Any]]]:
        """What makes Python's values of the database's, in the order in which it is to be done."""
        converters: list[tuple[str, Callable[[Any], Any]]] = []
        for field in fields:
            if isinstance(field, DateTimeField):
                converters.append((field.attname, self.read_moment))
            elif not keeps_text(field):
                column = field.get_col(field.model._meta.db_table)
                own = (
                    *self.connection.ops.get_db_converters(column),
                    *column.get_db_converters(self.connection),
                )
                converters += [
                    (field.attname, partial(convert, expression=column, connection=self.connection))
                    for convert in own
                ]
        return converters

    # What is asked and told again and again

    def ask(self, make: Question, **values: Any) -> list[tuple]:
        """The rows of a query that takes longer to compile than to run; it is compiled once.

        Args:
            make: gives the query for an alias; always the same, with `AskedNow` for the time, and marked
                as a `question` if an idle worker asks it.
            values: of its slots.
        """
        return self._say(*_compile_question(self.alias, make), {"now": self.read_asked_now(), **values})

    def ask_whether(
        self, makes: Sequence[Question], look: tuple[str, Sequence[Any]] | None = None
    ) -> list[bool | None]:
        """Whether each of these questions has a row, in one round trip, and at last whether the look has.

        Args:
            makes: each gives a query, as for `ask`, of one column and at most one row, which is not NULL.
            look: a statement of the same kind with its parameters; without one the last answer is None.
        """
        statements = [_compile_question(self.alias, make) for make in makes]
        # As scalars, not with EXISTS, for which PostgreSQL drops the order that leads it to the right index.
        columns = [f"({statement})" for statement, _ in statements]
        values = {"now": self.read_asked_now()}
        parameters = [
            value for _, slots in statements for value in self._adapt_all(self._fill(slots, values))
        ]
        if look is not None:
            columns.append(f"({look[0]})")
            parameters += look[1]
        answers: list[bool | None] = [
            value is not None for value in self.execute(f"SELECT {', '.join(columns)}", parameters)[0]
        ]
        return answers if look is not None else [*answers, None]

    def tell(self, make: Change, **values: Any) -> None:
        """Update rows by a statement that is compiled once.

        Args:
            make: gives the query of the rows for an alias, and what is assigned to them; always the same.
            values: of the slots in both.
        """
        self._say(*_compile_change(self.alias, make), values)

    def _say(self, statement: str, parameters: tuple, values: dict[str, Any]) -> list[tuple]:
        return self.execute(statement, self._adapt_all(self._fill(parameters, values)))

    def read_asked_now(self) -> str | None:
        """The time for a question, where the database does not tell it within a statement."""
        return None

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

    def compile_first(self, queryset: QuerySet, limit: int | Slot) -> tuple[str, tuple]:
        """The first rows of a query, for a statement that begins with it or ends with it.

        Django compiles a limit into the text; a slot takes the place of one that no query has.
        """
        if isinstance(limit, int):
            return self.compile(queryset[:limit])
        statement, parameters = self.compile(queryset[:NO_LIMIT])
        before, after = statement.split(f"LIMIT {NO_LIMIT}")
        assert "%s" not in after, after  # noqa: S101
        return f"{before}LIMIT %s{after}", (*parameters, limit)

    def list_columns(self, model: type[Model], fields: tuple[str, ...]) -> str:
        return ", ".join(self.read_column(field) for field in _get_fields(model, fields))

    def read_column(self, field: Field) -> str:
        """SQL for a column as `load` reads it."""
        return f"{self.quote(field.model._meta.db_table)}.{self.quote(field.column)}"

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

    def can_call_along(self) -> bool:
        """Whether a call can travel with the statement that gives it cause."""
        return False

    def execute_and_call(self, statement: str, parameters: Sequence[Any], queue_name: str) -> None:
        """Commit one statement outside of a transaction, then call; see `can_call_along`.

        Raises what the database says of the statement, or CallFailed when that was done.
        """
        self.execute(statement, parameters)
        self.notify([queue_name])

    def listen(self) -> Any:
        """Have calls arrive on this connection from now on; return what hears them, or None if none do."""
        return None

    def watch_changes(self) -> Any:
        """What tells of any write to the database, whoever it is for, or None where nothing does."""
        return None

    # SQL

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def repeat(self, run: Run, statement: str, parameters: Sequence[Any]) -> None:
        """Run a statement that is likely to come again, the same but for its parameters.

        Args:
            run: what executes it, or another one in its place that does the same.
        """
        run(statement, parameters)

    def quote(self, name: str | None) -> str:
        assert name is not None  # noqa: S101  (every concrete field has a column)
        return self.connection.ops.quote_name(name)


@lru_cache(maxsize=256)
def _compile_question(alias: str, make: Question) -> tuple[str, tuple]:
    return make(alias).query.get_compiler(alias).as_sql()


@lru_cache(maxsize=256)
def _compile_change(alias: str, make: Change) -> tuple[str, tuple]:
    queryset, assignments = make(alias)
    query: Any = queryset.query.chain(UpdateQuery)
    query.add_update_values(assignments)
    return query.get_compiler(alias).as_sql()


@lru_cache(maxsize=256)
def _get_fields(model: type[Model], names: tuple[str, ...]) -> tuple[Field, ...]:
    by_name = {field.attname: field for field in model._meta.concrete_fields}
    return tuple(by_name[name] for name in names)


@lru_cache(maxsize=256)
def _get_all_fields(model: type[Model], names: tuple[str, ...], log: Log | None) -> tuple[Field, ...]:
    """The fields of an update, and those that only its log has."""
    fields = _get_fields(model, names)
    if log is None:
        return fields
    others = {field.attname: field for field in log.model._meta.concrete_fields}
    return fields + tuple(others[attribute] for attribute, name in log.sources.items() if name not in names)


def _write_literal(value: float | str | None) -> str:
    """A value of our own as SQL."""
    if isinstance(value, str):
        assert value.isalnum() or not value  # noqa: S101
        return f"'{value}'"
    return "NULL" if value is None else str(value)


def keeps_text(field: Field) -> bool:
    """Whether `load` leaves a column to whoever reads it, who may never come."""
    return isinstance(field, JSONField) and hasattr(field.model, "_texts")


def read_uuid(value: UUID | str) -> UUID:
    """An id that a statement of our own returned."""
    return value if isinstance(value, UUID) else UUID(value)


def choose(rows: Rows, ids: list[tuple]) -> Rows:
    """Those of the rows whose ids the database gave back, each once."""
    if len(ids) == len(rows):
        return rows
    found = {read_uuid(value) for (value,) in ids}
    return [row for row in rows if row["id"] in found]

"""SQLite: one writer at a time, so single statements and transactions that begin as writers."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Field, QuerySet
from django.utils import timezone

from dbq.dialects import watching
from dbq.dialects.base import Dialect, Slot, Take

# Python's own
SQLITE_TIMEOUT_SECONDS = 5.0


class SQLiteDialect(Dialect):
    # A look costs a worker that has slept a millisecond: waking up costs more than asking.
    poll_seconds = (0.01, 0.5)
    # Half of the longest is what a job waits for an idle worker.
    uncalled_poll_seconds = (0.01, 0.04)

    def source(self, fields: Iterable[Field]) -> str:
        columns = ", ".join(
            f"json_extract(value, '$.{field.attname}') AS {self.quote(field.column)}" for field in fields
        )
        return f"(SELECT {columns} FROM json_each(%s)) AS d"

    def compile_take(
        self,
        queryset: QuerySet,
        limit: int | Slot,
        assignments: dict[str, Any],
        fields: tuple[str, ...],
        *,
        wait: bool = False,
    ) -> Take:
        model = queryset.model
        picked, picked_parameters = self.compile_first(queryset.values("pk"), limit)
        update, update_parameters = self.compile_update(model, assignments)
        statement = f"{update} WHERE id IN ({picked}) RETURNING {self._list_bare_columns(model, fields)}"
        return Take(model, fields, ((statement, update_parameters + picked_parameters),))

    def remove(self, queryset: QuerySet, limit: int, fields: tuple[str, ...]) -> list[Any]:
        model = queryset.model
        picked, parameters = self.compile_first(queryset.values("pk"), limit)
        statement = (
            f"DELETE FROM {self.quote(model._meta.db_table)} WHERE id IN ({picked})"
            f" RETURNING {self._list_bare_columns(model, fields)}"
        )
        return self.load(model, fields, self.execute(statement, parameters))

    def _list_bare_columns(self, model: Any, fields: tuple[str, ...]) -> str:
        # SQLite names a returned column by the text it was asked with.
        return self.list_columns(model, fields).replace(f"{self.quote(model._meta.db_table)}.", "")

    def watch_changes(self) -> Any:
        return watching.watch(str(self.connection.settings_dict["NAME"]))

    def read_clock(self) -> datetime:
        return timezone.now()

    def read_asked_now(self) -> str | None:
        return self.connection.ops.adapt_datetimefield_value(timezone.now())

    def bound_waits(self, seconds: float) -> None:
        # Whoever waits longer for somebody else's lock gives no sign of life meanwhile.
        options = self.connection.settings_dict["OPTIONS"]
        self._set_options(timeout=min(options.get("timeout", SQLITE_TIMEOUT_SECONDS), seconds))

    def try_to_write(self) -> None:
        # Somebody else's transaction is no refusal, and not worth waiting for as long as a write would.
        timeout = self.execute("PRAGMA busy_timeout")[0][0]
        self.execute("PRAGMA busy_timeout = 0")
        try:
            super().try_to_write()
        except DatabaseError as error:
            if not self.is_passing(error):
                raise
        finally:
            self.execute(f"PRAGMA busy_timeout = {timeout}")

    @contextmanager
    def write(self) -> Iterator[None]:
        # A deferred transaction that reads first and writes later is refused under contention.
        with self._immediate(), transaction.atomic(using=self.alias):
            yield

    @contextmanager
    def _immediate(self) -> Iterator[None]:
        self.connection.ensure_connection()
        connection: Any = self.connection
        mode = connection.transaction_mode
        connection.transaction_mode = "IMMEDIATE"
        try:
            yield
        finally:
            connection.transaction_mode = mode

    def refresh_statistics(self) -> None:
        # Without them a state is thought to have ten jobs, and hundreds of ids are looked up by it.
        self.execute("PRAGMA analysis_limit = 1000")
        self.execute("ANALYZE dbq_job")

    def has_open_transaction(self) -> bool:
        if super().has_open_transaction():
            return True
        raw = self.connection.connection
        return raw is not None and not self.was_closed() and raw.in_transaction

    def was_closed(self) -> bool:
        raw = self.connection.connection
        try:
            return raw is not None and raw.in_transaction is None
        except sqlite3.ProgrammingError:
            return True

    def is_passing(self, error: DatabaseError) -> bool:
        return "database is locked" in str(error) or "database table is locked" in str(error)

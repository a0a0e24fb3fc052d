"""MariaDB and MySQL: lock first, then update by primary key, as neither returns what it updated."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db.models import Field, JSONField, Model, QuerySet

from dbq.dialects.base import Dialect, Slot, Take, choose
from dbq.dialects.batch import FencedUpdate, Rows, is_uuid

# SERVER_STATUS_IN_TRANS of the client/server protocol
IN_TRANSACTION = 1


class MySQLDialect(Dialect):
    uncalled_poll_seconds = (0.01, 0.1)
    # deadlock, lock wait time-out, record changed since last read (MariaDB 11), deadlock at commit
    passing_errors = frozenset({1213, 1205, 1020})

    def source(self, fields: Iterable[Field]) -> str:
        columns = ", ".join(
            f"{self.quote(field.column)} {self._get_json_type(field)} PATH '$.{field.attname}'"
            for field in fields
        )
        return f"JSON_TABLE(%s, '$[*]' COLUMNS({columns})) AS d"

    def _get_json_type(self, field: Field) -> str:
        if is_uuid(field):
            return "char(36)"
        if isinstance(field, JSONField):
            # JSON columns travel as text within the document: they were written down before.
            return "longtext"
        return field.db_type(self.connection) or "longtext"

    def read_source(self, field: Field) -> str:
        column = super().read_source(field)
        if is_uuid(field) and self.connection.features.has_native_uuid_field:
            # Without the cast the column is compared as text, and its index is of no use.
            return f"CAST({column} AS uuid)"
        return column

    def insert_row(self, model: type[Model], row: dict[str, Any]) -> int:
        # MySQL returns nothing.
        with self.connection.cursor() as cursor:
            cursor.execute(self.make_row_insert(model, tuple(row), {}), self._adapt_all(row.values()))
            return cursor.lastrowid

    def execute_update(self, update: FencedUpdate, rows: Rows, document: str) -> Rows:
        table, batch = update.table, update.batch
        join = (
            f"{batch.source} STRAIGHT_JOIN {table}"
            f" ON {table}.id = {batch.read('id')} AND {table}.fence = d.fence"
        )
        moved = choose(rows, self.execute(f"SELECT {table}.id FROM {join} FOR UPDATE", (document,)))
        if moved:
            self.execute(f"UPDATE {join} SET {update.assignments}", (document, *update.get_parameters()))
        self.write_log(update, rows, document, moved)
        return moved

    def prefix_targets(self, table: str) -> str:
        return f"{table}."

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
        columns = f"SELECT {self.list_columns(model, fields)} FROM {self.quote(model._meta.db_table)}"
        lock, update = self._lock(queryset, limit, wait), self.compile_update(model, assignments)
        return Take(model, fields, (lock, update, (columns, ())))

    def run_take(self, take: Take, values: dict[str, Any]) -> list[Any]:
        lock, update, columns = (
            (statement, self._fill(parameters, values)) for statement, parameters in take.statements
        )
        ids = sorted(row[0] for row in self.execute(*lock))
        if not ids:
            return []
        these = f" WHERE id IN ({', '.join(['%s'] * len(ids))})"
        self.execute(update[0] + these, update[1] + ids)
        return self.load(take.model, take.fields, self.execute(columns[0] + these, ids))

    def remove(self, queryset: QuerySet, limit: int, fields: tuple[str, ...]) -> list[Any]:
        table = self.quote(queryset.model._meta.db_table)
        ids = sorted(row[0] for row in self.execute(*self._lock(queryset, limit, wait=False)))
        if not ids:
            return []
        these = f"FROM {table} WHERE id IN ({', '.join(['%s'] * len(ids))})"
        rows = self.execute(f"SELECT {self.list_columns(queryset.model, fields)} {these}", ids)
        self.execute(f"DELETE {these}", ids)
        return self.load(queryset.model, fields, rows)

    def _lock(self, queryset: QuerySet, limit: int | Slot, wait: bool) -> tuple[str, tuple]:
        locked = queryset.using(self.alias).select_for_update(skip_locked=not wait)
        return self.compile_first(locked.values("pk"), limit)

    def read_clock(self) -> datetime:
        return self.execute("SELECT UTC_TIMESTAMP(6)")[0][0].replace(tzinfo=UTC)

    def bound_waits(self, seconds: float) -> None:
        whole = math.ceil(seconds)
        self._set_default_options(connect_timeout=whole, read_timeout=whole, write_timeout=whole)

    def prepare_engine_connection(self, lease_seconds: float, patience_seconds: float) -> None:
        # The default of 50 s would outlive a lease, and so would a silent session: it has eight hours.
        self.execute(
            "SET SESSION innodb_lock_wait_timeout = 5, SESSION wait_timeout = %s",
            (max(1, math.ceil(lease_seconds)),),
        )
        if self.connection.mysql_is_mariadb:  # type: ignore[attr-defined]
            self.execute("SET SESSION idle_transaction_timeout = %s", (max(1, math.ceil(patience_seconds)),))

    def has_open_transaction(self) -> bool:
        if super().has_open_transaction():
            return True
        raw = self.connection.connection
        if raw is None or self.was_closed():
            return False
        status = getattr(raw, "server_status", None)
        if status is not None:
            return bool(status & IN_TRANSACTION)
        return bool(self.execute("SELECT @@in_transaction")[0][0])

    def was_closed(self) -> bool:
        raw = self.connection.connection
        return raw is not None and not raw.open

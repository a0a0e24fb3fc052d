"""MariaDB and MySQL: lock first, then update by primary key, as neither returns what it updated."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Field, JSONField, Model, QuerySet, UUIDField

from dbq.dialects.base import Dialect, _as_uuid

# SERVER_STATUS_IN_TRANS of the client/server protocol
IN_TRANSACTION = 1


class MySQLDialect(Dialect):
    poll_seconds = (0.01, 0.05)
    # deadlock, lock wait time-out, record changed since last read (MariaDB 11), deadlock at commit
    passing_errors = frozenset({1213, 1205, 1020})

    def source(self, fields: Iterable[Field]) -> str:
        columns = ", ".join(
            f"{self.quote(field.column)} {self._get_json_type(field)} PATH '$.{field.attname}'"
            for field in fields
        )
        return f"JSON_TABLE(%s, '$[*]' COLUMNS({columns})) AS d"

    def _get_json_type(self, field: Field) -> str:
        if _is_uuid(field):
            return "char(36)"
        if isinstance(field, JSONField):
            # JSON columns travel as text within the document: they were written down before.
            return "longtext"
        return field.db_type(self.connection) or "longtext"

    def read_source(self, field: Field) -> str:
        column = super().read_source(field)
        if _is_uuid(field) and self.connection.features.has_native_uuid_field:
            # Without the cast the column is compared as text, and its index is of no use.
            return f"CAST({column} AS uuid)"
        return column

    def execute_update(
        self, model: type[Model], fields: tuple[Field, ...], document: str, keep_fence: bool
    ) -> set[UUID]:
        table = self.quote(model._meta.db_table)
        by_name = {field.attname: field for field in fields}
        join = (
            f"{self.source(fields)} STRAIGHT_JOIN {table}"
            f" ON {table}.id = {self.read_source(by_name['id'])} AND {table}.fence = d.fence"
        )
        held = self.execute(f"SELECT {table}.id FROM {join} FOR UPDATE", (document,))
        if held:
            assignments = self.list_assignments(fields, table, keep_fence, f"{table}.")
            self.execute(f"UPDATE {join} SET {assignments}", (document,))
        return {_as_uuid(row[0]) for row in held}

    def take(
        self,
        queryset: QuerySet,
        limit: int,
        assignments: dict[str, Any],
        fields: tuple[str, ...],
        *,
        wait: bool = False,
    ) -> list[Any]:
        manager = queryset.model._base_manager.using(self.alias)
        ids = self._lock(queryset, limit, wait)
        if not ids:
            return []
        manager.filter(pk__in=ids).update(**assignments)
        return list(manager.filter(pk__in=ids).only(*fields))

    def remove(self, queryset: QuerySet, limit: int, fields: tuple[str, ...]) -> list[Any]:
        manager = queryset.model._base_manager.using(self.alias)
        ids = self._lock(queryset, limit, wait=False)
        if not ids:
            return []
        rows = list(manager.filter(pk__in=ids).only(*fields))
        manager.filter(pk__in=ids)._raw_delete(self.alias)
        return rows

    def _lock(self, queryset: QuerySet, limit: int, wait: bool) -> list[Any]:
        locked = queryset.using(self.alias).select_for_update(skip_locked=not wait)
        return sorted(locked.values_list("pk", flat=True)[:limit])

    def read_clock(self) -> datetime:
        return self.execute("SELECT UTC_TIMESTAMP(6)")[0][0].replace(tzinfo=UTC)

    def bound_waits(self, seconds: float) -> None:
        whole = math.ceil(seconds)
        self._set_default_options(connect_timeout=whole, read_timeout=whole, write_timeout=whole)

    def prepare_engine_connection(self, lease_seconds: float) -> None:
        # The default of 50 s would outlive a lease, and so would a silent session: it has eight hours.
        self.execute(
            "SET SESSION innodb_lock_wait_timeout = 5, SESSION wait_timeout = %s",
            (max(1, math.ceil(lease_seconds)),),
        )

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


def _is_uuid(field: Field) -> bool:
    return isinstance(getattr(field, "target_field", field), UUIDField)

"""PostgreSQL: rows out of JSON record sets, SKIP LOCKED, NOTIFY after commit."""

import logging
import math
import os
import select
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Field, JSONField, QuerySet

from dbq.dialects import prepared
from dbq.dialects.base import CallFailed, Dialect, Run, Slot, Take, choose
from dbq.dialects.batch import FencedUpdate, Rows
from dbq.dialects.exchange import exchange
from dbq.dialects.figures import COUNT_CLAIM

CHANNEL = "dbq"
# invalid_sql_statement_name
UNKNOWN_STATEMENT = "26000"

logger = logging.getLogger("dbq")


class PostgreSQLDialect(Dialect):
    poll_seconds = (0.004, 1.0)
    # deadlock_detected, serialization_failure, lock_not_available
    passing_errors = frozenset({"40P01", "40001", "55P03"})
    counts_claims = True
    # Every job leaves two dead rows behind, every delta one: autovacuum's own fifth of a large table
    # comes after hours of them. A percent of ten million is still a walk through all indexes in minutes.
    storage = (
        "ALTER TABLE dbq_job SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000,"
        " autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02)",
        "ALTER TABLE dbq_attempt SET (autovacuum_vacuum_insert_scale_factor = 0.05,"
        " autovacuum_analyze_scale_factor = 0.02)",
        *(
            f"ALTER TABLE {table} SET"
            " (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)"
            for table in ("dbq_queue_count_delta", "dbq_rollup_delta")
        ),
        # Room for the next heartbeat on the same page.
        "ALTER TABLE dbq_worker SET (fillfactor = 50)",
    )

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple]:
        # Django's log of statements is written by its cursors.
        if prepared.find(self.connection) is None or self.connection.queries_logged:
            return super().execute(statement, parameters)
        return exchange(self.connection, statement, parameters)

    def repeat(self, run: Run, statement: str, parameters: Sequence[Any]) -> None:
        # A job's row has 27 columns: parsing and planning its INSERT takes the server longer than doing it.
        call = self._find_call(statement)
        if call is None:
            run(statement, parameters)
            return
        try:
            run(call, parameters)
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", None) != UNKNOWN_STATEMENT:
                raise
            # Somebody forgot it on purpose, or another session answers. Nothing was done.
            prepared.find_repeated(self.connection).is_own = False
            run(statement, parameters)

    def _find_call(self, statement: str) -> str | None:
        """What runs this statement prepared; None where it is not worth it, or an error would do harm."""
        self.connection.ensure_connection()
        repeated = prepared.find_repeated(self.connection)
        if not repeated.count(statement) or not self._may_prepare():
            return None
        if repeated.is_own is None:
            repeated.is_own = not self.is_lent()
        try:
            return repeated.get_call(statement, self.connection) if repeated.is_own else None
        except DatabaseError:
            logger.debug("A statement cannot be prepared; running it as it is.", exc_info=True)
            repeated.is_own = False
            return None

    def _may_prepare(self) -> bool:
        return not (
            # A statement that is not known would be the end of somebody's transaction.
            self.connection.in_atomic_block
            or not self.connection.get_autocommit()
            # Who reads Django's log wants to see what it says.
            or self.connection.queries_logged
            or self.connection.settings_dict["OPTIONS"].get("server_side_binding")
        )

    def source(self, fields: Iterable[Field]) -> str:
        columns = ", ".join(f"{self.quote(field.column)} {self._get_json_type(field)}" for field in fields)
        return f"json_to_recordset(%s::json) AS d({columns})"

    def _get_json_type(self, field: Field) -> str:
        # JSON columns travel as text within the document: they were written down before.
        return "text" if isinstance(field, JSONField) else field.db_type(self.connection) or "text"

    def read_source(self, field: Field) -> str:
        column = super().read_source(field)
        return f"{column}::jsonb" if isinstance(field, JSONField) else column

    def execute_update(self, update: FencedUpdate, rows: Rows, document: str) -> Rows:
        # With its log in one statement: a round trip, and a document that is read once.
        table, batch = update.table, update.batch
        moved = (
            f"UPDATE {table} SET {update.assignments} FROM d"
            f" WHERE {table}.id = ANY(ARRAY(SELECT d.id FROM d)) AND {table}.id = d.id"
            f" AND {table}.fence = d.fence RETURNING {table}.id"
        )
        parts = [f"d AS MATERIALIZED (SELECT * FROM {batch.source})", f"moved (moved_id) AS ({moved})"]
        parameters = [document, *update.get_parameters()]
        if update.log is not None:
            parts.append(f"log AS ({self.make_insert(batch, update.log, 'd JOIN moved ON moved_id = d.id')})")
            parameters += batch.get_parameters(update.log.sources.values())
        statement = f"WITH {', '.join(parts)} SELECT moved_id FROM moved"
        return choose(rows, self.execute(statement, parameters))

    def write_moment(self, moment: datetime) -> str:
        return str(moment)

    def write_uuid(self, identifier: UUID) -> str:
        # Without the dashes, which Python takes longer to put in than all the rest.
        return identifier.hex

    def read_parameter(self, field: Field) -> str:
        return "%s::jsonb" if isinstance(field, JSONField) else "%s"

    def read_column(self, field: Field) -> str:
        # Django has the driver read times in Python, which takes longer than the rest of a row.
        column = super().read_column(field)
        return f"{column}::text" if isinstance(field, DateTimeField) else column

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
        statement, parameters = self._make_take(queryset, limit, assignments, wait)
        statement = f"{statement} RETURNING {self.list_columns(model, fields)}"
        return Take(model, fields, ((statement, parameters),))

    def compile_claim(
        self,
        queryset: QuerySet,
        limit: Slot,
        assignments: dict[str, Any],
        fields: tuple[str, ...],
        now: Slot,
    ) -> Take:
        model = queryset.model
        take, parameters = self._make_take(queryset, limit, assignments, wait=False)
        table = self.quote(model._meta.db_table)
        statement = (
            f"WITH taken AS ({take} RETURNING {table}.*), counted AS ({COUNT_CLAIM})"
            # By the name of the table, as the columns have it.
            f" SELECT {self.list_columns(model, fields)} FROM taken AS {table}"
        )
        return Take(model, fields, ((statement, (*parameters, now)),))

    def run_take(self, take: Take, values: dict[str, Any]) -> list[Any]:
        ready = prepared.find(self.connection) if values else None
        if ready is None:
            return super().run_take(take, values)
        return self.load(take.model, take.fields, self.execute(*ready.write_call(take, values)))

    def _make_take(
        self, queryset: QuerySet, limit: int | Slot, assignments: dict[str, Any], wait: bool
    ) -> tuple[str, tuple]:
        picked, picked_parameters = self._pick(queryset, limit, wait)
        update, update_parameters = self.compile_update(queryset.model, assignments)
        # The column of the inner statement gets a name that the outer one does not have: read as its own
        # id, it would match every row of the table.
        # The outer statement goes by primary key alone. Its rows are locked already, and with stale
        # statistics a repeated lane condition drives the update from the whole partial index.
        statement = (
            f"WITH picked (picked_id) AS MATERIALIZED ({picked}) {update}"
            f" WHERE id = ANY(ARRAY(SELECT picked_id FROM picked))"
        )
        return statement, picked_parameters + update_parameters

    def remove(self, queryset: QuerySet, limit: int, fields: tuple[str, ...]) -> list[Any]:
        model = queryset.model
        picked, parameters = self._pick(queryset, limit, wait=False)
        statement = (
            f"WITH picked (picked_id) AS MATERIALIZED ({picked})"
            f" DELETE FROM {self.quote(model._meta.db_table)}"
            f" WHERE id = ANY(ARRAY(SELECT picked_id FROM picked))"
            f" RETURNING {self.list_columns(model, fields)}"
        )
        with self._read_in_order():
            return self.load(model, fields, self.execute(statement, parameters))

    @contextmanager
    def _read_in_order(self) -> Iterator[None]:
        """Have an index give the first rows of an order; within a transaction.

        With old statistics a table looks small, and reading all that matches and sorting it looks as cheap.
        """
        self.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        yield
        # The transaction may be somebody else's, who goes on with it.
        self.execute("SET LOCAL enable_seqscan TO DEFAULT; SET LOCAL enable_bitmapscan TO DEFAULT")

    def _pick(self, queryset: QuerySet, limit: int | Slot, wait: bool) -> tuple[str, tuple]:
        locked = queryset.values("pk").select_for_update(skip_locked=not wait)
        return self.compile_first(locked, limit)

    def read_clock(self) -> datetime:
        moment = self.execute("SELECT STATEMENT_TIMESTAMP()")[0][0]
        return moment.astimezone(UTC)

    def bound_waits(self, seconds: float) -> None:
        whole = math.ceil(seconds)
        self._set_default_options(
            connect_timeout=whole,
            keepalives_idle=whole,
            keepalives_interval=max(1, whole // 3),
            keepalives_count=3,
            tcp_user_timeout=whole * 1000,
        )

    def hang_up(self) -> bool:
        raw = self.connection.connection
        if raw is None or raw.closed:
            return False
        # Shut down, not closed: the number stays taken until its owner closes it.
        with socket.socket(fileno=os.dup(raw.fileno())) as line, suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        return True

    def prepare_engine_connection(self, lease_seconds: float, patience_seconds: float) -> None:
        # What is set on a session that a pooler lends out would stay there for its next user.
        if not self.is_lent():
            self.execute(
                "SELECT set_config('idle_in_transaction_session_timeout', %s, false)",
                (str(math.ceil(patience_seconds * 1000)),),
            )
            prepared.begin(self.connection)

    def is_lent(self) -> bool:
        """Whether the session belongs to Django's pool, or to a pooler in front of the server."""
        if self.connection.settings_dict["OPTIONS"].get("pool"):
            return True
        pid = self.execute("SELECT pg_backend_pid()")[0][0]
        # A pooler answers a new client with a number of its own.
        return pid != self.connection.connection.info.backend_pid

    def has_open_transaction(self) -> bool:
        raw = self.connection.connection
        if raw is None or raw.closed:
            return False
        # 0 is psycopg's TransactionStatus.IDLE; a task may have typed BEGIN past Django.
        return super().has_open_transaction() or raw.info.transaction_status != 0

    def was_closed(self) -> bool:
        raw = self.connection.connection
        return raw is not None and raw.closed

    def notify(self, queue_names: Iterable[str]) -> None:
        for name in queue_names:
            self.execute("SELECT pg_notify(%s, %s)", (CHANNEL, name))

    def can_call_along(self) -> bool:
        # Only where the client writes the values into the text may that hold several statements.
        return not self.connection.settings_dict["OPTIONS"].get("server_side_binding")

    def execute_and_call(self, statement: str, parameters: Sequence[Any], queue_name: str) -> None:
        # The call is a transaction of its own: within the first its lock would be held during the commit.
        statements = f"BEGIN; {statement}; COMMIT; SELECT pg_notify(%s, %s)"
        try:
            super().execute(statements, (*parameters, CHANNEL, queue_name))
        except DatabaseError as error:
            if self.was_closed():
                raise
            if not self.has_open_transaction():
                raise CallFailed(error) from error
            # What failed before its COMMIT left the transaction open.
            self.connection.connection.rollback()
            raise

    def listen(self) -> "PostgreSQLListener | None":
        if self.is_lent():
            logger.info("A pooler in front of the database keeps calls away; looking often instead.")
            return None
        return PostgreSQLListener(self.connection)


class PostgreSQLListener:
    """Hears, on a connection that does other work as well, which queues got work.

    Calls come whenever the server has the turn: while nothing is asked, and along with any answer.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._raw = connection.connection
        self._heard: set[str] = set()
        # The driver passes on what comes with its answers; what comes with those of `exchange` stays in the
        # library below it.
        self._raw.add_notify_handler(lambda call: self._heard.add(call.payload))
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")

    def fileno(self) -> int:
        return self._raw.fileno()

    def is_cut_off(self) -> bool:
        return self._raw.closed

    def has_heard(self) -> bool:
        """Whether calls came that were not read yet, and that no wait on the connection would tell of."""
        while (call := self._raw.pgconn.notifies()) is not None:
            self._heard.add(call.extra.decode())
        return bool(self._heard)

    def read(self) -> set[str]:
        """The queue names that were called since the last read; raises Django's errors if the line is cut."""
        # The driver's own errors are none of Django's.
        with self._connection.wrap_database_errors:
            if select.select([self], [], [], 0)[0]:
                self._raw.pgconn.consume_input()
            self.has_heard()
        heard, self._heard = self._heard, set()
        return heard

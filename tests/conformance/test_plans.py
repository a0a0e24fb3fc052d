"""The engine's statements go by their indexes, however many finished jobs lie beside those they want.

With statistics from before the rows came, as after a night of imports, and with fresh ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, transaction

from dbq import findings, transitions
from dbq.counts import Tally
from dbq.dialects.base import DatabaseNow
from dbq.identifiers import uuid7
from dbq.models import Job
from dbq.states import Lane, State
from tests.helpers import dialect, empty_tables, make_worker, start_engine

FINISHED = 20_000
CLAIMABLE = 2_000
SCHEDULED = 300
RUNNING = 40
CLAIMED = 50
# MariaDB takes more time for each row of a longer document.
ROWS_PER_STATEMENT = 200
# Of all rows; an index that also holds the finished ones would take thousands.
READ_MAX = 600
# A rescue asks both; what the server believes of the one decides how it goes about the other.
TABLES = ("dbq_job", "dbq_attempt")


@pytest.fixture(autouse=True)
def transactional_db() -> None:
    """The table is filled once for the module; every test rolls back what it does."""


@contextmanager
def through(wrapper: Any) -> Iterator[None]:
    """Have all statements of this thread go through another connection."""
    usual, connections["default"] = connections["default"], wrapper
    try:
        yield
    finally:
        connections["default"] = usual


@pytest.fixture(scope="module")
def early(django_db_setup: None, django_db_blocker) -> Iterator[Any]:
    """The connection of an engine, which claims for the first time while there are next to no jobs."""
    with django_db_blocker.unblock():
        wrapper = connections.create_connection("default")
        with through(wrapper):
            dialect().prepare_engine_connection(60, 10)
        yield wrapper
        wrapper.close()


@pytest.fixture(scope="module")
def table(early, django_db_blocker) -> Iterator[Any]:
    with django_db_blocker.unblock():
        # An engine may have set this session up for its own statements.
        connection.close()
        empty_tables()
        keep_statistics()
        worker = make_worker()
        fill(FINISHED // 100, Lane.FINISHED)
        take_statistics()
        # After all that makes the server plan anew, and before the rows that a plan must suit.
        with through(early):
            claim(1)
        fill(FINISHED, Lane.FINISHED)
        fill(CLAIMABLE, Lane.CLAIMABLE)
        fill(SCHEDULED, Lane.WAITING)
        fill(RUNNING, Lane.RUNNING, worker.pk)
        fill(RUNNING * 10, Lane.RUNNING, make_worker().pk)
        yield worker
        forget_statistics()
        empty_tables()


@pytest.fixture(scope="module", params=["stale", "fresh"], autouse=True)
def statistics(request, table, django_db_blocker) -> str:
    if request.param == "fresh":
        take_statistics()
    return request.param


def fill(amount: int, lane: Lane, worker_id: int | None = None) -> None:
    now = dialect().read_clock()
    states = {
        Lane.FINISHED: [State.COMPLETED] * 8 + [State.FAILED, State.CANCELLED],
        Lane.RUNNING: [State.PROCESSING],
    }.get(lane, [State.NEW, State.READY])
    blank = Job(name="nothing")
    columns = {field.attname: getattr(blank, field.attname) for field in Job._meta.concrete_fields}
    rows = []
    for number in range(amount):
        moment = now - timedelta(minutes=number)
        is_finished = lane == Lane.FINISHED
        values = {
            **columns,
            "id": uuid7(),
            "queue_name": ("default", "mail")[number % 2],
            "state": str(states[number % len(states)]),
            "lane": int(lane),
            "priority": number % 3,
            "next_task": "tests.jobs.nothing",
            "definition_hash": "0" * 16,
            "workspace": json.dumps({"number": number}),
            "created": moment,
            "enqueued": moment,
            "started": None if lane == Lane.CLAIMABLE else moment,
            "finished": moment if is_finished else None,
            "run_after": now + timedelta(minutes=number - 20) if lane == Lane.WAITING else None,
            "worker_id": worker_id,
            "cancel_requested": False if connection.vendor == "postgresql" else 0,
        }
        rows.append(values)
    with transaction.atomic():
        for start in range(0, amount, ROWS_PER_STATEMENT):
            dialect().insert_rows(Job, rows[start : start + ROWS_PER_STATEMENT])


def run_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.fetchall() if cursor.description else None


def keep_statistics() -> None:
    """Keep the server from refreshing them in the middle of a test."""
    if connection.vendor == "postgresql":
        run_sql("ALTER TABLE dbq_job SET (autovacuum_enabled = false)")
    elif connection.vendor == "mysql":
        for table in TABLES:
            run_sql(f"ALTER TABLE {table} STATS_AUTO_RECALC = 0")


def take_statistics() -> None:
    if connection.vendor == "mysql":
        run_sql(f"ANALYZE TABLE {', '.join(TABLES)}")
    elif connection.vendor == "postgresql":
        # As autovacuum does both: what earlier tests rolled back makes an index look long.
        run_sql("VACUUM (ANALYZE) dbq_job")
    else:
        run_sql("ANALYZE dbq_job")


def forget_statistics() -> None:
    if connection.vendor == "postgresql":
        run_sql("ALTER TABLE dbq_job RESET (autovacuum_enabled)")
    elif connection.vendor == "mysql":
        for table in TABLES:
            run_sql(f"ALTER TABLE {table} STATS_AUTO_RECALC = DEFAULT")
    else:
        run_sql("DROP TABLE sqlite_stat1")
        connection.close()  # it knows them by heart


class Rollback(Exception):
    """Ends a transaction that was only to be looked at."""


@pytest.fixture
def unblocked(django_db_blocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


class Plan:
    """How the database goes about the statements of an act that read or write jobs."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self.statements: list[tuple[str, Any]] = []
        # What the transaction was told to set before each of them.
        self.settings: list[list[str]] = []
        self._set: list[str] = []
        self.answer: Any = None
        self.texts: list[str] = []
        self.indexes: set[str] = set()
        self.read = 0
        self._perform(act)
        for (statement, parameters), settings in zip(self.statements, self.settings, strict=True):
            self._set = settings
            getattr(self, f"_explain_for_{connection.vendor}")(statement, parameters)

    def _perform(self, act: Callable[[], Any]) -> None:
        try:
            with transaction.atomic(), connection.execute_wrapper(self._note):
                run_sql_quietly("FLUSH STATUS")
                self.answer = act()
                if connection.vendor == "mysql":
                    self.read = read_handlers()
                raise Rollback
        except Rollback:
            pass

    def _note(self, execute, sql, parameters, many, context):
        if sql.startswith("SET LOCAL"):
            self._set.append(sql)
        is_prepared = sql.startswith("EXECUTE")
        if is_prepared or ("dbq_job" in sql and not sql.startswith(("INSERT", "SAVEPOINT", "PREPARE"))):
            self.statements.append((sql, parameters))
            self.settings.append(list(self._set))
        return execute(sql, parameters, many, context)

    def _explain(self, prefix: str, statement: str, parameters: Any) -> list[tuple]:
        with transaction.atomic(), connection.cursor() as cursor:
            for setting in self._set:
                cursor.execute(setting)
            cursor.execute(prefix + statement, parameters)
            rows = cursor.fetchall()
            transaction.set_rollback(True)
        return rows

    def _explain_for_postgresql(self, statement: str, parameters: Any) -> None:
        # Carried out, counted, and rolled back.
        [[[plan]]] = self._explain("EXPLAIN (ANALYZE, FORMAT JSON) ", statement, parameters)
        self.texts.append(json.dumps(plan, indent=1))
        self._walk(plan["Plan"])

    def _walk(self, node: dict) -> None:
        if node.get("Relation Name") == "dbq_job" and "Scan" in node["Node Type"]:
            rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            self.read += rows * node["Actual Loops"]
            if node["Node Type"] != "Bitmap Heap Scan":  # its index is another node
                self.indexes.add(node.get("Index Name", node["Node Type"]))
        elif node.get("Index Name", "").startswith("dbq_job"):
            self.indexes.add(node["Index Name"])
        for child in node.get("Plans", ()):
            self._walk(child)

    def _explain_for_sqlite(self, statement: str, parameters: Any) -> None:
        for *_, text in self._explain("EXPLAIN QUERY PLAN ", statement, parameters):
            self.texts.append(text)
            if "dbq_job " in f"{text} " and text.startswith(("SCAN", "SEARCH")):
                _, _, index = text.partition(" INDEX ")
                whole = "the whole of " if text.startswith("SCAN") else ""
                self.indexes.add(whole + (index.split(" ")[0] or text))

    def _explain_for_mysql(self, statement: str, parameters: Any) -> None:
        for row in self._explain("EXPLAIN ", statement, parameters):
            self.texts.append(repr(row))
            if row[2] == "dbq_job":
                self.indexes.add(row[5] or f"{row[3]} of dbq_job")

    def assert_uses(self, *indexes: str) -> None:
        told = "\n".join(self.texts)
        keys = {"dbq_job_pkey", "PRIMARY", "sqlite_autoindex_dbq_job_1"}
        assert self.indexes - keys == set(indexes), told
        assert self.read <= READ_MAX, f"{self.read} rows were read.\n{told}"


def run_sql_quietly(statement: str) -> None:
    if connection.vendor == "mysql":
        run_sql(statement)


def read_handlers() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        counters = {name: int(value) for name, value in cursor.fetchall()}
    rows = ("key", "next", "prev", "rnd_next")
    return sum(counters[f"Handler_read_{name}"] for name in rows)


pytestmark = pytest.mark.usefixtures("unblocked")


def claim(amount: int, queue_name: str = "default") -> list[Job]:
    with dialect().write():
        return transitions.claim(dialect(), 1, queue_name, amount, dialect().read_clock(), Tally())


@pytest.fixture(params=["planned now", "planned when the table was small"])
def keeps_plans(request, early) -> Iterator[bool]:
    """Whether the connection that claims is an engine's that keeps its plans, rather than any."""
    if request.param == "planned now":
        yield False
        return
    with through(early):
        yield connection.vendor == "postgresql"


@pytest.mark.fault(51)
def test_a_claim_goes_by_its_index(keeps_plans):
    plan = Plan(partial(claim, CLAIMED))

    assert plan.statements[0][0].startswith("EXECUTE") is keeps_plans
    assert len(plan.answer) == CLAIMED
    plan.assert_uses("dbq_job_claim")


def test_a_claim_of_one_reads_little(keeps_plans):
    plan = Plan(partial(claim, 1))

    assert len(plan.answer) == 1
    plan.assert_uses("dbq_job_claim")
    assert plan.read < 20, "\n".join(plan.texts)


def test_a_claim_from_an_empty_queue_reads_next_to_nothing(keeps_plans):
    plan = Plan(partial(claim, 50, "nobody-waits-here"))

    assert plan.answer == []
    plan.assert_uses("dbq_job_claim")
    assert plan.read < 20, "\n".join(plan.texts)


@pytest.mark.parametrize("queue_name", ["default", "nobody-waits-here"])
def test_a_look_for_work_goes_by_the_claims_index(queue_name):
    plan = Plan(lambda: start_engine(queue_name)._has_work())

    assert plan.answer is (queue_name == "default")
    plan.assert_uses("dbq_job_claim")


def test_all_that_an_idle_worker_asks_goes_by_indexes():
    """PostgreSQL may leave out the order of a question within a question, and then reads the table."""

    def ask():
        engine = start_engine()
        return engine._ask_what_to_do(engine._duties, float("inf"))

    plan = Plan(ask)

    assert plan.answer[1] is True
    plan.assert_uses("dbq_job_claim", "dbq_job_due")
    assert plan.read < 100, "\n".join(plan.texts)


def test_a_look_for_urgent_jobs_goes_by_the_claims_index():
    def look():
        engine = start_engine()
        engine._top_priorities = {}
        return engine._is_outranked(Job(queue_name="default", priority=0))

    plan = Plan(look)

    assert plan.answer is True
    plan.assert_uses("dbq_job_claim")


def test_a_promotion_goes_by_its_index():
    plan = Plan(lambda: transitions.promote(dialect()))

    assert 15 < plan.answer < 30
    plan.assert_uses("dbq_job_due")


def test_a_look_for_due_jobs_goes_by_the_promotions_index():
    plan = Plan(lambda: Job.objects.filter(lane=Lane.WAITING, run_after__lte=now()).exists())

    assert plan.answer is True
    plan.assert_uses("dbq_job_due")


def now():
    return DatabaseNow()


def test_the_search_for_dead_workers_goes_by_the_index_of_running_jobs(table):
    plan = Plan(lambda: transitions.declare_dead(dialect()))

    plan.assert_uses("dbq_job_running")


def test_a_rescue_goes_by_the_index_of_running_jobs(table):
    plan = Plan(lambda: transitions.rescue(dialect(), table, "dbq.WorkerLost", "gone"))

    assert plan.answer == RUNNING
    plan.assert_uses("dbq_job_running")


def test_what_a_worker_hears_of_its_jobs_goes_by_the_index_of_running_jobs():
    def hear():
        engine = start_engine()
        engine._hear_cancellations()
        engine._release_unknown()

    Plan(hear).assert_uses("dbq_job_running")


def test_a_cleanup_goes_by_age(monkeypatch):
    monkeypatch.setattr(transitions, "CLEANUP_CHUNK", 100)
    plan = Plan(lambda: transitions._delete_chunk(dialect(), old_jobs()))

    assert plan.answer == 100
    plan.assert_uses("dbq_job_retention")


@pytest.mark.on("postgresql")
def test_a_cleanup_goes_by_age_however_cheap_it_looks_to_read_all(monkeypatch):
    """Statistics of a table that was small can make it look so."""
    monkeypatch.setattr(transitions, "CLEANUP_CHUNK", 100)
    with connection.cursor() as cursor:
        # What an index says row by row is dear, and a sort costs next to nothing.
        cursor.execute("SET random_page_cost = 1000; SET cpu_operator_cost = 0")
    try:
        plan = Plan(lambda: transitions._delete_chunk(dialect(), old_jobs()))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET random_page_cost; RESET cpu_operator_cost")

    plan.assert_uses("dbq_job_retention")


def test_a_cleanup_that_finds_nothing_reads_next_to_nothing():
    plan = Plan(lambda: transitions.delete(Job.objects.all().old(hours=24 * 365)))

    assert plan.answer == 0
    plan.assert_uses("dbq_job_retention")
    assert plan.read < 20, "\n".join(plan.texts)


def old_jobs():
    return Job.objects.all().old(hours=24).order_by("created", "pk")


def test_depths_are_counted_without_the_finished_jobs():
    plan = Plan(Job.get_queue_depths)

    told = "\n".join(plan.texts)
    assert sum(plan.answer.values()) == CLAIMABLE + SCHEDULED
    # All waiting jobs are counted, so the whole of an index that has no others may be read.
    assert {index.rpartition(" ")[2] for index in plan.indexes} <= {"dbq_job_claim", "dbq_job_due"}
    assert plan.read <= (CLAIMABLE + SCHEDULED) * 3, told


def test_a_look_at_the_health_of_all_queues_goes_by_the_indexes_of_the_lanes(monkeypatch):
    monkeypatch.setattr(findings, "LOOKED_AT", 50)
    plan = Plan(findings.find)

    assert {found.code for found in plan.answer} == {"unserved", "waiting"}
    # An index of few rows may be read from its beginning, as far as is looked.
    indexes = {index.rpartition(" ")[2] for index in plan.indexes}
    assert indexes == {"dbq_job_claim", "dbq_job_due", "dbq_job_running"}, "\n".join(plan.texts)
    assert plan.read < 1000, f"{plan.read} rows were read.\n" + "\n".join(plan.texts)

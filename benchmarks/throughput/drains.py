"""Drains: jobs are enqueued, workers start, and the clock runs from the first start to the last commit."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks.lines import FOLLOWERS, TASKS_OF_THREE, NotExactlyOnce
from benchmarks.throughput.databases import Database
from benchmarks.throughput.setups import Failure, Setup, Workers

LOOK_SECONDS = 0.01
# Without any line: a worker may take so long to find its first job.
SILENT_SECONDS = 45
# For a drain that is sized to take a few; some go on at a job a second once their tables are large.
LONGEST_SECONDS = 150


@dataclass(frozen=True)
class Drain:
    """What one drain took."""

    jobs: int
    seconds: float
    peak_kib: int
    commits: float | None = None
    wal_bytes: float | None = None

    @property
    def rate(self) -> float:
        return self.jobs / self.seconds


def count_tasks(kind: str) -> int:
    return TASKS_OF_THREE if kind in FOLLOWERS else 1


def drain(setup: Setup, database: Database, jobs: int, kind: str = "note", first: int = 0) -> Drain:
    """Run that many jobs, enqueued here from the first on, and prove that each ran exactly once."""
    if database.is_postgresql:
        # Before the jobs, whose pages the log then holds already: a drain would pay for them otherwise.
        database.execute("CHECKPOINT")
    setup.act("fill", kind, jobs - first, first)
    if database.is_postgresql:
        for table in setup.contender.tables.names:
            database.execute(f"VACUUM ANALYZE {table}")
    return drain_waiting(setup, database, jobs, kind)


def drain_waiting(setup: Setup, database: Database, jobs: int, kind: str = "note") -> Drain:
    lines = jobs * count_tasks(kind)
    counters = Counters(database)
    with setup.workers() as workers, workers.watching_memory():
        wait_for_lines(setup, workers, lines)
        ended = wait_for_commit(setup, workers, database)
    moments = setup.lines.read()
    if len(moments) != lines:
        raise NotExactlyOnce(f"{len(moments):,} of {lines:,} tasks ran.")
    seconds = ended - min(moments.values())
    commits, wal_bytes = counters.read()
    return Drain(
        jobs,
        seconds,
        workers.peak_kib,
        commits / jobs if commits is not None else None,
        wal_bytes / jobs if wal_bytes is not None else None,
    )


def wait_for_lines(setup: Setup, workers: Workers, lines: int) -> None:
    began = moved = time.monotonic()
    seen = 0
    while (amount := setup.lines.count()) < lines:
        now = time.monotonic()
        if amount != seen:
            seen, moved = amount, now
        if now - moved > SILENT_SECONDS:
            raise Failure(f"{amount:,} of {lines:,} tasks ran, then none for {SILENT_SECONDS} s")
        if now - began > LONGEST_SECONDS:
            raise Failure(f"{amount:,} of {lines:,} tasks ran within {LONGEST_SECONDS} s")
        workers.check()
        time.sleep(LOOK_SECONDS)


def wait_for_commit(setup: Setup, workers: Workers, database: Database) -> float:
    """The moment from which the tables show no job that is due or running."""
    deadline = time.monotonic() + SILENT_SECONDS
    while True:
        # Before the question: it is about the moment when it was asked.
        moment = time.monotonic()
        if not database.ask(setup.contender.tables.unfinished):
            return moment
        if moment > deadline:
            raise Failure(f"all ran, but not all were finished {SILENT_SECONDS} s later")
        workers.check()
        time.sleep(LOOK_SECONDS)


class Counters:
    """What the server counts: read first before the workers start, and again after they have left."""

    # Sessions report their commits when they end, and otherwise at intervals.
    COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
    SETTLE_SECONDS = 1.1

    def __init__(self, database: Database) -> None:
        self.database = database
        if database.is_postgresql:
            self._settle()
            self.statements = database.statements
            self.commits = database.ask(self.COMMITS)
            self.wal = database.ask(self.WAL)

    def read(self) -> tuple[float | None, float | None]:
        """Commits and bytes of log since then; our own statements do not count."""
        if not self.database.is_postgresql:
            return None, None
        wal = float(self.database.ask(self.WAL) - self.wal)
        self._settle()
        own = self.database.statements - self.statements
        return float(self.database.ask(self.COMMITS) - self.commits - own), wal

    def _settle(self) -> None:
        time.sleep(self.SETTLE_SECONDS)
        self.database.ask("SELECT 1")

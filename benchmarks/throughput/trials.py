"""Short trials, whose rates count for nothing but how many jobs the drains take that count."""

from __future__ import annotations

import time

from benchmarks.throughput.databases import Database
from benchmarks.throughput.drains import LOOK_SECONDS, count_tasks, wait_for_commit, wait_for_lines
from benchmarks.throughput.setups import Setup

# A trial ends after so long; one that ends sooner is tried again with ten times the jobs.
SECONDS = 2.0
JOBS = 1_000
FEWEST_JOBS, MOST_JOBS = 8, 300_000


def try_out(setup: Setup, database: Database, kind: str = "note") -> float:
    """About how many jobs a second it runs."""
    jobs = JOBS
    while True:
        setup.act("fill", kind, jobs)
        lines, seconds = run_for_a_while(setup, database, jobs * count_tasks(kind))
        if seconds > SECONDS / 4 or jobs * 10 > MOST_JOBS:
            return lines / count_tasks(kind) / seconds
        jobs *= 10
        setup.lines.restart()


def run_for_a_while(
    setup: Setup, database: Database, lines: int, longest: float = SECONDS
) -> tuple[int, float]:
    """How many lines were written within a while after the first, and in how many seconds."""
    with setup.workers() as workers:
        wait_for_lines(setup, workers, 1)
        started = time.monotonic()
        while (amount := setup.lines.count()) < lines and time.monotonic() - started < longest:
            time.sleep(LOOK_SECONDS)
        if amount >= lines:
            wait_for_commit(setup, workers, database)
        return amount, time.monotonic() - started


def size(rate: float, seconds: float) -> int:
    """As many jobs as take so long at that rate, cut to two digits."""
    wanted = min(MOST_JOBS, max(FEWEST_JOBS, int(rate * seconds)))
    unit = 10 ** max(0, len(str(wanted)) - 2)
    return wanted // unit * unit

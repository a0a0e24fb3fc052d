"""From just before a job is created to its start, in milliseconds."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.lines import Lines
from benchmarks.throughput.drains import wait_for_lines
from benchmarks.throughput.setups import Setup, Workers

# Pauses between two jobs, irregular within these.
IDLE_PAUSES = (0.05, 0.15)


def feed_idle(setup: Setup, workers: Workers, jobs: int) -> dict[str, float]:
    return feed(setup, workers, jobs, *IDLE_PAUSES)


def feed_steadily(setup: Setup, workers: Workers, rate: float, seconds: float) -> dict[str, float]:
    """About so many jobs a second, if they can be created as quickly."""
    return feed(setup, workers, max(10, int(rate * seconds)), 0.5 / rate, 1.5 / rate)


def feed(setup: Setup, workers: Workers, jobs: int, shortest: float, longest: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        fed = setup.act("feed", "note", jobs, shortest, longest, folder=Path(folder))
        wait_for_lines(setup, workers, jobs)
        created = Lines(Path(folder)).read()
    started = setup.lines.read()
    waits = sorted((started[job_id] - created[job_id]) * 1000 for job_id in created)
    return describe(waits) | {"per_second": fed["jobs"] / fed["seconds"]}


def describe(waits: list[float]) -> dict[str, float]:
    return {f"p{percent}": find_rank(waits, percent) for percent in (50, 95, 99)}


def find_rank(values: list[float], percent: int) -> float:
    """The least of them that so many percent do not exceed."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]


def rest_and_watch(workers: Workers, warm_up: float, seconds: float) -> dict[str, Any]:
    """Memory and processor of workers that have nothing to do."""
    time.sleep(warm_up)
    workers.check()
    used, started = workers.measure_processor(), time.monotonic()
    time.sleep(seconds)
    percent = 100 * (workers.measure_processor() - used) / (time.monotonic() - started)
    pids = workers.get_pids()
    return {
        "processor_percent": percent,
        "memory_mib": workers.measure_memory() / 1024,
        "processes": len(pids),
    }

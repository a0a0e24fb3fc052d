"""Measure a clean-up of millions of old jobs beside a worker that runs, and what the worker feels of it.

    make bench ARGS="cleanup --url postgresql://…"     over a database filled by `console`; it is emptier then
    make bench ARGS="cleanup --finished 1000000"

Both ways to delete: the command `delete_old_jobs`, and the console's clean-up, which workers do in slices.
A worker serves a queue of its own, with a job every tenth of a second; beside it ten jobs of the largest
queue are claimed at the same pace. First without a clean-up, then with each kind. Who deletes stops after
--seconds, so that the rate can be known without waiting for the last row.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from benchmarks.console import LARGE, measure_elsewhere, set_up  # noqa: E402
from benchmarks.engine import database, describe_machine, manage, read_lines  # noqa: E402

CALM_SECONDS = 60
SECONDS = 300
PACE_SECONDS = 0.1
CLAIMED = 10
# Half of the month that is filled.
HOURS = 15 * 24
QUEUE = "probe"
KINDS = ("command", "workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="measure this filled database instead of a new one")
    for name, value in LARGE.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="at most so long for each kind")
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "cleanup.json")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.kind = options.kind or list(KINDS)
    if options.measure:
        print(json.dumps(measure(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DBQ_BENCH_FOLDER"] = folder
        if options.url:
            results = measure_elsewhere(__file__, options.url, options)
        else:
            with database("postgresql") as url:
                results = measure_elsewhere(__file__, url, options)
    options.output.write_text(json.dumps({"machine": describe_machine(), **results}, indent=1) + "\n")
    print(make_table(results))


# Within a process of its own


def measure(options: argparse.Namespace) -> dict:
    set_up(options)
    results = {}
    with worker():
        results["none"] = probe_until(time.monotonic() + CALM_SECONDS, lambda: True)
        for place, kind in enumerate(options.kind):
            # Each has its share, so that a quick one leaves something for the next.
            share = count_old() // (len(options.kind) - place)
            with DELETIONS[kind]() as deletion:
                started, before = time.monotonic(), count_finished()
                goes_on = partial(is_above, before - share, deletion)
                figures = probe_until(started + options.seconds, goes_on)
                seconds = time.monotonic() - started
            deleted = before - count_finished()
            results[kind] = figures | {"deleted": deleted, "seconds": seconds, "rate": deleted / seconds}
            # Its last rows, and the vacuum behind it, are not the next one's.
            time.sleep(5)
    return results


@contextmanager
def worker() -> Iterator[None]:
    process = subprocess.Popen([*manage(), "worker", QUEUE], stderr=subprocess.DEVNULL)
    try:
        time.sleep(3)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def count_finished() -> int:
    from dbq.counts import get_finished_totals

    return sum(get_finished_totals().values())


def is_above(goal: int, goes_on: Callable[[], bool]) -> bool:
    """Whether a deletion that goes on has not come to its goal yet."""
    return goes_on() and count_finished() > goal


def count_old() -> int:
    from dbq.models import Job

    return Job.objects.old(HOURS).count()


# The two kinds: contexts that delete, and say whether they still do


@contextmanager
def deleting_by_command() -> Iterator[Callable[[], bool]]:
    command = [*manage(), "delete_old_jobs", f"--hours={HOURS}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield lambda: process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def deleting_by_workers() -> Iterator[Callable[[], bool]]:
    from dbq import bulk
    from dbq.models import Operation
    from dbq.operations import Actor

    operation = bulk.start(Actor.from_system(), bulk.propose_cleanup(HOURS))
    running = Operation.objects.filter(pk=operation.pk, state=Operation.State.RUNNING)
    try:
        yield running.exists
    finally:
        if running.exists():
            bulk.stop(Actor.from_system(), operation)


DELETIONS: dict[str, Any] = {"command": deleting_by_command, "workers": deleting_by_workers}


# What a worker feels of it


def probe_until(end: float, goes_on: Callable[[], bool]) -> dict:
    """Create, pick up and claim at a steady pace; give how long it took."""
    known, claims, number = len(read_lines()), [], 0
    while time.monotonic() < end and (number % 10 or goes_on()):
        create_probe()
        claims.append(time_claim())
        number += 1
        # Out of step with every poll.
        time.sleep(PACE_SECONDS * (0.5 + number * 0.618 % 1))
    time.sleep(1)
    pickups = [float(line) for line in read_lines()[known:]]
    return {"pickup_ms": summarize(pickups), "claim_ms": summarize(claims), "probes": number}


def create_probe() -> None:
    from dbq.models import Job

    Job.objects.create(name="stamp", queue_name=QUEUE, workspace={"created": time.time()})


def time_claim() -> float:
    """Seconds that the claim of a few jobs takes, in the largest queue; they are not given back."""
    from dbq import transitions
    from dbq.counts import Tally
    from dbq.dialects import get_dialect
    from dbq.models import Worker

    dialect = get_dialect("default")
    holder = Worker.objects.order_by("pk").values_list("pk", flat=True)[0]
    now = dialect.read_clock()
    with dialect.write():
        started = time.perf_counter()
        claimed = transitions.claim(dialect, holder, "default", CLAIMED, now, Tally())
        seconds = time.perf_counter() - started
    assert len(claimed) == CLAIMED, "the queue is empty"
    return seconds


def summarize(seconds: list[float]) -> dict[str, float]:
    quantiles = statistics.quantiles(seconds, n=100)
    return {f"p{share}": round(quantiles[share - 1] * 1000, 2) for share in (50, 95, 99)}


# The table


def make_table(results: dict) -> str:
    titles = {"none": "no clean-up", "command": "delete_old_jobs", "workers": "by the worker, in slices"}
    lines = [
        "| | deleted | seconds | rows/s | pick-up p50 / p95 / p99, ms | claim of 10 p50 / p95 / p99, ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for kind, result in results.items():
        amounts = [f"{result[key]:,.0f}" if key in result else "–" for key in ("deleted", "seconds", "rate")]
        times = [" / ".join(f"{ms:g}" for ms in result[key].values()) for key in ("pickup_ms", "claim_ms")]
        lines.append(f"| {titles[kind]} | {' | '.join([*amounts, *times])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

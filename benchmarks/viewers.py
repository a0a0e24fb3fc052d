"""Measure what many viewers of the overview cost: 1 and 20 who leave it open, at the console's own pace.

    make bench ARGS="viewers --url postgresql://…"     over a database filled by `console`
    make bench ARGS="viewers --finished 1000000"

Each is a thread that asks for the three parts which refresh by themselves, every five seconds give or take
a tenth, as a browser does. All share one process, as the threads of a web server; each has its own session
and connection. What tells the viewers apart, their session and user, is counted apart.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from benchmarks.console import LARGE, log_in, measure_elsewhere, set_up  # noqa: E402
from benchmarks.engine import database, describe_machine, processor_seconds  # noqa: E402

VIEWERS = (1, 20)
SECONDS = 60
PACE_SECONDS = 5
JITTER = 0.1
PARTS = ("health", "throughput", "cleanup-card")
OWN_TABLES = ("django_session", "auth_user", "auth_permission", "auth_group")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="measure this filled database instead of a new one")
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--failed", type=int)
    parser.add_argument("--queues", type=int, default=LARGE["queues"])
    parser.add_argument("--seconds", type=int, default=SECONDS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "viewers.json")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return
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
    return {str(amount): watch(amount, options.seconds) for amount in VIEWERS}


@dataclass
class Costs:
    """What all viewers of one run have cost so far."""

    own: int = 0
    common: int = 0
    statement_seconds: float = 0.0
    requests: int = 0
    request_seconds: list[float] = field(default_factory=list)
    backends: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, execute: Callable, sql: str, parameters: Any, many: bool, context: dict) -> Any:
        """Stand around every statement of a viewer's connection."""
        started = time.perf_counter()
        try:
            return execute(sql, parameters, many, context)
        finally:
            self._count(sql, time.perf_counter() - started)

    def _count(self, sql: str, seconds: float) -> None:
        with self._lock:
            self.statement_seconds += seconds
            if any(table in sql for table in OWN_TABLES):
                self.own += 1
            else:
                self.common += 1

    def note_request(self, seconds: float) -> None:
        with self._lock:
            self.requests += 1
            self.request_seconds.append(seconds)

    def note_backend(self, pid: int, seconds: float) -> None:
        with self._lock:
            self.backends[pid] += seconds


def watch(viewers: int, seconds: int) -> dict[str, float]:
    """Let so many viewers watch for a while; give what they cost a second."""
    from dashboard import snapshots

    snapshots.forget()
    clients = [log_in() for _ in range(viewers)]
    costs = Costs()
    busy = time.process_time()
    end = time.monotonic() + seconds
    threads = [threading.Thread(target=view, args=(client, costs, end)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "requests_per_s": round(costs.requests / seconds, 2),
        "statements_per_s": round(costs.common / seconds, 2),
        "own_statements_per_s": round(costs.own / seconds, 2),
        "statement_ms_per_s": round(costs.statement_seconds * 1000 / seconds, 1),
        "database_cpu_percent": round(sum(costs.backends.values()) * 100 / seconds, 2),
        "web_cpu_percent": round((time.process_time() - busy) * 100 / seconds, 2),
        "request_ms": round(sorted(costs.request_seconds)[costs.requests // 2] * 1000, 1),
    }


def view(client: Any, costs: Costs, end: float) -> None:
    """One viewer: asks for every part at each tick of its page."""
    from django.db import connection
    from django.urls import reverse

    address = reverse("dbq:overview")
    dice = random.Random()
    time.sleep(dice.uniform(0, PACE_SECONDS))
    pid, before = find_backend()
    try:
        with connection.execute_wrapper(costs.note):
            while time.monotonic() < end:
                for part in PARTS:
                    started = time.perf_counter()
                    response = client.get(address, headers={"HX-Request": "true", "HX-Target": part})
                    assert response.status_code == 200, response.status_code
                    costs.note_request(time.perf_counter() - started)
                time.sleep(PACE_SECONDS * dice.uniform(1 - JITTER, 1 + JITTER))
        if pid:
            costs.note_backend(pid, processor_seconds(pid) - before)
    finally:
        connection.close()


def find_backend() -> tuple[int, float]:
    """The process that serves this thread's connection, and its processor time so far."""
    from django.db import connection

    if connection.vendor != "postgresql":
        return 0, 0.0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    return pid, processor_seconds(pid)


# The table


def make_table(results: dict) -> str:
    titles = {
        "requests_per_s": "requests a second",
        "statements_per_s": "statements a second, all but sessions and users",
        "own_statements_per_s": "statements a second for sessions and users",
        "statement_ms_per_s": "ms a second spent waiting for statements",
        "database_cpu_percent": "processor of the database, % of a core",
        "web_cpu_percent": "processor of the web process, % of a core",
        "request_ms": "a request, ms, median",
    }
    few, many = (results[str(amount)] for amount in VIEWERS)
    lines = [f"| | {VIEWERS[0]} viewer | {VIEWERS[1]} viewers | times |", "|---|--:|--:|--:|"]
    for name, title in titles.items():
        times = f"{many[name] / few[name]:.1f}" if few[name] else "–"
        lines.append(f"| {title} | {few[name]:g} | {many[name]:g} | {times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Measure the export of many jobs as CSV: rows a second, and whether the memory of its process stays flat.

    make bench ARGS="export --url postgresql://…"     over a database filled by `console`
    make bench ARGS="export --finished 1000000"

Each amount is exported in a process of its own, through the view, and thrown away line by line as a slow
network would take it. The memory is the process's peak, beside what it was after the first rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from benchmarks.console import log_in, measure_elsewhere, set_up  # noqa: E402
from benchmarks.engine import database, describe_machine  # noqa: E402

AMOUNTS = (1_000, 100_000, 1_000_000)
WARM_LINES = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="measure this filled database instead of a new one")
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--failed", type=int)
    parser.add_argument("--queues", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "export.json")
    parser.add_argument("--amount", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return
    if options.url:
        results = measure_all(options.url, options)
    else:
        with database("postgresql") as url:
            results = measure_all(url, options)
    options.output.write_text(json.dumps({"machine": describe_machine(), **results}, indent=1) + "\n")
    print(make_table(results))


def measure_all(url: str, options: argparse.Namespace) -> dict:
    results = {}
    for options.amount in AMOUNTS:
        results[str(options.amount)] = measure_elsewhere(__file__, url, options)
    return results


# Within a process of its own


def measure(options: argparse.Namespace) -> dict:
    set_up(options)
    from django.urls import reverse

    from dashboard import exports

    exports.ROWS_MAX = options.amount
    client = log_in()
    started = time.perf_counter()
    response = client.get(reverse("dbq:jobs-export"), {"format": "csv"})
    lines = size = warm = 0
    for line in response.streaming_content:
        lines += 1
        size += len(line)
        if lines == WARM_LINES:
            warm = find_peak()
    seconds = time.perf_counter() - started
    assert lines == options.amount + 1, f"{lines} lines of {options.amount}"
    return {
        "seconds": round(seconds, 1),
        "rows_per_s": round(options.amount / seconds),
        "megabytes": round(size / 1e6, 1),
        "warm_mib": warm,
        "peak_mib": find_peak(),
    }


def find_peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


# The table


def make_table(results: dict) -> str:
    lines = [
        "| rows | seconds | rows/s | MB | MiB after the first rows | MiB at most |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for amount, result in results.items():
        figures = (
            f"{result[key]:,}" for key in ("seconds", "rows_per_s", "megabytes", "warm_mib", "peak_mib")
        )
        lines.append(f"| {int(amount):,} | {' | '.join(figures)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

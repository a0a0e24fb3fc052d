"""Measure what grows with the history and what does not: 10 k to 10 M finished jobs, on PostgreSQL.

    make bench ARGS=growth                             all sizes, one after the other, on one server
    make bench ARGS="growth --size 10000"              one size; the others stay as they were measured
    make bench ARGS="growth --url postgresql://…"      a server to fill, or one that has the first size
    make bench ARGS="growth --draw"                    the documents anew, from the last figures

Writes docs/growth.md and docs/growth.svg from benchmarks/growth.json. Beside the finished jobs there are
always a million that wait, in 200 queues, so that nothing but the history grows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from benchmarks.cleanup import time_claim  # noqa: E402
from benchmarks.console import (  # noqa: E402
    LARGE,
    Request,
    ask,
    find_examples,
    log_in,
    measure_elsewhere,
    measure_one,
)
from benchmarks.drawing import Row, draw_rows, shorten  # noqa: E402
from benchmarks.engine import create, database, describe_machine, manage  # noqa: E402

FIGURES = ROOT / "benchmarks" / "growth.json"
TABLE = ROOT / "docs" / "growth.md"
CHART = ROOT / "docs" / "growth.svg"
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
FAILED_SHARE = LARGE["failed"] / LARGE["finished"]
RUNS = 20
CLAIMS = 100
CREATED = 500
DRAINED = 20_000
DRAINS = 3


@dataclass(frozen=True)
class Figure:
    """One line of the chart and of the table."""

    key: str
    name: str
    unit: str


MEASURED = (
    Figure("overview", "Overview", "ms on the server"),
    Figure("overview_anew", "Overview, for the first viewer", "ms on the server"),
    Figure("jobs", "Job list, first page", "ms on the server"),
    Figure("filtered", "Job list, failed ones of a queue", "ms on the server"),
    Figure("failures", "Failures, all in groups", "ms on the server"),
    Figure("job", "One job", "ms on the server"),
    Figure("claim", "Claim of 10 jobs", "ms, the statement"),
    Figure("create", "Create one job", "ms, with its commit"),
    Figure("drain", "No-op jobs, one worker", "jobs a second"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, action="append", help="finished jobs; may be given again")
    parser.add_argument("--url", help="use this PostgreSQL; what dbq has in it goes, but for the first size")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.size[0])))
        return
    if not options.draw:
        measure_sizes(options)
    write_documents(json.loads(FIGURES.read_text()))


def measure_sizes(options: argparse.Namespace) -> None:
    if options.url:
        measure_on(options.url, options)
    else:
        with database("postgresql") as url:
            measure_on(url, options)


def measure_on(url: str, options: argparse.Namespace) -> None:
    for size in options.size or SIZES:
        options.size = [size]
        with tempfile.TemporaryDirectory() as folder:
            os.environ["DBQ_BENCH_FOLDER"] = folder
            figures = measure_elsewhere(__file__, url, options)
        known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"sizes": {}}
        known["machine"] = describe_machine()
        known["sizes"][str(size)] = figures
        FIGURES.write_text(json.dumps(known, indent=1) + "\n")
        print(f"{size:,}: {figures}", file=sys.stderr)


# Within a process of its own


def measure(size: int) -> dict[str, float]:
    import django

    django.setup()
    fill(size)
    client = log_in()
    pages = {key: measure_one(client, key, make(), RUNS) for key, make in PAGES.items()}
    return {
        **{key: times["median_ms"] for key, times in pages.items()},
        "overview_anew": pages["overview"]["anew_ms"],
        "claim": round(statistics.median(time_claim() for _ in range(CLAIMS)) * 1000, 2),
        "create": round(statistics.median(time_creation() for _ in range(CREATED)) * 1000, 2),
        "drain": round(statistics.median(measure_drain() for _ in range(DRAINS))),
    }


def fill(size: int) -> None:
    """Leave so many finished jobs in the tables; nothing is done if they are there."""
    from benchmarks import filling
    from dbq.counts import get_finished_totals

    there = sum(get_finished_totals().values())
    # What earlier runs have drained is beside the point.
    if not size <= there <= size * 1.1:
        filling.empty()
        filling.fill(size, LARGE["waiting"], round(size * FAILED_SHARE), LARGE["queues"])


def open_page(name: str, *arguments: Any, query: str = "") -> Request:
    from django.urls import reverse

    return Request(reverse(f"dbq:{name}", args=arguments) + query)


PAGES: dict[str, Callable[[], Request]] = {
    "overview": lambda: open_page("overview"),
    "jobs": lambda: open_page("job-list"),
    "filtered": lambda: ask({"state": "FAILED", "queue": "mail"}),
    "failures": lambda: open_page("failure-list", query="?period=all"),
    "job": lambda: open_page("job-detail", find_examples()["FAILED"]),
}


def time_creation() -> float:
    from dbq.models import Job

    started = time.perf_counter()
    Job.objects.create(name="log", queue_name="never")
    return time.perf_counter() - started


def measure_drain() -> float:
    """Jobs per second from the first start to the last committed end, by the database's own record."""
    from django.db.models import Max, Min

    from dbq.models import Attempt, Job

    last = Attempt.objects.aggregate(last=Max("id"))["last"] or 0
    create("log", DRAINED, queue_name="drain")
    subprocess.run([*manage(), "worker", "drain", "--burst"], check=True, timeout=600)
    assert not Job.objects.waiting().filter(queue_name="drain").exists()
    done = Attempt.objects.filter(id__gt=last)
    assert done.count() == DRAINED, "a job ran twice or not at all"
    times = done.aggregate(first=Min("started"), last=Max("finished"))
    return DRAINED / (times["last"] - times["first"]).total_seconds()


# The documents


def write_documents(known: dict[str, Any]) -> None:
    sizes = sorted(map(int, known["sizes"]))
    columns = [name_size(size) for size in sizes]
    rows = [
        Row(figure.name, figure.unit, [known["sizes"][str(size)].get(figure.key) for size in sizes])
        for figure in MEASURED
    ]
    note = "finished jobs; each line on its own logarithmic scale, the dashes are its first value"
    CHART.write_text(draw_rows("What grows with the history", note, columns, rows))
    table = [f"| finished jobs | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for row in rows:
        values = ("–" if value is None else shorten(value) for value in row.values)
        table.append(f"| {row.name}, {row.note} | {' | '.join(values)} |")
    facts = {"table": "\n".join(table), "runs": RUNS, "drained": DRAINED, "drains": DRAINS}
    TABLE.write_text(TEXT.format(**facts, **known["machine"], **LARGE))


def name_size(size: int) -> str:
    return f"{size // 1_000_000} M" if size >= 1_000_000 else f"{size // 1_000} k"


TEXT = """\
# What grows with the history

PostgreSQL with durable settings, from ten thousand finished jobs to ten million, measured by one command:

    make bench ARGS=growth

![What grows with the history](growth.svg)

{table}

## How

- Beside the finished jobs of a month, one in a hundred of them failed, each size has {waiting:,} jobs
  that wait, in {queues} queues: a few large ones and many small ones. So nothing grows from one column to
  the next but the history. It has an attempt for every job, finished totals for every queue, and a month
  of roll-ups.
- Pages are asked for in the process, without a network: view, statements and templates; the median of
  {runs} in a row, as viewers beside each other ask. The first of them makes what all share for some
  seconds; what he waits for is a line of its own.
- The claim is the statement that takes ten jobs of the largest queue; the creation has its commit in it.
  The drain is the work of one worker with one thread on {drained:,} jobs that leave a line in a file; the
  median of {drains}.
- Python {python} with Django {django} on {cores} cores, beside the server. A line that is flat says more
  than a figure: other machines have other figures.

## Where a line rises

Nothing here reads the history as a whole: totals are kept beside the jobs, charts are drawn from
roll-ups, lists walk an index and stop, and a claim's index has no finished jobs in it. What may rise all
the same:

- **The overview, with the number of queues and of jobs that wait**, which are the same in all columns
  here. Jobs that wait are counted up to 50,000 a queue. Twenty who watch cost what one costs, as the
  counts are shared.
- **Failures, until there are 3,000 of them**: groups are made of the newest 3,000 failures. Choose a
  shorter period for fewer. Failures of one queue or name are searched for a bounded time, and the page
  says how far back it looked.
- **A list with a filter that no index knows**, such as failed jobs of one queue, reads until its page is
  full or its time is up, and then says how far it looked. With few jobs it reads all and ends; with many
  it stops. Add a time or a state to find old jobs.
- **A page after a long pause**: what is not in the database's memory comes from its disk. Ten million
  jobs with their attempts and indexes take about 7 GB; a database whose memory holds the last days
  answers from there.
- **Creating and draining**: each job writes one row and a few index entries, whose trees are one level
  higher with a hundred times as many rows. Where a file system or a checkpoint is the limit, it shows
  here first.

What keeps a history small is deleting it: `manage.py delete_old_jobs` every day, or the clean-up page.
"""


if __name__ == "__main__":
    main()

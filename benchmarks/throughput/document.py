"""The document and its chart, written from the records and from nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from environment import ROOT

from benchmarks.drawing import shorten
from benchmarks.peers.speed.catalogue import CONTENDERS
from benchmarks.throughput.bars import Row, draw

FOLDER = ROOT / "docs"
ABSENT = "–"
FAILED = "failed"


def write_documents(content: dict[str, Any]) -> None:
    results = Results(content["records"])
    (FOLDER / "throughput.md").write_text("\n".join(compose(content, results)) + "\n")
    (FOLDER / "throughput.svg").write_text(draw(CHART_TITLE, list(make_rows(results))))


class Results:
    """The records, by what they are about."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records

    def find(self, contender: str, database: str, measure: str) -> list[dict[str, Any]]:
        key = (contender, database, measure)
        return [
            each for each in self.records if (each["contender"], each["database"], each["measure"]) == key
        ]

    def read(self, contender: str, database: str, measure: str, figure: str) -> list[float]:
        """All repetitions of a figure that came to something."""
        found = (each["figures"].get(figure) for each in self.find(contender, database, measure))
        return [value for value in found if value is not None]

    def explain(self, contender: str, database: str, measure: str) -> str:
        """What stands where there is no figure."""
        is_error = any(each["error"] for each in self.find(contender, database, measure))
        return FAILED if is_error else ABSENT

    def get_contenders(self, database: str) -> list[str]:
        present = {each["contender"] for each in self.records if each["database"] == database}
        return [name for name in CONTENDERS if name in present]

    def get_failures(self) -> Iterator[str]:
        for each in self.records:
            if reason := each["error"] or each["missing"]:
                kind = "failed" if each["error"] else "not applicable"
                yield f"{each['contender']}, {each['measure']}, {each['database']}: {kind}: {reason}"


# The tables


@dataclass(frozen=True)
class Column:
    """One figure of a measure, and how it is written."""

    title: str
    measure: str
    figure: str = "rate"
    form: Callable[[float], str] = shorten
    # Beside the same figure of this measure, as a ratio.
    beside: str = ""

    def write(self, results: Results, contender: str, database: str) -> str:
        values = results.read(contender, database, self.measure, self.figure)
        if not values:
            return results.explain(contender, database, self.measure)
        middle = statistics.median(values)
        return (
            self.form(middle)
            + self._write_spread(values)
            + self._write_ratio(middle, results.read(contender, database, self.beside, self.figure))
        )

    def _write_spread(self, values: list[float]) -> str:
        return f" ({self.form(min(values))}–{self.form(max(values))})" if len(values) > 1 else ""

    def _write_ratio(self, middle: float, others: list[float]) -> str:
        return f" (×{middle / statistics.median(others):.2f})" if others else ""


RATES = (
    Column("enqueue one", "enqueue_one"),
    Column("enqueue 1,000 a call", "enqueue_bulk"),
    Column("drain, default", "drain_default"),
    Column("drain, tuned", "drain_tuned"),
)
TABLES: tuple[tuple[str, str, tuple[Column, ...]], ...] = (
    (
        "Throughput on PostgreSQL, jobs per second",
        "Enqueueing one is one commit each. A drain starts with all jobs waiting and counts from the first"
        " start to the last committed completion; one worker process unless two are named, but as many as"
        " cores in the defaults of chancy and django-q2.",
        (*RATES, Column("two processes, tuned", "drain_two")),
    ),
    (
        "What a job costs on PostgreSQL",
        "Commits and bytes of write-ahead log for each job of the tuned drain, enqueueing left out; memory of"
        " the worker's processes together (PSS).",
        (
            Column("commits a job", "drain_tuned", "commits"),
            Column("WAL bytes a job", "drain_tuned", "wal_bytes"),
            Column("MiB while draining, default", "drain_default", "memory_mib"),
            Column("MiB while draining, tuned", "drain_tuned", "memory_mib"),
            Column("MiB idle", "idle", "memory_mib"),
            Column("processes", "idle", "processes", lambda value: f"{value:.0f}"),
            Column("% of a core idle", "idle", "processor_percent"),
        ),
    ),
    (
        "Pick-up latency on PostgreSQL, milliseconds",
        "From just before a job is created to its start. Idle: a default worker, jobs at irregular pauses of"
        " 50 to 150 ms. Half load: a tuned worker, fed with half of what it drains, with 2,000 a second at"
        " most; the rate reached is that of the feeder.",
        (
            *(Column(f"idle p{percent}", "idle", f"p{percent}") for percent in (50, 95, 99)),
            *(Column(f"half load p{percent}", "half_load", f"p{percent}") for percent in (50, 95, 99)),
            Column("jobs a second fed", "half_load", "per_second"),
        ),
    ),
    (
        "Other jobs on PostgreSQL",
        "Three tasks: one job of three tasks in dbq, elsewhere a task that enqueues the next, twice; tuned."
        " Overhead: what comes to each job beside the time that it sleeps, when one runs at a time.",
        (
            Column("tasks a second, three-task jobs", "three_tasks"),
            Column("overhead of 1 ms jobs, ms", "rest_1", "overhead_ms"),
            Column("overhead of 20 ms jobs, ms", "rest_20", "overhead_ms"),
        ),
    ),
    (
        "The tuned drain beside other things on PostgreSQL, jobs per second",
        "In brackets beside the plain drain. Old statistics: the server takes the tables for empty, with"
        " 100,000 jobs waiting (10,000 where there is no call for many), and the rate is that of the first"
        " seconds. Held snapshot: a reader keeps a REPEATABLE READ transaction open all the while.",
        (
            Column("plain", "drain_tuned"),
            Column("1 M finished", "with_finished", beside="drain_tuned"),
            Column("10 M finished", "with_very_many_finished", beside="drain_tuned"),
            Column("1 M scheduled", "with_scheduled", beside="drain_tuned"),
            Column("old statistics", "with_old_statistics", beside="drain_tuned"),
            Column("held snapshot", "with_snapshot", beside="drain_tuned"),
        ),
    ),
)
OTHER_COLUMNS = (
    *RATES,
    Column("idle p50, ms", "idle", "p50"),
    Column("idle p99, ms", "idle", "p99"),
)
OTHERS = {"sqlite": "SQLite", "mariadb": "MariaDB"}


def compose(content: dict[str, Any], results: Results) -> Iterator[str]:
    yield from compose_head(content)
    for title, text, columns in TABLES:
        yield from compose_table(results, "postgresql", title, text, columns)
    for vendor, title in OTHERS.items():
        text = "As above, every commit on the disk."
        yield from compose_table(results, vendor, f"{title}, jobs per second", text, OTHER_COLUMNS)
    yield from compose_list("Notes and failures", compose_notes(content, results))
    yield from compose_list("Versions and settings", compose_settings(content))
    yield from compose_list("Machine and servers", compose_machine(content))


def compose_head(content: dict[str, Any]) -> Iterator[str]:
    yield "# Throughput beside other queues"
    yield ""
    yield "Written by `make bench`; every figure comes from its records."
    yield ""
    yield (
        "All run the same job, which appends one line to a file. Each run is proved by these lines: every job"
        " ran exactly once, or the run is an error and has no figure. Figures are medians, with the least and"
        " the greatest in brackets where a measurement was repeated; the repetitions went round all queues."
        " Ratios hold better than absolute figures, which belong to this machine."
    )
    yield ""
    yield "![Jobs per second of each queue on PostgreSQL](throughput.svg)"
    yield ""


def compose_table(
    results: Results, vendor: str, title: str, text: str, columns: tuple[Column, ...]
) -> Iterator[str]:
    contenders = results.get_contenders(vendor)
    if not contenders:
        return
    yield from (f"## {title}", "", text, "")
    yield "| | " + " | ".join(column.title for column in columns) + " |"
    yield "|---|" + "--:|" * len(columns)
    for contender in contenders:
        cells = (column.write(results, contender, vendor) for column in columns)
        yield f"| {contender} | " + " | ".join(cells) + " |"
    yield ""


def compose_list(title: str, items: Iterator[str]) -> Iterator[str]:
    yield from (f"## {title}", "")
    yield from (f"- {item}" for item in items)
    yield ""


def compose_notes(content: dict[str, Any], results: Results) -> Iterator[str]:
    for contender in content["contenders"].values():
        yield from (f"{remark}." for remark in contender["remarks"])
    yield from dict.fromkeys(f"{failure}." for failure in results.get_failures())


def compose_settings(content: dict[str, Any]) -> Iterator[str]:
    for name in CONTENDERS:
        if known := content["contenders"].get(name):
            libraries = ", ".join(f"{library} {version}" for library, version in known["libraries"].items())
            paces = "; ".join(f"*{pace}*: {options}" for pace, options in known["paces"].items())
            yield f"**{name} {known['version']}** (Python {known['python']}, {libraries}): {paces}."


def compose_machine(content: dict[str, Any]) -> Iterator[str]:
    for server in content["servers"].values():
        yield f"{server['version']}, durable: {', '.join(server['settings'])}."
    for run in content["runs"]:
        machine = run["machine"]
        command = f"peers {run['command']}".strip()
        yield (
            f"{run['day']}, {run['commit']}: {machine['cores']} cores, {machine['memory_gib']} GiB,"
            f' {machine["architecture"]}, {machine["system"]}; `make bench ARGS="{command}"`.'
        )


# The chart

CHART_TITLE = "No-op jobs per second, one worker on durable PostgreSQL"


def make_rows(results: Results) -> Iterator[Row]:
    """The quickest first."""
    rows = []
    for name in results.get_contenders("postgresql"):
        tuned = results.read(name, "postgresql", "drain_tuned", "rate")
        default = results.read(name, "postgresql", "drain_default", "rate")
        if tuned and default:
            rows.append(Row(name, statistics.median(tuned), statistics.median(default)))
    yield from sorted(rows, key=lambda row: row.tuned, reverse=True)

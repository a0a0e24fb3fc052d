"""All that is measured, each on a fresh database: a name, what it takes, and what comes of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.lines import RESTS
from benchmarks.peers.speed.contender import Contender
from benchmarks.throughput import conditions, latencies, trials
from benchmarks.throughput.databases import Database, Site
from benchmarks.throughput.drains import Drain, count_tasks, drain
from benchmarks.throughput.setups import Setup

Figures = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    drain_seconds: float = 3.0
    enqueue_seconds: float = 2.0
    bulk_jobs: int = 10_000
    idle_jobs: int = 150
    idle_seconds: float = 10.0
    load_seconds: float = 5.0
    many: int = 1_000_000
    very_many: int = 10_000_000
    waiting: int = 100_000
    # Where jobs can only be enqueued one by one.
    waiting_one_by_one: int = 10_000


QUICK = Scale(1.0, 0.5, 3_000, 30, 2.0, 1.5, 50_000, 100_000, 10_000, 1_000)
MOST_LOAD = 2_000
# What two processes are expected to do, which only sizes their drain.
TWO = 1.4
# Finished jobs that are copied are taken from so many real ones.
MODELS = 20
WARM_UP_SECONDS = 3.0


@dataclass
class Bench:
    """One contender on one server, and what is known of it so far."""

    contender: Contender
    site: Site
    scale: Scale
    stack: ExitStack
    _models: dict[str, str] = field(default_factory=dict)
    _rates: dict[tuple[str, str], float] = field(default_factory=dict)

    @contextmanager
    def open(self, pace: str) -> Iterator[tuple[Setup, Database]]:
        """A fresh database with the contender's tables."""
        with (
            self.site.borrow(self._get_model(pace)) as url,
            tempfile.TemporaryDirectory() as folder,
            Database(url) as database,
        ):
            setup = Setup(self.contender, pace, url, Path(folder))
            if not self.site.has_models:
                setup.install()
            yield setup, database

    def _get_model(self, pace: str) -> str | None:
        """A database with nothing but its tables, to be copied."""
        if self.site.has_models and pace not in self._models:
            url = self.stack.enter_context(self.site.borrow())
            with tempfile.TemporaryDirectory() as folder:
                Setup(self.contender, pace, url, Path(folder)).install()
            self._models[pace] = url
        return self._models.get(pace)

    def size(self, pace: str, kind: str = "note") -> int:
        """How many jobs of a kind to drain."""
        return trials.size(self.get_rate(pace, kind), self.scale.drain_seconds)

    def get_rate(self, pace: str, kind: str = "note") -> float:
        """About how many jobs of a kind a second."""
        if (pace, kind) not in self._rates:
            self._rates[pace, kind] = self._estimate(pace, kind)
        return self._rates[pace, kind]

    def _estimate(self, pace: str, kind: str) -> float:
        if pace == "two":
            return self.get_rate("tuned", kind) * TWO
        if kind in RESTS:
            return 1 / (RESTS[kind] + 1 / self.get_rate("tuned"))
        with self.open(pace) as (setup, database):
            return trials.try_out(setup, database, kind)

    def learn(self, pace: str, kind: str, rate: float) -> None:
        """A drain knows better than its trial."""
        self._rates[pace, kind] = rate


# Enqueueing


def enqueue_one(bench: Bench) -> Figures:
    with bench.open("tuned") as (setup, _):
        done = setup.act("enqueue", "note", bench.scale.enqueue_seconds)
    return {"rate": done["jobs"] / done["seconds"]}


def enqueue_bulk(bench: Bench) -> Figures:
    with bench.open("tuned") as (setup, _):
        done = setup.act("fill", "note", bench.scale.bulk_jobs if has_bulk(setup) else 1)
    if not done["in_bulk"]:
        raise Missing("no call for many jobs")
    return {"rate": done["jobs"] / done["seconds"]}


def has_bulk(setup: Setup) -> bool:
    return setup.act("fill", "note", 1)["in_bulk"]


class Missing(Exception):
    """A contender has no such thing, which is not an error."""


# Drains


def drain_default(bench: Bench) -> Figures:
    return drain_at(bench, "default")


def drain_tuned(bench: Bench) -> Figures:
    return drain_at(bench, "tuned")


def drain_two(bench: Bench) -> Figures:
    return drain_at(bench, "two")


def drain_at(bench: Bench, pace: str, kind: str = "note") -> Figures:
    jobs = bench.size(pace, kind)
    with bench.open(pace) as (setup, database):
        drained = drain(setup, database, jobs, kind)
    bench.learn(pace, kind, drained.rate)
    return describe(drained)


def describe(drained: Drain) -> Figures:
    figures = {
        "rate": drained.rate,
        "jobs": drained.jobs,
        "seconds": drained.seconds,
        "commits": drained.commits,
        "wal_bytes": drained.wal_bytes,
        # None was taken if it was over within a second.
        "memory_mib": drained.peak_kib / 1024 or None,
    }
    return {name: value for name, value in figures.items() if value is not None}


def three_tasks(bench: Bench) -> Figures:
    figures = drain_at(bench, "tuned", "first")
    return figures | {"rate": figures["rate"] * count_tasks("first")}


def rest_1(bench: Bench) -> Figures:
    return measure_overhead(bench, "rest-1")


def rest_20(bench: Bench) -> Figures:
    return measure_overhead(bench, "rest-20")


def measure_overhead(bench: Bench, kind: str) -> Figures:
    """What comes to each job beside its own time, in milliseconds, when one runs at a time."""
    figures = drain_at(bench, "single", kind)
    return figures | {"overhead_ms": (1 / figures["rate"] - RESTS[kind]) * 1000}


# Conditions, all beside the tuned drain


def with_finished(bench: Bench) -> Figures:
    return drain_beside_finished(bench, bench.scale.many)


def with_very_many_finished(bench: Bench) -> Figures:
    return drain_beside_finished(bench, bench.scale.very_many)


def drain_beside_finished(bench: Bench, amount: int) -> Figures:
    if not bench.contender.tables.finished:
        raise Missing("keeps no finished jobs")
    jobs = bench.size("tuned")
    # With its defaults, as some keep finished jobs only then.
    with bench.open("default") as (plain, database):
        drain(plain, database, MODELS)
        plain.lines.restart()
        conditions.add_finished(plain, database, amount)
        tuned = Setup(bench.contender, "tuned", plain.url, plain.folder)
        return describe(drain(tuned, database, jobs)) | {"beside": amount}


def with_scheduled(bench: Bench) -> Figures:
    if not bench.contender.tables.scheduled:
        raise Missing("scheduled jobs do not wait in its queue")
    jobs = bench.size("tuned")
    with bench.open("tuned") as (setup, database):
        setup.act("fill", "note", 1)
        conditions.add_scheduled(setup, database, bench.scale.many)
        # The one that was copied is the first of them.
        return describe(drain(setup, database, jobs, first=1)) | {"beside": bench.scale.many}


def with_old_statistics(bench: Bench) -> Figures:
    with bench.open("tuned") as (setup, database):
        conditions.freeze_statistics(setup, database)
        scale = bench.scale
        jobs = scale.waiting if has_bulk(setup) else scale.waiting_one_by_one
        setup.act("fill", "note", jobs - 1, 1)
        lines, seconds = trials.run_for_a_while(setup, database, jobs, bench.scale.drain_seconds)
        setup.lines.read()
    return {"rate": lines / seconds, "jobs": lines, "seconds": seconds, "beside": jobs}


def with_snapshot(bench: Bench) -> Figures:
    jobs = bench.size("tuned")
    with bench.open("tuned") as (setup, database), conditions.hold_snapshot(setup.url):
        return describe(drain(setup, database, jobs))


# Latencies, and the cost of waiting


def idle(bench: Bench) -> Figures:
    with bench.open("default") as (setup, _), setup.workers() as workers:
        rest = latencies.rest_and_watch(workers, WARM_UP_SECONDS, bench.scale.idle_seconds)
        return rest | latencies.feed_idle(setup, workers, bench.scale.idle_jobs)


def half_load(bench: Bench) -> Figures:
    rate = min(MOST_LOAD, bench.get_rate("tuned") / 2)
    with bench.open("tuned") as (setup, _), setup.workers() as workers:
        latencies.rest_and_watch(workers, WARM_UP_SECONDS, 0)
        return latencies.feed_steadily(setup, workers, rate, bench.scale.load_seconds)


# All of them


@dataclass(frozen=True)
class Measure:
    """What to run, on which databases; the costly ones are not repeated by default."""

    name: str
    run: Callable[[Bench], Figures]
    is_repeated: bool = False
    databases: tuple[str, ...] = ("postgresql",)
    contenders: tuple[str, ...] | None = None

    def fits(self, contender: Contender, vendor: str) -> bool:
        names = self.contenders or (contender.name,)
        return vendor in self.databases and vendor in contender.databases and contender.name in names


ALL = ("postgresql", "sqlite", "mariadb")
MEASURES = {
    measure.name: measure
    for measure in (
        Measure("enqueue_one", enqueue_one, True, ALL),
        Measure("enqueue_bulk", enqueue_bulk, True, ALL),
        Measure("drain_default", drain_default, True, ALL),
        Measure("drain_tuned", drain_tuned, True, ALL),
        Measure("drain_two", drain_two),
        Measure("three_tasks", three_tasks),
        Measure("rest_1", rest_1),
        Measure("rest_20", rest_20),
        Measure("idle", idle, False, ALL),
        Measure("half_load", half_load),
        Measure("with_finished", with_finished),
        Measure("with_scheduled", with_scheduled),
        Measure("with_old_statistics", with_old_statistics),
        Measure("with_snapshot", with_snapshot),
        Measure("with_very_many_finished", with_very_many_finished, contenders=("floor", "dbq")),
    )
}

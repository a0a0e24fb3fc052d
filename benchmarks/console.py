"""Measure every page of the console, and every filter alone and in pairs, over a large history.

    make bench ARGS="console"
    make bench ARGS="console --only postgresql --large"
    make bench ARGS="console --only postgresql --finished 3000000 --waiting 50000 --failed 20000 --queues 40"

The server's time of a request: view, statements and templates, in one process and without a network:
median of the runs, one after the other as many viewers ask / the same with all forgotten before each that
pages share for a few seconds, which is what the first of them pays. No page profits from another. Names the
slowest three, prints tables and writes them as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from benchmarks.engine import database, describe_machine, manage  # noqa: E402

RUNS = 20
LIMIT_MS = 50
SLOWEST = 12
NAMED = 3
LARGE = {"finished": 10_000_000, "waiting": 1_000_000, "failed": 100_000, "queues": 200}
# What a page says where it stops a search instead of going on.
REFUSALS = (
    "Only a part of the jobs was searched",
    "Nothing found so far",
    "Searched back to",
    "took too long",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=("sqlite", "postgresql", "mariadb"))
    parser.add_argument("--finished", type=int, default=1_000_000)
    parser.add_argument("--waiting", type=int, default=100_000)
    parser.add_argument("--failed", type=int, help="so many of the finished; without it one in twenty")
    parser.add_argument("--queues", type=int, default=5, help="a few large ones, and small ones")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--url", help="measure this filled database instead of a new one")
    parser.add_argument("--no-pairs", action="store_true", help="leave the pairs of filters out")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "console.json")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    large = ", ".join(f"--{name} {value}" for name, value in LARGE.items())
    parser.add_argument("--large", action="store_true", help=large)
    options = parser.parse_args()
    vars(options).update(LARGE if options.large else {})
    if options.measure:
        print(json.dumps(measure(options)))
        return
    results = {}
    if options.url:
        results[urlsplit(options.url).scheme] = measure_elsewhere(__file__, options.url, options)
    for name in () if options.url else options.only or ("sqlite", "postgresql"):
        with database(name) as url:
            results[name] = measure_elsewhere(__file__, url, options)
    names = ("finished", "waiting", "failed", "queues", "runs")
    sizes = {name: getattr(options, name) for name in names}
    options.output.write_text(
        json.dumps({"machine": describe_machine(), **sizes, **results}, indent=1) + "\n"
    )
    print(make_tables(results))


def measure_elsewhere(program: str, url: str, options: argparse.Namespace) -> dict:
    """Measure in a process of its own, as Django knows one configuration for life."""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([*manage(), "migrate", "-v0"], check=True, env=environment)
    command = [sys.executable, program, "--measure", *pass_on(options)]
    return json.loads(subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE).stdout)


def pass_on(options: argparse.Namespace) -> Iterator[str]:
    """The options as arguments, but for those that say which database and where the results go."""
    for name, value in vars(options).items():
        if name in ("only", "url", "output", "large", "measure") or value in (None, False):
            continue
        option = f"--{name.replace('_', '-')}"
        for part in value if isinstance(value, list) else [value]:
            yield option if part is True else f"{option}={part}"


# Within that process


def measure(options: argparse.Namespace) -> dict:
    set_up(options)
    client = log_in()
    return {
        "pages": dict(measure_all(client, list_pages(), options.runs)),
        "filters": dict(measure_all(client, list_filters(), options.runs)),
        "pairs": {} if options.no_pairs else dict(measure_all(client, list_pairs(), options.runs)),
    }


def set_up(options: argparse.Namespace) -> None:
    """Set Django up, and fill the database if it is empty."""
    import django

    django.setup()
    from dbq.models import Job

    if not Job.objects.exists():
        from benchmarks.filling import fill

        fill(options.finished, options.waiting, options.failed, options.queues)


def log_in() -> Any:
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.test import Client

    settings.ALLOWED_HOSTS = ["*"]
    user = User.objects.filter(username="bench").first() or User.objects.create_superuser("bench")
    client = Client()
    client.force_login(user)
    return client


@dataclass(frozen=True)
class Request:
    """What the browser sends; with data it is a form."""

    address: str
    part: str = ""
    data: dict[str, str] | None = None

    def send(self, client: Any) -> Any:
        headers = {"HX-Request": "true", "HX-Target": self.part} if self.part else {}
        if self.data is not None:
            return client.post(self.address, self.data, headers=headers)
        return client.get(self.address, headers=headers)


def list_pages() -> Iterator[tuple[str, Request]]:
    """Every page and every part that refreshes by itself, by the name it has in the table."""
    from django.urls import reverse

    from dashboard.queries.throughput import RANGES

    def page(name: str, *arguments: Any, query: str = "", **options: Any) -> Request:
        return Request(reverse(f"dbq:{name}", args=arguments) + query, **options)

    yield "overview", page("overview")
    yield "overview: health", page("overview", part="health")
    for key in RANGES:
        yield f"overview: throughput of {key}", page("overview", query=f"?range={key}", part="throughput")
    yield "overview: clean-up card", page("overview", part="cleanup-card")
    yield "jobs", page("job-list")
    yield "jobs: table", page("job-list", part="jobs")
    yield "jobs: count", page("job-list", query="?part=count")
    for state, job in find_examples().items():
        yield f"job, {state}", page("job-detail", job)
        yield f"job, {state}: refresh", page("job-detail", job, part="job")
    failed = find_examples()["FAILED"]
    for verb in ("retry", "requeue", "resume", "delete", "workspace"):
        yield f"job: {verb}", page(f"job-{verb}", failed)
    waiting = find_examples()["NEW"]
    for verb in ("cancel", "reschedule"):
        yield f"job: {verb}", page(f"job-{verb}", waiting)
    for period in ("1h", "24h", "7d", "all"):
        yield f"failures of {period}", page("failure-list", query=f"?period={period}")
    yield "failure group: retry", page("failure-act", f"{3:016x}", data={"verb": "retry"})
    yield "failures: groups", page("failure-list", part="failures")
    yield "failures of one queue", page("failure-list", query="?queue=rare&period=all")
    yield "queues", page("queue-list")
    yield "queues: table", page("queue-list", part="queues")
    yield "queue: pause", page("queue-pause", "mail")
    yield "workers", page("worker-list")
    yield "workers: table", page("worker-list", part="workers")
    yield "operations", page("operation-list")
    yield "clean-up", page("cleanup")
    old = "age=24&unit=hours&state=COMPLETED&state=FAILED&state=CANCELLED"
    yield "clean-up: preview of all", page("cleanup", query=f"?{old}")
    yield "clean-up: preview of one queue", page("cleanup", query=f"?{old}&queue=rare")
    retry = {"verb": "retry", "all": "1", "filters": "state=FAILED"}
    yield "bulk: retry all failed", page("jobs-act", data=retry)
    yield from list_admin_pages(failed)


def list_admin_pages(job: Any) -> Iterator[tuple[str, Request]]:
    from django.urls import reverse

    for model in ("job", "worker", "queue", "operation"):
        yield f"admin: {model} list", Request(reverse(f"admin:dbq_{model}_changelist"))
    yield "admin: job", Request(reverse("admin:dbq_job_change", args=[job]))
    for query in (
        "stands=failed",
        "stands=waiting",
        "queue=rare",
        "name=stamp",
        "age=week",
        "queue=rare&name=stamp",
    ):
        yield f"admin: job list, {query}", Request(f"{reverse('admin:dbq_job_changelist')}?{query}")


@cache
def find_examples() -> dict[str, Any]:
    """A job of each kind that has a page of its own look."""
    from dbq.models import Job
    from dbq.states import Lane

    lanes = {"COMPLETED": Lane.FINISHED, "FAILED": Lane.FINISHED, "NEW": Lane.CLAIMABLE}
    lanes["PROCESSING"] = Lane.RUNNING
    return {
        state: list(Job.objects.filter(lane=lane, state=state).order_by("-pk")[:101])[-1].pk
        for state, lane in lanes.items()
    }


def list_values() -> dict[str, str]:
    """Every filter of the job list with a value that few jobs have, which is the hardest to find."""
    from django.utils import timezone

    def ago(**length: float) -> str:
        return (timezone.now() - timedelta(**length)).isoformat()

    job = find_examples()["COMPLETED"]
    return {
        "state": "FAILED",
        "queue": "rare",
        "name": "stamp",
        "task": "log_again",
        "error": "file 17.csv",
        "error_type": "TimeoutError",
        "workspace": "customer.id = 42",
        "when": "scheduled",
        "worker": "bench-host:2",
        "priority_min": "2",
        "priority_max": "0",
        "created_after": ago(days=3),
        "created_before": ago(days=27),
        "finished_after": ago(days=3),
        "finished_before": ago(days=27),
        "unique_key": "no such key",
        "id": str(job),
        "fingerprint": f"{3:016x}",
    }


def list_filters() -> Iterator[tuple[str, Request]]:
    from dashboard.filters import SORTS

    for name, value in list_values().items():
        # The same names on every database: times and ids differ.
        is_alike = not name.endswith(("after", "before")) and name != "id"
        yield f"{name} = {value}" if is_alike else name, ask({name: value})
    for state in ("NEW", "READY", "PROCESSING", "COMPLETED", "CANCELLED"):
        yield f"state = {state}", ask({"state": state})
    for sort in SORTS:
        extra = {"queue": "default"} if sort == "priority" else {}
        yield f"sort = {sort}", ask({"sort": sort, **extra})


def list_pairs() -> Iterator[tuple[str, Request]]:
    values = list_values()
    for first, second in combinations(values, 2):
        yield f"{first} + {second}", ask({first: values[first], second: values[second]})


def ask(filters: dict[str, str]) -> Request:
    from django.urls import reverse
    from django.utils.http import urlencode

    return Request(f"{reverse('dbq:job-list')}?{urlencode(filters)}")


def measure_all(
    client: Any, requests: Iterator[tuple[str, Request]], runs: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, request in requests:
        yield name, measure_one(client, name, request, runs)


def measure_one(client: Any, name: str, request: Request, runs: int) -> dict[str, Any]:
    from dashboard import snapshots

    # Compiles the templates.
    text = time_request(client, name, request)[1]
    snapshots.forget()
    shared = [time_request(client, name, request)[0] for _ in range(runs)]
    anew = []
    for _ in range(max(2, runs // 4)):
        snapshots.forget()
        anew.append(time_request(client, name, request)[0])
    return {
        "median_ms": round(statistics.median(shared), 1),
        "anew_ms": round(statistics.median(anew), 1),
        "is_refused": any(sentence in text for sentence in REFUSALS),
    }


def time_request(client: Any, name: str, request: Request) -> tuple[float, str]:
    """Milliseconds that the whole answer takes, and the answer."""
    started = time.perf_counter()
    response = request.send(client)
    content = b"".join(response) if response.streaming else response.content
    milliseconds = (time.perf_counter() - started) * 1000
    if response.status_code != 200:
        raise SystemExit(f"{name}: {request.address} answered {response.status_code}.")
    return milliseconds, content.decode()


# The tables


def make_tables(results: dict) -> str:
    return "\n\n".join(
        "\n".join(lines)
        for lines in (
            *([name_slowest(name, result)] for name, result in results.items()),
            make_table("Page or part", {name: result["pages"] for name, result in results.items()}),
            make_table("Filter", {name: result["filters"] for name, result in results.items()}),
            *(summarize_pairs(name, result["pairs"]) for name, result in results.items() if result["pairs"]),
        )
    )


def name_slowest(name: str, result: dict[str, dict]) -> str:
    """The slowest of all that was asked for, and how many took too long."""
    asked = result["pages"] | result["filters"] | result["pairs"]
    slowest = sorted(asked, key=lambda row: -asked[row]["median_ms"])
    over = sum(figures["median_ms"] >= LIMIT_MS for figures in asked.values())
    told = ", ".join(f"{row} ({asked[row]['median_ms']:.0f} ms)" for row in slowest[:NAMED])
    return f"{name}: the slowest of {len(asked)} are {told}; {over} take {LIMIT_MS} ms or more."


def make_table(title: str, results: dict[str, dict]) -> list[str]:
    lines = [f"| {title} | " + " | ".join(f"{name}, ms" for name in results) + " |"]
    lines.append("|---|" + "--:|" * len(results))
    for row in next(iter(results.values())):
        shown = [show(result[row]) if row in result else "–" for result in results.values()]
        lines.append(f"| {row} | " + " | ".join(shown) + " |")
    return lines


def show(figures: dict[str, Any]) -> str:
    note = " (narrow it)" if figures["is_refused"] else ""
    return f"{figures['median_ms']:.0f} / {figures['anew_ms']:.0f}{note}"


def summarize_pairs(name: str, pairs: dict[str, dict]) -> list[str]:
    medians = [figures["median_ms"] for figures in pairs.values()]
    over = [pair for pair, figures in pairs.items() if figures["median_ms"] >= LIMIT_MS]
    refused = sum(figures["is_refused"] for figures in pairs.values())
    slowest = sorted(pairs, key=lambda pair: -pairs[pair]["median_ms"])[:SLOWEST]
    return [
        f"{name}, {len(pairs)} pairs of filters: median {statistics.median(medians):.0f} ms,"
        f" slowest {max(medians):.0f} ms, {LIMIT_MS} ms or more {len(over)}, asked to narrow {refused}.",
        "",
        *make_table("Slowest pairs", {name: {pair: pairs[pair] for pair in slowest}}),
    ]


if __name__ == "__main__":
    main()

"""Measure dbq alone on SQLite, PostgreSQL and MariaDB with durable settings.

    make bench ARGS=engine                     all three
    make bench ARGS="engine --only sqlite"

One default worker (one process, one thread). Each run is proved by the lines its jobs wrote: every
job once. Prints a table and writes it as JSON beside it, with the versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

JOBS = 20_000
SINGLE_JOBS = 500
LATENCY_JOBS = 200
IDLE_SECONDS = 20
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=("sqlite", "postgresql", "mariadb"))
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "engine.json")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.jobs)))
        return
    results = {}
    for name in options.only or ("sqlite", "postgresql", "mariadb"):
        with database(name) as url, tempfile.TemporaryDirectory() as folder:
            results[name] = measure_in_process(
                url, folder, __file__, "--measure", "yes", "--jobs", str(options.jobs)
            )
            print(f"{name}: {results[name]}", file=sys.stderr)
    options.output.write_text(json.dumps({"machine": describe_machine(), **results}, indent=2) + "\n")
    print(make_table(results))


@contextmanager
def database(name: str) -> Iterator[str]:
    """A fresh database with durable settings, as long as it is needed."""
    import servers

    with ExitStack() as stack:
        if name == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            yield f"sqlite:///{folder}/bench.sqlite3"
        else:
            start = servers.postgresql if name == "postgresql" else servers.mariadb
            yield stack.enter_context(start(durable=True))


def measure_in_process(url: str, folder: str, *command: str) -> dict:
    """Measure by a script in a process of its own, as Django knows one configuration for life."""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
        "DBQ_BENCH_FOLDER": folder,
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([*manage(), "migrate", "-v0"], check=True, env=environment)
    done = subprocess.run([sys.executable, *command], check=True, env=environment, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def manage() -> list[str]:
    return [sys.executable, str(ROOT / "manage.py")]


# Within that process


def measure(jobs: int) -> dict:
    import django

    django.setup()
    return {
        "enqueue_one": round(measure_single()),
        "enqueue_bulk": round(measure_bulk(jobs)),
        "drain": [round(rate) for rate in measure_drains(jobs)],
        "three_task_jobs": round(measure_drain("three", jobs // 10) * 3),
        "latency_ms": measure_latency(),
        "idle": measure_idle(),
    }


def measure_single() -> float:
    from dbq.models import Job

    started = time.perf_counter()
    for _ in range(SINGLE_JOBS):
        Job.objects.create(name="log", queue_name="never")
    return SINGLE_JOBS / (time.perf_counter() - started)


def measure_bulk(jobs: int) -> float:
    started = time.perf_counter()
    create("log", jobs, queue_name="never")
    return jobs / (time.perf_counter() - started)


def measure_drains(jobs: int) -> list[float]:
    return [measure_drain("log", jobs) for _ in range(REPEATS)]


def measure_drain(name: str, jobs: int) -> float:
    """Jobs per second from the first start to the last committed end, by the database's own record."""
    from django.db.models import Max, Min

    from dbq.models import Attempt, Job

    last = Attempt.objects.aggregate(last=Max("id"))["last"] or 0
    before = count_lines()
    create(name, jobs)
    subprocess.run([*manage(), "worker", "--burst"], check=True, timeout=600)
    tasks = 3 if name == "three" else 1
    assert count_lines() - before == jobs * tasks, "a job ran twice or not at all"
    assert not Job.objects.waiting().filter(queue_name="default").exists()
    times = Attempt.objects.filter(id__gt=last).aggregate(first=Min("started"), last=Max("finished"))
    return jobs / (times["last"] - times["first"]).total_seconds()


def measure_latency() -> dict:
    """Milliseconds from before the creation of a job to its task's first line; an idle worker."""
    from dbq.models import Job

    with worker():
        for number in range(LATENCY_JOBS):
            Job.objects.create(name="stamp", workspace={"created": time.time()})
            # Out of step with every poll.
            time.sleep(0.05 + 0.1 * (number * 0.618 % 1))
        wait_until(lambda: not Job.objects.waiting().filter(name="stamp").exists())
    milliseconds = sorted(float(line) * 1000 for line in read_lines() if line.startswith("0."))
    milliseconds = milliseconds[-LATENCY_JOBS:] if len(milliseconds) > LATENCY_JOBS else milliseconds
    quantiles = statistics.quantiles(milliseconds, n=100)
    return {"p50": round(quantiles[49], 1), "p95": round(quantiles[94], 1), "p99": round(quantiles[98], 1)}


def measure_idle() -> dict:
    """Memory and processor time of a worker that has nothing to do: supervisor and child together."""
    with worker() as process:
        time.sleep(3)
        pids = [process.pid, *children_of(process.pid)]
        before = sum(processor_seconds(pid) for pid in pids)
        time.sleep(IDLE_SECONDS)
        used = sum(processor_seconds(pid) for pid in pids) - before
        return {
            "rss_mib": [round(memory_kib(pid, "Rss") / 1024, 1) for pid in pids],
            "pss_mib": round(sum(memory_kib(pid, "Pss") for pid in pids) / 1024, 1),
            "cpu_percent": round(100 * used / IDLE_SECONDS, 2),
        }


@contextmanager
def worker() -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([*manage(), "worker"])
    try:
        time.sleep(2)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def create(name: str, jobs: int, **options: str) -> None:
    from dbq.models import Job

    for start in range(0, jobs, 1000):
        amount = min(1000, jobs - start)
        Job.objects.bulk_create([Job(name=name, **options) for _ in range(amount)])


def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("The jobs did not finish within a minute.")
        time.sleep(0.1)


def count_lines() -> int:
    return len(read_lines())


def read_lines() -> list[str]:
    folder = Path(os.environ["DBQ_BENCH_FOLDER"])
    return [line for path in folder.glob("*.log") for line in path.read_text().splitlines()]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int, kind: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


# The table


def describe_machine() -> dict:
    import django

    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "django": django.get_version(),
    }


def make_table(results: dict) -> str:
    head = "| | " + " | ".join(results) + " |"
    rows = [
        ("create one, jobs/s", lambda r: f"{r['enqueue_one']:,}"),
        ("bulk_create by 1,000, jobs/s", lambda r: f"{r['enqueue_bulk']:,}"),
        ("no-op jobs/s, median of runs", lambda r: f"{statistics.median(r['drain']):,.0f}"),
        ("tasks/s of three-task jobs", lambda r: f"{r['three_task_jobs']:,}"),
        ("pick-up p50 / p99, ms", lambda r: f"{r['latency_ms']['p50']} / {r['latency_ms']['p99']}"),
        ("idle worker, PSS MiB", lambda r: f"{r['idle']['pss_mib']}"),
        ("idle worker, % of a core", lambda r: f"{r['idle']['cpu_percent']}"),
    ]
    lines = [head, "|---|" + "--:|" * len(results)]
    for title, show in rows:
        lines.append(f"| {title} | " + " | ".join(show(result) for result in results.values()) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Show that busy workers hoard nothing: jobs of 1 ms and of 10 s in one queue, and four workers.

    make bench ARGS=fairness
    make bench ARGS="fairness --only postgresql --seed 3"

First all at once, in a random order: a worker that kept jobs to itself behind a long one would leave
others idle, and the whole would take longer than the work divided by four. Then one by one, while three of
the four have a long job: whoever waits although a worker is free waits for nothing. Everything is
read from the attempts that dbq writes, and each job must have run once.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from benchmarks.engine import database, describe_machine, manage, measure_in_process  # noqa: E402

WORKERS = 4
SHORT, SHORT_SECONDS = 4_000, 0.001
LONG, LONG_SECONDS = 8, 10.0
# Of the second part: long enough that a release after two seconds would show.
PROBE_SECONDS = 8.0
PROBE_PAUSE_SECONDS = 0.01
DATABASES = ("postgresql", "sqlite", "mariadb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=DATABASES)
    parser.add_argument("--seed", type=int, default=1, help="of the order of the jobs")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "fairness.json")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.seed)))
        return
    results = {}
    for name in options.only or DATABASES:
        with database(name) as url, tempfile.TemporaryDirectory() as folder:
            results[name] = measure_in_process(
                url, folder, __file__, "--measure", "--seed", str(options.seed)
            )
    options.output.write_text(json.dumps({"machine": describe_machine(), **results}, indent=2) + "\n")
    print(make_table(results))


# Within that process


def measure(seed: int) -> dict:
    import django

    django.setup()
    with workers():
        return {"mixed": measure_mixed(seed), "beside": measure_beside()}


@contextmanager
def workers() -> Iterator[None]:
    processes = [subprocess.Popen([*manage(), "worker"], stderr=subprocess.DEVNULL) for _ in range(WORKERS)]
    try:
        wait_until(lambda: count_workers() == WORKERS)
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)


def count_workers() -> int:
    from dbq.models import Worker

    return Worker.objects.count()


def measure_mixed(seed: int) -> dict:
    """All at once."""
    from dbq.models import Job

    lengths = [SHORT_SECONDS] * SHORT + [LONG_SECONDS] * LONG
    random.Random(seed).shuffle(lengths)
    Job.objects.bulk_create([Job(name="rest", workspace={"seconds": seconds}) for seconds in lengths])
    wait_until(has_ended)
    runs = read_runs()
    check_once(runs, len(lengths))
    first = min(run.started for run in runs)
    seconds = max(run.finished for run in runs) - first
    by_worker = Counter(run.worker_name for run in runs if run.finished - run.started > LONG_SECONDS / 2)
    return {
        "seconds": seconds,
        "ideal_seconds": sum(lengths) / WORKERS,
        "long_jobs_by_worker": sorted(by_worker.values(), reverse=True),
        "longest_idle_beside_waiting": find_longest_idle(runs, first),
    }


def find_longest_idle(runs: list[Run], first: float) -> float:
    """The longest that one of the workers had nothing to do while a job waited for its start, in seconds."""
    by_worker = defaultdict(list)
    for run in runs:
        by_worker[run.worker_name].append(run)
    assert len(by_worker) == WORKERS, f"only {len(by_worker)} of {WORKERS} workers took part"
    last_start = max(run.started for run in runs)
    gaps = []
    for own in by_worker.values():
        free = first
        for run in sorted(own, key=lambda run: run.started):
            gaps.append(run.started - free)
            free = run.finished
        gaps.append(last_start - free)
    return max(0.0, *gaps)


def measure_beside() -> dict:
    """One by one, while all workers but one have a long job."""
    from dbq.models import Job

    before = max(run.id for run in read_runs())
    long = [Job(name="rest", workspace={"seconds": LONG_SECONDS}) for _ in range(WORKERS - 1)]
    Job.objects.bulk_create(long)
    wait_until(lambda: Job.objects.filter(state="PROCESSING").count() == len(long))
    deadline = time.monotonic() + PROBE_SECONDS
    probes = []
    while time.monotonic() < deadline:
        probes.append(Job.objects.create(name="rest", workspace={"seconds": SHORT_SECONDS}))
        time.sleep(PROBE_PAUSE_SECONDS)
    wait_until(has_ended)
    runs = read_runs(before)
    check_once(runs, len(probes) + len(long))
    created = {job.pk: job.created.timestamp() for job in probes}
    waits = sorted(run.started - created[run.job_id] for run in runs if run.job_id in created)
    quantiles = statistics.quantiles(waits, n=100)
    return {"jobs": len(probes), "p50": quantiles[49], "p99": quantiles[98], "most": waits[-1]}


@dataclass
class Run:
    """An attempt, its times in seconds."""

    id: int
    job_id: object
    worker_name: str
    started: float
    finished: float


def read_runs(after: int = 0) -> list[Run]:
    from dbq.models import Attempt

    rows = Attempt.objects.filter(id__gt=after).values_list(
        "id", "job_id", "worker_name", "started", "finished"
    )
    return [Run(*row, started.timestamp(), finished.timestamp()) for *row, started, finished in rows]


def check_once(runs: list[Run], jobs: int) -> None:
    if len(runs) != jobs or len({run.job_id for run in runs}) != jobs:
        raise SystemExit(f"{len(runs)} runs of {jobs} jobs: each must have run once.")


def has_ended() -> bool:
    from dbq.models import Job
    from dbq.states import Lane

    return not Job.objects.filter(lane__in=(Lane.CLAIMABLE, Lane.WAITING, Lane.RUNNING)).exists()


def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("Nothing came of it within two minutes.")
        time.sleep(0.1)


# The table


def make_table(results: dict) -> str:
    rows = [
        (
            f"{SHORT:,} jobs of 1 ms and {LONG} of 10 s, {WORKERS} workers: seconds (ideal)",
            lambda r: f"{r['mixed']['seconds']:.1f} ({r['mixed']['ideal_seconds']:.1f})",
        ),
        ("long jobs by worker", lambda r: " ".join(map(str, r["mixed"]["long_jobs_by_worker"]))),
        (
            "longest idle of a worker while a job waited, s",
            lambda r: f"{r['mixed']['longest_idle_beside_waiting']:.2f}",
        ),
        (
            "wait of a short job beside 3 long ones, p50 / p99 / most, ms",
            lambda r: " / ".join(f"{r['beside'][name] * 1000:.1f}" for name in ("p50", "p99", "most")),
        ),
    ]
    lines = ["| | " + " | ".join(results) + " |", "|---|" + "--:|" * len(results)]
    for title, show in rows:
        lines.append(f"| {title} | " + " | ".join(show(result) for result in results.values()) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

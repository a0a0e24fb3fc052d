"""Who runs jobs, what each does now, and what nobody runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, F, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from dashboard.queries.live import LiveCounts, count_live
from dbq.conf import get_configuration
from dbq.dialects import get_dialect
from dbq.models import Job, Worker
from dbq.states import Lane

WORKERS_MAX = 300
# Jobs shown for one worker; it may hold more that it has claimed ahead.
JOBS_SHOWN = 5
QUEUES_SHOWN = 10
# Clocks that differ by less harm nobody who reads these screens.
CLOCKS_APART_SECONDS = 5


@dataclass
class WorkerReport:
    """One worker's row and what it does."""

    worker: Worker
    is_alive: bool
    is_late: bool = False
    is_outdated: bool = False
    jobs: list[Job] = field(default_factory=list)
    held: int = 0

    @property
    def busy(self) -> int:
        """How many of its threads run jobs; what it holds beyond them it has claimed ahead."""
        return min(self.held, self.worker.threads)

    @property
    def more(self) -> int:
        return self.held - len(self.jobs)

    @property
    def first_queue_names(self) -> list[str]:
        return self.worker.queue_names[:QUEUES_SHOWN]

    @property
    def more_queues(self) -> int:
        return max(0, len(self.worker.queue_names) - QUEUES_SHOWN)


def list_workers(alias: str = "default") -> list[WorkerReport]:
    """The workers, the living first; the dead stay for a while, longer if they hold jobs."""
    now = timezone.now()
    rows = list(Worker.objects.using(alias).order_by("name", "-id")[:WORKERS_MAX])
    held, jobs = _read_held(alias)
    known = {worker.pk for worker in rows}
    # Somebody deleted the row of a worker that held jobs.
    rows += [_make_missing(pk) for pk in sorted(held.keys() - known)]
    newest = _find_usual_version([worker for worker in rows if is_alive(worker, now)])
    reports = [
        WorkerReport(
            worker=worker,
            is_alive=is_alive(worker, now),
            is_late=_is_late(worker, now),
            is_outdated=bool(newest) and worker.version != newest,
            jobs=jobs[worker.pk],
            held=held.get(worker.pk, 0),
        )
        for worker in rows
    ]
    return sorted(reports, key=lambda report: (not report.is_alive, not report.held))


def is_alive(worker: Worker, now: datetime | None = None) -> bool:
    """Whether its lease holds, by this host's clock."""
    return worker.expires_at is not None and worker.expires_at > (now or timezone.now())


def _is_late(worker: Worker, now: datetime) -> bool:
    """Whether it has missed two signs of life and is not dead yet."""
    late = timedelta(seconds=2.5 * get_configuration().HEARTBEAT_SECONDS)
    return is_alive(worker, now) and now - worker.beat > late


def _make_missing(pk: int) -> Worker:
    epoch = datetime(1970, 1, 1, tzinfo=timezone.get_default_timezone())
    return Worker(pk=pk, name=f"worker {pk}", host="", pid=0, started=epoch, beat=epoch, version="")


def _find_usual_version(workers: list[Worker]) -> str:
    """The version that most living workers run, the higher of two equals; empty if all run one."""
    versions = Counter(worker.version for worker in workers)
    if len(versions) < 2:
        return ""
    return max(versions, key=lambda version: (versions[version], version))


def _read_held(alias: str) -> tuple[dict[int, int], dict[int, list[Job]]]:
    """How many jobs each worker holds, and a few of them."""
    running = Job.objects.using(alias).filter(lane=Lane.RUNNING)
    counted = running.order_by().values("worker_id").annotate(amount=Count("pk"))
    held = {row["worker_id"]: row["amount"] for row in counted}
    # Those with an older start are what it is at; the rest it has claimed ahead.
    started = F("started").asc(nulls_last=True)
    place = Window(RowNumber(), partition_by=[F("worker_id")], order_by=[started, F("id").asc()])
    columns = ("name", "queue_name", "state", "next_task", "attempt", "started", "progress", "worker_id")
    jobs: defaultdict[int, list[Job]] = defaultdict(list)
    for job in running.only(*columns).annotate(place=place).filter(place__lte=JOBS_SHOWN).order_by("place"):
        jobs[job.worker_id].append(job)
    return held, jobs


def list_serving(alias: str = "default") -> dict[str, list[Worker]]:
    """The living workers by the queues they serve."""
    alive = Worker.objects.using(alias).alive().order_by("name")[:WORKERS_MAX]
    serving: defaultdict[str, list[Worker]] = defaultdict(list)
    for worker in alive:
        if not worker.stop_requested:
            for queue_name in worker.queue_names:
                serving[queue_name].append(worker)
    return dict(serving)


def measure_clocks(alias: str = "default") -> float | None:
    """By how many seconds this host's clock is ahead of the database's; None if they agree well enough."""
    ahead = (timezone.now() - get_dialect(alias).read_clock()).total_seconds()
    return ahead if abs(ahead) > CLOCKS_APART_SECONDS else None


def find_unserved(alias: str = "default") -> dict[str, LiveCounts]:
    """The queues that have jobs to run and no living worker."""
    serving = list_serving(alias)
    return {
        name: counts
        for name, counts in sorted(count_live(alias).value.items())
        if name not in serving and (counts.due or counts.scheduled)
    }

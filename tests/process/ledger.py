"""What tasks did, written down by themselves where no fault of the queue reaches, and judged.

Each process appends to a file of its own, one line in one write, so that even a killed process leaves
whole lines.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from dbq.states import FINISHED, Outcome, State

if TYPE_CHECKING:
    from dbq.models import Job

FOLDER = "DBQ_TEST_LEDGER"


# Written in worker processes


def note(event: str, job: Job) -> None:
    """Append that the task of a job started or ended."""
    entry = (event, job.id, job.next_task, job.attempt, job.fence, os.getpid(), time.monotonic())
    os.write(_open(os.getpid()), ("\t".join(map(str, entry)) + "\n").encode())


_files: dict[int, int] = {}


def _open(pid: int) -> int:
    if pid not in _files:
        path = Path(os.environ[FOLDER]) / f"{pid}.ledger"
        _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return _files[pid]


# Read by tests


@dataclass
class Run:
    job_id: UUID
    task: str
    attempt: int
    fence: int
    pid: int
    started: float
    ended: float | None = None


class Ledger:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_size(self) -> int:
        """Grows with everything that tasks do."""
        return sum(path.stat().st_size for path in self.folder.glob("*.ledger"))

    def get_runs(self, job: Job | None = None) -> list[Run]:
        """All runs, or those of one job, in the order in which they started."""
        runs: dict[tuple, Run] = {}
        for line in self._read_lines():
            event, job_id, task, attempt, fence, pid, moment = line.split("\t")
            run = Run(UUID(job_id), task, int(attempt), int(fence), int(pid), float(moment))
            if event == "start":
                runs[run.job_id, task, run.fence] = run
            else:
                runs[run.job_id, task, run.fence].ended = run.started
        wanted = (run for run in runs.values() if job is None or run.job_id == job.id)
        return sorted(wanted, key=lambda run: run.started)

    def _read_lines(self) -> Iterable[str]:
        for path in self.folder.glob("*.ledger"):
            yield from path.read_text().splitlines()

    def has_started(self, job: Job, times: int = 1) -> bool:
        return len(self.get_runs(job)) >= times

    def judge(self, jobs: Iterable[Job], kills: Mapping[int, float] | None = None) -> Verdict:
        """Hold what ran against what the database says.

        Args:
            jobs: all that were created; they should be finished by now.
            kills: when which process was killed.
        """
        return _judge(self.get_runs(), list(jobs), kills or {})


@dataclass
class Verdict:
    runs: int = 0
    # Created, but some task of it never ran to its end.
    lost: list[UUID] = field(default_factory=list)
    # Not finished.
    stuck: list[UUID] = field(default_factory=list)
    # Recorded as completed by a run that never ended, or not recorded exactly once.
    phantom: list[tuple[UUID, str]] = field(default_factory=list)
    # Ended as FAILED or CANCELLED, and why.
    unsuccessful: list[str] = field(default_factory=list)
    # Runs that were followed by another run of the same task.
    duplicated: list[Run] = field(default_factory=list)
    # Those of them whose process was not killed.
    unexplained: list[Run] = field(default_factory=list)
    # Those of them that went on when the next had started.
    overlapping: list[Run] = field(default_factory=list)
    # Ran without having been created.
    unexpected: list[UUID] = field(default_factory=list)

    def assert_all_is_well(self) -> None:
        assert self.unsuccessful == []
        assert self.lost == []
        assert self.stuck == []
        assert self.phantom == []
        assert self.unexpected == []
        assert self.unexplained == []
        assert self.overlapping == []


def _judge(runs: list[Run], jobs: list[Job], kills: Mapping[int, float]) -> Verdict:
    verdict = Verdict(runs=len(runs))
    by_task: defaultdict[tuple[UUID, str], list[Run]] = defaultdict(list)
    for run in runs:
        by_task[run.job_id, run.task].append(run)
    records = _read_records(jobs)
    created = set()
    for job in jobs:
        created.add(job.id)
        tasks = [(job.id, task) for task in job.definition.tasks]
        if job.state not in FINISHED:
            verdict.stuck.append(job.id)
        if not all(any(run.ended for run in by_task[task]) for task in tasks):
            verdict.lost.append(job.id)
        if job.state in (State.FAILED, State.CANCELLED):
            verdict.unsuccessful.append(f"{job.id} {job.state}: {job.error_message}")
        if job.state == State.COMPLETED:
            verdict.phantom += [task for task in tasks if not _is_real(by_task[task], records[task])]
    verdict.unexpected = sorted({run.job_id for run in runs} - created)
    for attempts in by_task.values():
        _judge_repeats(attempts, kills, verdict)
    return verdict


def _read_records(jobs: list[Job]) -> defaultdict[tuple[UUID, str], list[int]]:
    """The fences under which the database has accepted the end of each task."""
    from dbq.models import Attempt

    records: defaultdict[tuple[UUID, str], list[int]] = defaultdict(list)
    completed = Attempt.objects.filter(outcome=Outcome.COMPLETED)
    for job_id, task, fence in completed.values_list("job_id", "task", "fence"):
        records[job_id, task].append(fence)
    return records


def _is_real(runs: list[Run], fences: list[int]) -> bool:
    ended = {run.fence for run in runs if run.ended}
    return len(fences) == 1 and fences[0] in ended


def _judge_repeats(runs: list[Run], kills: Mapping[int, float], verdict: Verdict) -> None:
    for run, following in pairwise(runs):
        verdict.duplicated.append(run)
        if run.pid not in kills:
            verdict.unexplained.append(run)
        over = run.ended or kills.get(run.pid, float("inf"))
        if following.started < over:
            verdict.overlapping.append(run)

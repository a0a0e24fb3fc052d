"""What jobs did, written down by themselves where no fault of a queue reaches.

Each process appends to a file of its own, one line in one write, so that even a killed process leaves
whole lines. Needs nothing but the standard library: it is imported in the environment of every peer.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = "BENCH_LEDGER"
# What a job takes.
SECONDS = 0.02


# Written by workers


def perform(job_id: str) -> None:
    """The one task of every peer: say that it starts, take a moment, say that it has ended."""
    note("start", job_id)
    time.sleep(SECONDS)
    note("end", job_id)


def note(event: str, job_id: str) -> None:
    line = f"{event}\t{job_id}\t{time.monotonic()}\n"
    os.write(_open(os.getpid()), line.encode())


_files: dict[int, int] = {}


def _open(pid: int) -> int:
    # By the process, as forked ones inherit what their parent has opened.
    if pid not in _files:
        path = Path(os.environ[FOLDER]) / f"{pid}.ledger"
        _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return _files[pid]


# Read by who measures


@dataclass
class Run:
    """One run of a job, which has no end if its process was killed."""

    job_id: str
    pid: int
    started: float
    ended: float | None = None


class Ledger:
    """All that the jobs of one peer have written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get_size(self) -> int:
        """Grows with everything that jobs do."""
        return sum(path.stat().st_size for path in self.folder.glob("*.ledger"))

    def get_pids(self) -> list[int]:
        """All processes that ever ran a job, the dead ones too."""
        return sorted(int(path.stem) for path in self.folder.glob("*.ledger"))

    def read_runs(self) -> list[Run]:
        """All runs in the order in which they started."""
        runs = [run for path in self.folder.glob("*.ledger") for run in _read_file(path)]
        return sorted(runs, key=lambda run: run.started)

    def count_starts(self) -> int:
        return self._count(b"start\t")

    def count_ends(self) -> int:
        return self._count(b"end\t")

    def _count(self, event: bytes) -> int:
        return sum(path.read_bytes().count(event) for path in self.folder.glob("*.ledger"))

    def have_ended(self, ids: Iterable[str]) -> bool:
        """Whether each of these jobs has run to its end at least once."""
        return {run.job_id for run in self.read_runs() if run.ended is not None}.issuperset(ids)

    def find_open_run(self, pid: int) -> Run | None:
        """What that process is busy with; ask while it is stopped."""
        path = self.folder / f"{pid}.ledger"
        if not path.exists():
            return None
        return next((run for run in _read_file(path) if run.ended is None), None)


def _read_file(path: Path) -> Iterator[Run]:
    open_runs: defaultdict[str, list[Run]] = defaultdict(list)
    runs = []
    for line in path.read_text().splitlines():
        event, job_id, moment = line.split("\t")
        if event == "start":
            runs.append(Run(job_id, int(path.stem), float(moment)))
            open_runs[job_id].append(runs[-1])
        else:
            open_runs[job_id].pop(0).ended = float(moment)
    yield from runs

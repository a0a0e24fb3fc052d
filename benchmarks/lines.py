"""The jobs of the comparison of speed: they leave a line each, which proves what ran how often, and when.

Each process appends to a file of its own, one line in one write. Needs nothing but the standard library:
it is imported in the environment of every peer.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

FOLDER = "BENCH_LINES"
# What a job does beside its line: rest for so many seconds.
RESTS = {"rest-1": 0.001, "rest-20": 0.02}
# A job of three tasks is three jobs where a peer knows no tasks within one, each made by the one before.
FOLLOWERS = {"first": "second", "second": "third"}
TASKS_OF_THREE = 3


# Written by workers


def perform(kind: str, job_id: str) -> str | None:
    """Run one job of a kind; give the kind of the job that is to follow it."""
    note(f"{kind}:{job_id}" if kind in ("second", "third") else job_id)
    if kind in RESTS:
        time.sleep(RESTS[kind])
    return FOLLOWERS.get(kind)


def note(job_id: str) -> None:
    os.write(_open(os.getpid()), f"{job_id}\t{time.monotonic()}\n".encode())


_files: dict[int, int] = {}


def _open(pid: int) -> int:
    # By the process, as forked ones inherit what their parent has opened.
    if pid not in _files:
        path = Path(os.environ[FOLDER]) / f"{pid}.lines"
        _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    return _files[pid]


# Read by who measures


class NotExactlyOnce(Exception):
    """A job did not run, or ran more than once."""


@dataclass
class Lines:
    """What all processes of one run have written."""

    folder: Path

    def __post_init__(self) -> None:
        self._amount = 0
        self._offsets: Counter[Path] = Counter()

    def count(self) -> int:
        """How many there are; reads only what is new since the last time."""
        for path in self.folder.glob("*.lines"):
            with path.open("rb") as file:
                file.seek(self._offsets[path])
                new = file.read()
            self._offsets[path] += len(new)
            self._amount += new.count(b"\n")
        return self._amount

    def read(self) -> dict[str, float]:
        """When each job started, if each has run once; the clock is the same in all processes."""
        pairs = [
            line.split("\t") for path in self.folder.glob("*.lines") for line in path.read_text().splitlines()
        ]
        moments = {job_id: float(moment) for job_id, moment in pairs}
        if len(moments) != len(pairs):
            raise NotExactlyOnce(f"{len(pairs) - len(moments):,} of {len(moments):,} jobs ran again.")
        return moments

    def restart(self) -> None:
        """Forget and remove all that was written."""
        for path in self.folder.glob("*.lines"):
            path.unlink()
        self.__post_init__()

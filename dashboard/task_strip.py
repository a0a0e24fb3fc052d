"""The tasks of a job in their order, and how each of them is doing: "2 of 3 · scan → parse → report"."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeGuard

from dbq.masking import mask_text
from dbq.models import Attempt, Job
from dbq.states import Outcome, State
from dbq.verbs import get_short_name


@dataclass(frozen=True)
class Task:
    """One task of the strip. Its standing: done, current, failed, stopped or ahead."""

    path: str
    name: str
    standing: str
    # Of its runs since the job was created or requeued.
    attempts: int = 0
    seconds: float | None = None

    @property
    def is_current(self) -> bool:
        return self.standing in ("current", "failed", "stopped")


@dataclass(frozen=True)
class Progress:
    done: float
    total: float
    note: str


@dataclass(frozen=True)
class Strip:
    tasks: tuple[Task, ...] = ()
    # Which one it is at, from 1; 0 when the definition does not have it.
    position: int = 0
    progress: Progress | None = None
    # Whether settings.JOBS still has the job's name.
    is_defined: bool = True


def make_strip(job: Job, attempts: Iterable[Attempt] = ()) -> Strip:
    """The strip of a job; with its attempts also how long each task took, and how often it ran."""
    definition = job.definition
    paths = list(definition.tasks) if definition else [job.next_task]
    position = paths.index(job.next_task) if job.next_task in paths else -1
    standing = _find_standing(job)
    runs = _count_runs(job, attempts)
    tasks = [
        Task(path, get_short_name(path), _place(index, position, standing, job.state), **runs.get(path, {}))
        for index, path in enumerate(paths)
    ]
    if position < 0:
        name = get_short_name(job.next_task)
        tasks.append(Task(job.next_task, name, standing, **runs.get(job.next_task, {})))
    shown = len(paths) if job.state == State.COMPLETED else position + 1
    # Where a failed job stopped is worth knowing; a completed one is simply done.
    progress = None if job.state == State.COMPLETED else read_progress(job.progress)
    return Strip(tuple(tasks), shown, progress, definition is not None)


def _find_standing(job: Job) -> str:
    names = {State.FAILED: "failed", State.CANCELLED: "stopped", State.COMPLETED: "done"}
    return names.get(State(job.state), "current")


def _place(index: int, position: int, standing: str, state: str) -> str:
    if state == State.COMPLETED or index < position:
        return "done"
    return standing if index == position else "ahead"


def _count_runs(job: Job, attempts: Iterable[Attempt]) -> dict[str, dict[str, Any]]:
    """How often each task ran since the job was created or requeued, and how long the last time."""
    runs: defaultdict[str, dict[str, Any]] = defaultdict(lambda: {"attempts": 0})
    for attempt in attempts:
        if attempt.fence <= job.round_fence or attempt.outcome == Outcome.EDITED:
            continue
        of_task = runs[attempt.task]
        of_task["attempts"] += 1
        if attempt.started and attempt.finished:
            # Of the last run: what the others took is in the history.
            of_task["seconds"] = (attempt.finished - attempt.started) / timedelta(seconds=1)
    return runs


def read_progress(value: Any) -> Progress | None:
    """What a task said about itself, if it is what `set_progress` writes."""
    if not isinstance(value, dict):
        return None
    done, total = value.get("done"), value.get("total")
    if not _is_number(done) or not _is_number(total) or total <= 0:
        return None
    note = value.get("note")
    return Progress(max(0, min(done, total)), total, mask_text(note) if isinstance(note, str) else "")


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)

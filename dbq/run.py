"""One run of one task, while it runs: what the task's thread and the engine share."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from dbq import workspaces
from dbq.exceptions import DbqError, JobCancelled, LeaseLost
from dbq.results import Result
from dbq.states import Outcome

if TYPE_CHECKING:
    from dbq.definitions import JobDefinition
    from dbq.models import Job


class TaskRun:
    """A claimed job and the task of it that comes next."""

    def __init__(self, job: Job, definition: JobDefinition, save: Callable[[Result], bool]) -> None:
        self.job = job
        self.definition = definition
        self.task = job.next_task
        self.fence = job.fence
        self.number = job.attempt
        self.claimed_at = time.monotonic()
        # Of the run itself; set by begin().
        self.started: float = 0
        self.started_at: datetime | None = None
        self.thread_id: int | None = None
        # The workspace as the database has it.
        self.accepted = workspaces.write(job.workspace)
        self.had_initial = job.initial_workspace is not None
        self.has_checkpoint = False
        self.is_lost = False
        self.has_timed_out = False
        self.guard = threading.Lock()
        self._save = save
        self._progress: str | None = None
        self._progress_is_news = False

    def begin(self, now: datetime) -> None:
        self.started = time.monotonic()
        self.started_at = now
        self.thread_id = threading.get_ident()
        self.job._run = self

    def end(self) -> None:
        """No more exceptions into this thread: the task is over."""
        with self.guard:
            self.thread_id = None
        self.job._run = None

    def is_overdue(self, now: float) -> bool:
        timeout = self.definition.timeout
        return timeout is not None and bool(self.started) and now - self.started > timeout

    # What a task may ask for

    def checkpoint(self) -> None:
        """Keep the workspace as it is; see Job.checkpoint."""
        if self.is_lost:
            raise LeaseLost(f"Job {self.job.id} belongs to somebody else by now.")
        result = self.make_result(Outcome.RUNNING)
        self.add_changes(result, workspaces.serialize(self.job.workspace))
        if not self._save(result):
            self.is_lost = True
            raise LeaseLost(f"Job {self.job.id} belongs to somebody else by now.")
        self.accept(result)
        if self.job.cancel_requested:
            raise JobCancelled(f"Job {self.job.id} is to end: an operator cancelled it.")

    def set_progress(self, done: float, total: float, note: str = "") -> None:
        if not isinstance(done, int | float) or not isinstance(total, int | float):
            raise DbqError(f"Progress is counted in numbers, not {done!r} of {total!r}.")
        progress = {"done": done, "total": total, "note": str(note)[:200]}
        workspaces.serialize(progress)
        self.job.progress = progress
        self._progress = json.dumps(progress)
        self._progress_is_news = True

    # What the engine takes from it

    def take_progress(self) -> str | None:
        """The progress, if it has changed since it was last taken."""
        if not self._progress_is_news:
            return None
        self._progress_is_news = False
        return self._progress

    def make_result(self, outcome: Outcome) -> Result:
        return Result(
            job=self.job,
            fence=self.fence,
            task=self.task,
            number=self.number,
            outcome=outcome,
            started=self.started_at,
            has_attempt=self.has_checkpoint,
        )

    def add_changes(self, result: Result, workspace: str) -> None:
        """Put a changed workspace into a result, and how it changed."""
        if workspace == self.accepted:
            return
        result.workspace = workspace
        result.changes = json.dumps(workspaces.make_patch(self.accepted, workspace))
        result.initial_workspace = self.get_initial()

    def add_discarded_changes(self, result: Result) -> None:
        """Put what a failed run had changed into its result, for people to look at."""
        try:
            workspace = workspaces.serialize(self.job.workspace)
        except Exception:
            return  # it may be the very reason of the failure
        if workspace != self.accepted:
            result.discarded_changes = json.dumps(workspaces.make_patch(self.accepted, workspace))

    def get_initial(self) -> str:
        if self.had_initial:
            return json.dumps(self.job.initial_workspace)
        return self.accepted

    def accept(self, result: Result) -> None:
        """Go on from what the database has taken over."""
        self.has_checkpoint = True
        if result.workspace is not None:
            if not self.had_initial:
                self.job.initial_workspace = json.loads(self.accepted)
                self.had_initial = True
            self.accepted = result.workspace

"""One run of one task, while it runs: what the task's thread and the engine share."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dbq import workspaces
from dbq.exceptions import DbqError, JobCancelled, LeaseLost
from dbq.results import Result
from dbq.states import Outcome

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

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
        # The workspace as the database has it, in its own words until they are to be compared.
        self._stored: str | None = job.get_text("workspace")
        self._accepted: str | None = None
        self.had_initial = job.get_text("initial_workspace") is not None
        self.has_checkpoint = False
        self.is_lost = False
        self.has_timed_out = False
        self.guard = threading.Lock()
        # Those of its thread when the task had ended; None once other code may have opened more.
        self.connections: Sequence[BaseDatabaseWrapper] | None = None
        self._save = save
        self._progress: str | None = None
        self._progress_is_news = False

    @property
    def accepted(self) -> str:
        """The workspace as the database has it, as `serialize` would write it."""
        if self._accepted is None:
            assert self._stored is not None  # noqa: S101
            self._accepted = workspaces.write(json.loads(self._stored))
        return self._accepted

    def begin(self, now: datetime) -> None:
        self.started = time.monotonic()
        self.started_at = now
        self.thread_id = threading.get_ident()
        self.job._run = self

    def end(self) -> None:
        """No more exceptions into this thread: the task is over."""
        if self.thread_id is not None:
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
        self.add_changes(result, self.serialize_workspace())
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

    def serialize_workspace(self) -> str | None:
        """The workspace as it is now, as text; None if it is as the database has it.

        Raises InvalidWorkspace.
        """
        if not self.job.has_read("workspace"):
            return None
        workspace = self.job.workspace
        if self._stored is not None and workspaces.is_written(workspace, self._stored):
            return None
        return workspaces.serialize(workspace)

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

    def add_changes(self, result: Result, workspace: str | None) -> None:
        """Put a changed workspace into a result, and how it changed."""
        if workspace is None or workspace == self.accepted:
            return
        result.workspace = workspace
        result.changes = json.dumps(workspaces.make_patch(self.accepted, workspace))
        result.initial_workspace = self.get_initial()

    def restore_workspace(self, workspace: str | None) -> None:
        """Have the job's workspace be as this text says, or as the database has it."""
        # Not by forgetting it: the task may have read its job anew, and no text of the claim is left then.
        self.job.workspace = json.loads(self.accepted if workspace is None else workspace)

    def add_discarded_changes(self, result: Result) -> None:
        """Put what a failed run had changed into its result, for people to look at."""
        try:
            workspace = self.serialize_workspace()
        except Exception:
            return  # it may be the very reason of the failure
        if workspace is not None and workspace != self.accepted:
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
            self._accepted, self._stored = result.workspace, None
            self.job.set_text("workspace", result.workspace)

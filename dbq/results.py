"""How one run of a task ended, on its way from the thread that ran it to the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dbq.failures import Failure
from dbq.states import Outcome, State

if TYPE_CHECKING:
    from dbq.models import Job


@dataclass(slots=True)
class Result:
    job: Job
    # The claim that the run was made under: what the write must match.
    fence: int
    task: str
    number: int
    outcome: Outcome
    started: datetime | None = None
    finished: datetime | None = None
    seconds: float = 0
    # The task to run next; None after the last.
    next_task: str | None = None
    # Seconds until a retry.
    delay: float = 0
    # JSON text of the workspace when it changed since the last accepted write, and how.
    workspace: str | None = None
    initial_workspace: str | None = None
    changes: str | None = None
    discarded_changes: str | None = None
    progress: str | None = None
    failure: Failure | None = None
    exception: BaseException | None = None
    # A checkpoint has already written this run's attempt.
    has_attempt: bool = False
    # The job goes back to its queue between two tasks, or ends there because an operator asked.
    yields: bool = False
    cancels: bool = False
    # Given back before any task of it ran under this claim.
    unstarted: bool = False
    worker_name: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether this is not the end of its job."""
        if self.outcome == Outcome.COMPLETED:
            return self.next_task is not None
        return self.outcome in (Outcome.RUNNING, Outcome.RETRIED, Outcome.RELEASED)

    @property
    def end(self) -> State | None:
        """The final state that this puts its job in, if it does."""
        if self.cancels:
            return State.CANCELLED
        if self.outcome == Outcome.COMPLETED:
            return State.COMPLETED if self.next_task is None else None
        return _ENDS.get(self.outcome)


_ENDS = {Outcome.FAILED: State.FAILED, Outcome.CANCELLED: State.CANCELLED}

"""What must be true after each act, in plain Python: no database, no statement, no clock.

Time is counted in hours, and only `let_time_pass` moves it. Every method does to the model what the
transition of the same name must do to the rows, and returns what that must answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from dbq.states import FINISHED, REQUEUEABLE, RETRYABLE, WAITING, Lane, Outcome, State

MAX_CRASHES = 3
HOURS_OF_A_STEP = 2
EDITABLE = (*WAITING, *RETRYABLE)


@dataclass(eq=False)
class Run:
    """One run of a task, as the history has it."""

    task: str
    before: dict


@dataclass(eq=False)
class Edit:
    """What an operator put into the workspace between two runs."""

    value: int


@dataclass(eq=False)
class JobModel:
    """One job, as its row must be."""

    id: UUID
    tasks: tuple[str, ...]
    queue_name: str
    priority: int
    workspace: dict
    unique_key: str | None = None
    # Hours until it is due; of no meaning outside of Lane.WAITING.
    due_in: int = 0
    lane: Lane = Lane.CLAIMABLE
    state: State = State.NEW
    next_task: str = ""
    attempt: int = 0
    crash_count: int = 0
    fence: int = 0
    # The Worker's id while a worker holds it.
    worker: int | None = None
    cancel_requested: bool = False
    has_started: bool = False
    # Whether the claim it is under was its first, and none of its tasks has ended under it.
    is_first_claim: bool = False
    age: int = 0
    is_deleted: bool = False
    # Of this round, in order.
    history: list[Run | Edit] = field(default_factory=list)
    original: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.next_task = self.tasks[0]
        self.original = self.workspace
        self.lane = Lane.WAITING if self.due_in > 0 else Lane.CLAIMABLE

    @property
    def row(self) -> dict[str, Any]:
        """The columns that the model knows."""
        return {
            "id": self.id,
            "queue_name": self.queue_name,
            "priority": self.priority,
            "unique_key": self.unique_key,
            "state": str(self.state),
            "lane": int(self.lane),
            "next_task": self.next_task,
            "attempt": self.attempt,
            "crash_count": self.crash_count,
            "fence": self.fence,
            "worker_id": self.worker,
            "cancel_requested": self.cancel_requested,
            "workspace": self.workspace,
        }

    @property
    def has_run(self) -> bool:
        return any(isinstance(entry, Run) for entry in self.history)

    def find_next(self) -> str | None:
        """The task after the next one."""
        position = self.tasks.index(self.next_task) + 1
        return self.tasks[position] if position < len(self.tasks) else None

    # By a worker

    def be_claimed(self, worker: int) -> None:
        self.state, self.lane, self.worker = State.PROCESSING, Lane.RUNNING, worker
        self.attempt += 1
        self.fence += 1
        self.is_first_claim = not self.has_started
        self.has_started = True

    def give_back(self, state: State, lane: Lane = Lane.CLAIMABLE) -> None:
        self.state, self.lane, self.worker = state, lane, None
        self.fence += 1

    def end(self, state: State) -> None:
        self.give_back(state, Lane.FINISHED)
        self.unique_key = None

    def advance(self, task: str) -> None:
        self.next_task, self.attempt, self.crash_count = task, 1, 0
        self.is_first_claim = False

    def put_off(self, hours: int) -> None:
        self.lane = Lane.WAITING if hours > 0 else Lane.CLAIMABLE
        self.due_in = hours

    # By an operator; each returns whether it moves

    def cancel(self) -> bool:
        if self.state in WAITING:
            self.end(State.CANCELLED)
            return True
        if self.state != State.PROCESSING or self.cancel_requested:
            return False
        self.cancel_requested = True
        return True

    def retry(self) -> bool:
        if self.state not in RETRYABLE:
            return False
        self._set_going(State.READY)
        return True

    def requeue(self) -> bool:
        if self.state not in REQUEUEABLE:
            return False
        self._set_going(State.NEW)
        self.next_task, self.workspace, self.has_started = self.tasks[0], self.original, False
        self.history = []
        return True

    def may_resume_from(self, task: str) -> bool:
        """Whether there is a workspace from before that task; only asked of finished jobs."""
        return task == self.next_task or self._find_first_of_last_runs(task) is not None

    def resume_from(self, task: str) -> bool:
        if self.state not in FINISHED:
            return False
        first = self._find_first_of_last_runs(task)
        if first is not None:
            self.workspace = self._rebuild(first)
        self._set_going(State.READY)
        self.next_task = task
        return True

    def _find_first_of_last_runs(self, task: str) -> int | None:
        first = None
        for position in range(len(self.history) - 1, -1, -1):
            entry = self.history[position]
            if isinstance(entry, Edit):
                continue
            if entry.task == task:
                first = position
            elif first is not None:
                break
        return first

    def _rebuild(self, first: int) -> dict:
        """The workspace before that run, with what operators have put into it since."""
        run = self.history[first]
        assert isinstance(run, Run)
        edits = [entry.value for entry in self.history[first:] if isinstance(entry, Edit)]
        return {**run.before, "edit": edits[-1]} if edits else run.before

    def _set_going(self, state: State) -> None:
        self.give_back(state)
        self.attempt = self.crash_count = 0
        self.cancel_requested = False

    def edit_workspace(self, value: int) -> bool:
        if self.state not in EDITABLE:
            return False
        if self.workspace.get("edit") != value:
            self.history.append(Edit(value))
        self.workspace = {**self.workspace, "edit": value}
        self.fence += 1
        return True

    def reschedule(
        self, *, priority: int | None = None, queue_name: str | None = None, hours: int | None = None
    ) -> bool:
        if self.state not in WAITING:
            return False
        if priority is not None:
            self.priority = priority
        if queue_name is not None:
            self.queue_name = queue_name
        if hours is not None:
            self.put_off(hours)
        return True

    def delete(self) -> bool:
        if self.state not in FINISHED or self.is_deleted:
            return False
        self.is_deleted = True
        return True


@dataclass
class QueueModel:
    """One queue: whether an operator paused it, and for how many hours more; None for ever."""

    is_marked: bool = False
    hours: int | None = None

    @property
    def is_paused(self) -> bool:
        return self.is_marked and (self.hours is None or self.hours > 0)

    def pause(self, hours: int | None) -> bool:
        if self.is_paused:
            return False
        self.is_marked, self.hours = True, hours
        return True

    def resume(self) -> bool:
        was_marked, self.is_marked = self.is_marked, False
        return was_marked


class Model:
    """All jobs and queues, in the order they were made."""

    def __init__(self, queue_names: Iterable[str]) -> None:
        self.jobs: list[JobModel] = []
        self.queues = {name: QueueModel() for name in queue_names}
        # (verb, state, job id) of each record that operators have left.
        self.records: list[tuple[str, str, UUID | None]] = []

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [job.row for job in self.present()]

    def present(self, *states: State) -> list[JobModel]:
        """The jobs that exist, of these states if any are given."""
        return [job for job in self.jobs if not job.is_deleted and (not states or job.state in states)]

    def count_finished(self) -> dict[tuple[str, str], int]:
        return dict(Counter((job.queue_name, str(job.state)) for job in self.present(*FINISHED)))

    def find_holder(self, key: str | None) -> JobModel | None:
        return next((job for job in self.present() if key and job.unique_key == key), None)

    def claim(self, worker: int, queue_name: str, limit: int) -> list[JobModel]:
        if self.queues[queue_name].is_paused:
            return []
        waiting = [
            job for job in self.present() if job.lane == Lane.CLAIMABLE and job.queue_name == queue_name
        ]
        claimed = sorted(waiting, key=lambda job: (-job.priority, self.jobs.index(job)))[:limit]
        for job in claimed:
            job.be_claimed(worker)
        return claimed

    def promote(self) -> int:
        due = [job for job in self.present() if job.lane == Lane.WAITING and job.due_in <= 0]
        for job in due:
            job.lane = Lane.CLAIMABLE
        return len(due)

    def let_time_pass(self) -> None:
        for job in self.jobs:
            job.due_in -= HOURS_OF_A_STEP
            job.age += HOURS_OF_A_STEP
        for queue in self.queues.values():
            if queue.hours is not None:
                queue.hours -= HOURS_OF_A_STEP

    def delete_old(self, hours: int) -> int:
        return sum(job.delete() for job in self.present() if job.age > hours)

    # Rescue

    def find_held(self, worker: int) -> list[JobModel]:
        return [job for job in self.present(State.PROCESSING) if job.worker == worker]

    def rescue(self, worker: int, threads: int, marked: set[UUID], running: set[UUID] | None = None) -> int:
        """Free the jobs of a dead worker.

        Args:
            marked: the jobs whose current run the history knows of.
            running: those that ran when it died, if somebody knows.
        """
        held = self.find_held(worker)
        for job in held:
            has_run = job.id in (marked if running is None else running)
            has_run |= running is None and len(held) <= threads
            if has_run:
                self._lose(job, job.id in marked)
            elif running is not None or job.attempt > 1:
                self._give_back_unstarted(job)
            else:
                self._free_suspected(job)
        return len(held)

    def _lose(self, job: JobModel, is_marked: bool) -> None:
        if not is_marked:
            job.history.append(Run(job.next_task, job.workspace))
        job.crash_count += 1
        if job.cancel_requested:
            job.end(State.CANCELLED)
        elif job.crash_count >= MAX_CRASHES:
            job.end(State.FAILED)
        else:
            job.give_back(State.READY)

    def _give_back_unstarted(self, job: JobModel) -> None:
        job.give_back(State.READY if job.has_run else State.NEW)
        job.has_started = job.has_run
        job.attempt -= 1
        if job.cancel_requested:
            job.cancel()

    def _free_suspected(self, job: JobModel) -> None:
        job.history.append(Run(job.next_task, job.workspace))
        job.give_back(State.READY)
        if job.cancel_requested:
            job.cancel()


# How runs end: what becomes of a job whose worker still held it


def apply_end(job: JobModel, outcome: Outcome, *, next_task: str | None, hours: int, how: str) -> None:
    """Do to the model what an accepted result must do to the row.

    Args:
        outcome: of the run.
        next_task: what comes after a completed run.
        hours: of back-off, or of a release with a delay.
        how: "goes on", "yields", "cancels", or "unstarted" for a job given back before it ran.
    """
    if outcome == Outcome.COMPLETED:
        _apply_completion(job, next_task, how)
    elif outcome == Outcome.FAILED:
        job.end(State.FAILED)
    elif outcome == Outcome.CANCELLED:
        job.end(State.CANCELLED)
    elif outcome == Outcome.RETRIED:
        job.give_back(State.READY)
        job.put_off(hours)
    elif outcome == Outcome.RELEASED:
        _apply_release(job, hours, how)


def _apply_completion(job: JobModel, next_task: str | None, how: str) -> None:
    if next_task is None:
        job.end(State.COMPLETED)
    elif how == "cancels":
        job.end(State.CANCELLED)
        job.next_task, job.attempt = next_task, 0
    else:
        job.advance(next_task)
        if how == "yields":
            job.give_back(State.READY)
            job.attempt = 0


def _apply_release(job: JobModel, hours: int, how: str) -> None:
    is_new = how == "unstarted" and job.is_first_claim
    job.give_back(State.NEW if is_new else State.READY)
    job.has_started = not is_new
    job.attempt -= 1
    job.put_off(hours)

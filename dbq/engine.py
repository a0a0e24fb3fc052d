"""The engine of one worker process: everything it says to the database, from one thread.

It claims jobs in batches, hands their tasks to threads, and writes how they ended in batches; one
transaction carries the results of the last batch and the claim of the next. Threads only take runs
and put results. `turn()` is one step of it, so that tests can walk it without a process.
"""

from __future__ import annotations

import ctypes
import inspect
import logging
import math
import os
import random
import resource
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import DataError, IntegrityError, InterfaceError, InternalError, OperationalError, router

from dbq import __version__, announcements, bulk, counts, definitions, failures, leases, signals, transitions
from dbq.board import Board
from dbq.clocks import DatabaseClock
from dbq.conf import get_configuration
from dbq.counts import Tally
from dbq.dialects import get_dialect
from dbq.dialects.base import Question, read_uuid
from dbq.exceptions import TaskTimeout
from dbq.logs import about
from dbq.models.job import Job
from dbq.models.queue import find_pause, find_paused
from dbq.models.worker import Worker
from dbq.patience import get_patience
from dbq.querysets import JobQuerySet
from dbq.results import Result
from dbq.run import TaskRun
from dbq.states import Lane, Outcome
from dbq.turns import Turns

logger = logging.getLogger("dbq")

# Claimed but unstarted jobs are meant to be gone within this time.
PREFETCH_SECONDS = 0.1
# Unstarted jobs go back when every thread is held up by a task for so long, or when they are so old
# themselves: the tasks before them take longer than they promised.
HELD_UP_SECONDS = 0.25
UNSTARTED_MAX_SECONDS = 2.0
# A job whose next task these settings do not have waits this long for a worker that knows it.
UNKNOWN_TASK_DELAY_SECONDS = 30.0
RESULTS_PER_FLUSH = 500
FOLD_SECONDS = 5.0
ROLLUP_DAYS = 35
ROLLUP_SECONDS = 600
# Between two looks whether operators want something done to many jobs.
BULK_SECONDS = 0.5
# For how many times as long as it took a duty rests that has more to do: a job that comes waits for its end.
PAUSE_WHILE_IDLE, PAUSE_WHILE_BUSY = 2, 9
# What is due so soon asks along with what is due now.
ALONG_SECONDS = 0.5
UPKEEP_SECONDS = 0.03
STATISTICS_SECONDS = 300
# How a database says that it is away; InternalError is also how PostgreSQL says that it is read-only.
OUTAGES = (OperationalError, InterfaceError, InternalError, OSError)


class Duty:
    """Something the engine does every so often, with jitter so that workers do not march in step."""

    def __init__(
        self,
        act: Any,
        seconds: float,
        first: float = 0,
        *,
        is_vital: bool = False,
        questions: tuple[Question, ...] = (),
    ) -> None:
        self.act = act
        # After an outage nothing else comes before it.
        self.is_vital = is_vital
        # An idle worker has nothing to do here unless one of them has a row.
        self.questions = questions
        self.seconds = seconds
        self.due = time.monotonic() + first
        # It had more to do than it may take at once.
        self.is_unfinished = False

    def do_if_due(self, now: float, is_busy: Callable[[], bool] = lambda: False) -> None:
        """Act, if it is time; an act that returns True has more to do, and goes on after a rest."""
        if now >= self.due:
            self.put_off(now)
            started = time.monotonic()
            try:
                self.is_unfinished = self.act() is True
                if self.is_unfinished:
                    ended = time.monotonic()
                    times = PAUSE_WHILE_BUSY if is_busy() else PAUSE_WHILE_IDLE
                    self.due = min(self.due, ended + times * (ended - started))
            except OUTAGES:
                if self.is_vital:
                    self.due = now
                raise
            except Exception:
                # Upkeep: worth a complaint, not the end of the worker.
                logger.exception("The worker's %s failed.", self.act.__name__)

    def put_off(self, now: float) -> None:
        """Until it is time again."""
        self.due = now + self.seconds * random.uniform(0.9, 1.1)  # noqa: S311
        self.is_unfinished = False


class Engine:
    def __init__(
        self,
        queue_names: Sequence[str] = ("default",),
        *,
        threads: int = 1,
        rate_limit: float = 0,
        board: Board | None = None,
        supervisor_pid: int | None = None,
    ) -> None:
        self.queue_names = list(dict.fromkeys(queue_names))
        self.threads = threads
        self.rate_limit = rate_limit
        self.board = board or Board(threads)
        self.supervisor_pid = supervisor_pid
        self.configuration = get_configuration()
        self.clock = DatabaseClock()
        self.alias = router.db_for_write(Job)
        self.worker: Worker | None = None
        self.stopping = False
        self.stop_requested = False
        self.fenced = 0
        self.jobs_done = 0
        # Runs that wait for a thread, what runs in each thread, and how runs ended.
        self.ready: deque[TaskRun] = deque()
        self.running: list[TaskRun | None] = [None] * threads
        self.results: deque[Result] = deque()
        # A job that crashed its worker before: it runs alone, so that the next crash is surely its own.
        self.suspect: TaskRun | None = None
        self.work_arrived = threading.Condition()
        self.turns = Turns()
        # Hears who calls, where somebody can.
        self.listener: Any = None
        # Called by threads when the engine should look at its results.
        self.wake: Callable[[], None] = lambda: None
        # The thread that turns the engine.
        self.thread_id: int | None = None
        # Held while a run is neither here nor there: between two of the places above.
        self._handover = threading.Lock()
        # Results that are being written.
        self._in_hand: list[Result] = []
        # The last transaction may or may not have been committed.
        self._is_uncertain = False
        self._checkpoints: dict[int, tuple[threading.Event, list[bool]]] = {}
        self._mean_seconds: float | None = None
        self._prefetch = 0
        self._last_claim = float("-inf")
        self._claimed_full = False
        self._is_called = False
        self._paused: set[str] = set()
        # The driver's connection that was set up for the statements of an engine.
        self._prepared: Any = None
        self._last_beat = time.monotonic()
        # The database failed this engine since its last beat.
        self.was_cut_off = False
        # Until then nobody is held for dead.
        self._spare_until = float("-inf")
        heartbeat = self.configuration.HEARTBEAT_SECONDS
        self._duties = [
            Duty(self.beat, heartbeat, heartbeat, is_vital=True),
            Duty(self.sweep, self.configuration.SWEEP_SECONDS, random.uniform(0, 1)),  # noqa: S311
            Duty(self.promote_chunk, 1.0, questions=(transitions.find_due,)),
            Duty(self.refresh, 1.0, questions=(find_pause,)),
            Duty(
                self.fold,
                FOLD_SECONDS,
                random.uniform(0, FOLD_SECONDS),  # noqa: S311
                questions=(counts.find_count_delta, counts.find_rollup_delta),
            ),
            Duty(self.act_in_bulk, BULK_SECONDS, questions=(bulk.find_running,)),
            Duty(self.refresh_statistics, STATISTICS_SECONDS, random.uniform(1, 10)),  # noqa: S311
            Duty(self.join_rollups, ROLLUP_SECONDS, random.uniform(30, 60)),  # noqa: S311
            Duty(self.forget, 3600, 60),
        ]

    # Life

    def register(self) -> None:
        """Make this worker's row; everything it claims hangs on that row's lease."""
        self.thread_id = threading.get_ident()
        dialect = get_dialect(self.alias)
        self.clock.set(dialect.read_clock())
        now = self.clock.now()
        host = socket.gethostname()
        self.worker = leases.make_worker(
            dialect,
            name=f"{host}:{os.getpid()}",
            host=host,
            pid=os.getpid(),
            supervisor_pid=self.supervisor_pid,
            queue_names=self.queue_names,
            threads=self.threads,
            version=__version__,
            started=now,
            beat=now,
            expires_at=now + timedelta(seconds=self.configuration.LEASE_SECONDS),
            jobs_done=self.jobs_done,
            memory_bytes=_measure_memory(),
        )
        self._note_beat()
        self.board.beat(self.worker.pk)
        logger.info("%s serves %s.", self.worker.name, ", ".join(self.queue_names))
        signals.announce(signals.worker_started, Worker, worker=self.worker)

    def deregister(self) -> None:
        if self.worker is not None:
            Worker.objects.using(self.alias).filter(pk=self.worker.pk).delete()
            logger.info("%s leaves after %d task runs.", self.worker.name, self.jobs_done)
            signals.announce(signals.worker_stopped, Worker, worker=self.worker)
            self.worker = None

    def get_worker(self) -> Worker:
        if self.worker is None:
            self.register()
        assert self.worker is not None  # noqa: S101
        return self.worker

    # One step

    def turn(self) -> bool:
        """Do what is due, write what ended, claim what there is room for; return whether anything moved."""
        self._prepare_connection()
        worker = self.get_worker()
        self.board.beat(worker.pk)
        now = time.monotonic()
        self.interrupt_overdue(now)
        # Upkeep has the time in which a job that somebody called for runs.
        moved = self._is_called and not self.was_cut_off and self.cycle()
        self._is_called = False
        has_work = self._do_duties(now)
        if self.ready and self._is_held_up(HELD_UP_SECONDS):
            self.release_unstarted()
        return moved or self.cycle(has_work)

    def _do_duties(self, now: float) -> bool | None:
        """Do what is due; return whether there is a job to claim, if that is known by the way."""
        due = [duty for duty in self._duties if duty.due <= now]
        has_work = None
        # `refresh` has more to do for what is paused or runs than its question tells.
        is_idle = not self.is_busy and not self._paused
        if is_idle and any(duty.questions for duty in due) and not any(duty.is_vital for duty in due):
            due, has_work = self._ask_what_to_do(due, now)
        for duty in due:
            duty.do_if_due(now, lambda: self.is_busy)
        # Whatever was done may have made work.
        return None if due else has_work

    def _ask_what_to_do(self, due: list[Duty], now: float) -> tuple[list[Duty], bool | None]:
        """Which of these duties have something to do, and whether there is a job to claim.

        A round trip costs an idle worker more than what it asks: all questions travel together, those that
        would come soon as well, and with them the look for jobs.
        """
        asking = [duty for duty in self._duties if duty.questions and duty.due <= now + ALONG_SECONDS]
        questions = [question for duty in asking for question in duty.questions]
        look = None if self._claimed_full else self._make_look()
        try:
            *answers, has_work = get_dialect(self.alias).ask_whether(questions, look)
        except OUTAGES:
            raise
        except Exception:
            # Each asks again for itself, and the one that fails says so.
            logger.debug("The questions of a worker's duties failed together.", exc_info=True)
            return due, None
        yes = {question for question, answer in zip(questions, answers, strict=True) if answer}
        for duty in asking:
            if yes.isdisjoint(duty.questions):
                duty.put_off(now)
        return [duty for duty in due if duty.due <= now], has_work

    def _prepare_connection(self) -> None:
        """Each new one, and after an outage it is a new one."""
        dialect = get_dialect(self.alias)
        if self._prepared is None or self._prepared is not dialect.connection.connection:
            dialect.connection.ensure_connection()
            dialect.prepare_engine_connection(self.configuration.LEASE_SECONDS, get_patience())
            self.listener = dialect.listen() if self.configuration.NOTIFY else None
            self._prepared = dialect.connection.connection

    def cycle(self, has_work: bool | None = None) -> bool:
        """Flush results and claim the next batch in one transaction.

        Args:
            has_work: whether there is a job to claim, if somebody looked just now.
        """
        results = self._drain()
        if self._is_uncertain:
            results = self._drop_recorded(results)
        room = self.find_room()
        if not results and (not room or not (self._has_work() if has_work is None else has_work)):
            return False
        with self.turns.hold():
            return self._carry_out(results, room)

    def _carry_out(self, results: list[Result], room: int) -> bool:
        try:
            accepted, claimed = self._write(results, room)
        except (DataError, IntegrityError) as error:
            if not results:
                raise
            self._isolate(results, error)
            return True
        except BaseException:
            # The results keep their place until the database listens again. If the answer to a commit
            # got lost they are written already, and jobs may have been claimed that nobody told of.
            self.results.extendleft(reversed(results))
            self._is_uncertain = True
            raise
        self._settle(results, accepted)
        self._take_in(claimed)
        return bool(results or claimed)

    def _drop_recorded(self, results: list[Result]) -> list[Result]:
        """After a commit without an answer: settle what it did write, and find what it claimed."""
        self._in_hand = results
        try:
            self._release_unknown()
            recorded = [r for r in results if transitions.is_recorded(get_dialect(self.alias), r)]
        except BaseException:
            # The outage lasts: as before, the results keep their place.
            self.results.extendleft(reversed(results))
            raise
        finally:
            self._in_hand = []
        self._is_uncertain = False
        self._settle(recorded, recorded)
        written = {id(result) for result in recorded}
        return [result for result in results if id(result) not in written]

    def _release_unknown(self) -> None:
        """Give back jobs that the database holds for this worker and this worker knows nothing of."""
        with self._handover:
            known = {run.job.id for run in [*self.ready, *self.running, self.suspect] if run is not None}
            known |= {result.job.id for result in [*self.results, *self._in_hand]}
        held = get_dialect(self.alias).ask(leases.find_held, worker_id=self.get_worker().pk)
        unknown = {read_uuid(job_id) for (job_id,) in held} - known
        if unknown:
            for job in self._find_own_jobs().filter(pk__in=unknown).only(*transitions.CLAIMED):
                job._worker_name = self.get_worker().name
                logger.warning(
                    "Job %s was claimed here, but the answer got lost; giving it back.",
                    job.id,
                    extra=about(job),
                )
                self._give_back(job)

    def _drain(self) -> list[Result]:
        results: list[Result] = []
        seen: set[int] = set()
        while self.results and len(results) < RESULTS_PER_FLUSH * 2:
            # Two writes of one job must not meet in one statement.
            job_id = self.results[0].job.id.int
            if job_id in seen:
                break
            results.append(self.results.popleft())
            seen.add(job_id)
        return results

    def _write(self, results: list[Result], room: int) -> tuple[list[Result], list[Job]]:
        dialect = get_dialect(self.alias)
        tally = Tally()
        # A claim alone may be its own transaction.
        with nullcontext() if dialect.counts_claims and not results else dialect.write():
            self._top_priorities: dict[str, int | None] = {}
            self._hear_cancellations_of(results)
            for result in results:
                self._decide(result)
            accepted = transitions.record(dialect, results, tally)
            claimed = self._claim(room, tally) if room else []
            tally.write(dialect)
            # The commit is the server's work.
            self.turns.give()
        self.turns.keep()
        return accepted, claimed

    def _decide(self, result: Result) -> None:
        """Between two tasks: does the job go on here, go back to its queue, or end?"""
        result.worker_name = self.get_worker().name
        job = result.job
        if result.outcome in (Outcome.RETRIED, Outcome.RELEASED) and job.cancel_requested:
            result.outcome = Outcome.CANCELLED
        if result.outcome != Outcome.COMPLETED or result.next_task is None:
            return
        result.cancels = job.cancel_requested
        result.yields = not result.cancels and (
            self.stopping or job.queue_name in self._paused or self._is_outranked(job)
        )

    def _hear_cancellations_of(self, results: list[Result]) -> None:
        """Hear whether an operator asked, since the last look, for the end of jobs that would go on."""
        jobs = {result.job.id: result.job for result in results if result.goes_on}
        if jobs:
            asked = Job.objects.using(self.alias).filter(pk__in=list(jobs), cancel_requested=True)
            for job_id in asked.values_list("pk", flat=True):
                jobs[job_id].cancel_requested = True

    def _is_outranked(self, job: Job) -> bool:
        """Whether a due job of higher priority waits in the same queue."""
        top = self._top_priorities.get(job.queue_name, ...)
        if top is ...:
            known = list(definitions.get_definitions())
            rows = get_dialect(self.alias).execute(
                "SELECT priority FROM dbq_job WHERE lane = 1 AND queue_name = %s"  # noqa: S608
                f" AND name IN ({', '.join(['%s'] * len(known))})"
                " ORDER BY priority DESC, id LIMIT 1",
                (job.queue_name, *known),
            )
            top = self._top_priorities[job.queue_name] = rows[0][0] if rows else None
        return top is not None and top > job.priority

    def _claim(self, room: int, tally: Tally) -> list[Job]:
        claimed: list[Job] = []
        now = self.clock.now()
        # The next turn begins with the next queue, so that none starves the others.
        self.queue_names.append(self.queue_names.pop(0))
        for queue_name in self.queue_names:
            wanted = room - len(claimed)
            if wanted and queue_name not in self._paused:
                claimed += transitions.claim(
                    get_dialect(self.alias), self.get_worker().pk, queue_name, wanted, now, tally
                )
        for job in claimed:
            job.is_first_claim = job.started == now  # type: ignore[attr-defined]
            job._worker_name = self.get_worker().name
        self._claimed_full = len(claimed) == room
        if claimed:
            self._last_claim = time.monotonic()
        return claimed

    def expect_work(self) -> None:
        """Claim first of all, without a look before: somebody called."""
        self._claimed_full = self._is_called = True

    def prepare_look(self) -> Callable[[], bool]:
        """What says whether there is a job to claim, and has the next turn claim it first of all."""
        statement = self._make_look()
        execute = get_dialect(self.alias).execute

        def look() -> bool:
            if statement is None or not execute(*statement):
                return False
            self.expect_work()
            return True

        return look

    def _has_work(self) -> bool:
        """A cheap look before the transaction; not needed while claims come back full."""
        if self._claimed_full:
            return True
        look = self._make_look()
        return look is not None and bool(get_dialect(self.alias).execute(*look))

    def _make_look(self) -> tuple[str, list[str]] | None:
        """The statement that has a row if there is a job to claim; None if there cannot be one."""
        names = tuple(name for name in self.queue_names if name not in self._paused)
        known = tuple(definitions.get_definitions())
        if not names or not known:
            return None
        parameters = [parameter for name in names for parameter in (name, *known)]
        return _write_look(len(names), len(known)), parameters

    def find_room(self) -> int:
        """How many jobs to claim now: free threads, and a prefetch while jobs are short."""
        if self.stopping or self.suspect is not None:
            return 0
        if len(self.results) > RESULTS_PER_FLUSH:
            return 0  # threads are faster than the database: write first
        outstanding = len(self.ready) + sum(run is not None for run in self.running)
        if self.rate_limit:
            rested = time.monotonic() - self._last_claim >= self.rate_limit
            return 1 if rested and not outstanding else 0
        capacity = self.threads + self._get_prefetch()
        room = capacity - outstanding
        # Not a transaction for every freed place, as long as every thread has something to do.
        if room < capacity // 4 and outstanding > self.threads:
            return 0
        return max(0, room)

    def _get_prefetch(self) -> int:
        """Nothing is claimed ahead while every thread is held up longer than the prefetch should last."""
        return 0 if self._is_held_up(PREFETCH_SECONDS) else self._prefetch

    def _is_held_up(self, seconds: float) -> bool:
        begun = time.monotonic() - seconds
        return all(run is not None and bool(run.started) and run.started < begun for run in self.running)

    # After the commit

    def _settle(self, results: list[Result], accepted: list[Result]) -> None:
        accepted_ids = {id(result) for result in accepted}
        announcements.log_ends(accepted)
        is_silent = announcements.is_silent()
        for result in results:
            is_accepted = id(result) in accepted_ids
            waiter = self._checkpoints.pop(id(result), None) if self._checkpoints else None
            if waiter is not None:
                waiter[1].append(is_accepted)
                waiter[0].set()
            elif not is_accepted:
                self.fenced += 1
                _log_lost(result)
            else:
                self._settle_run(result, is_silent)

    def _settle_run(self, result: Result, is_silent: bool) -> None:
        if not result.unstarted:
            self._learn(result.seconds)
            self.jobs_done += 1
        if not (is_silent and result.outcome == Outcome.COMPLETED):
            announcements.announce(result)
        if result.outcome == Outcome.COMPLETED and result.next_task and not (result.yields or result.cancels):
            self._go_on(result)

    def _go_on(self, result: Result) -> None:
        """The next task of the same job, under the same claim, before anything else."""
        job = result.job
        assert result.next_task is not None  # noqa: S101
        job.next_task = result.next_task
        job.attempt = 1
        job.crash_count = 0
        # As the next worker would read it: tuples are lists by now.
        for name in ("workspace", "initial_workspace"):
            text = getattr(result, name)
            if text is not None:
                job.set_text(name, text)
                job.forget(name)
        job.is_first_claim = False  # type: ignore[attr-defined]
        self._offer([self._make_run(job)], first=True)

    def _take_in(self, jobs: list[Job]) -> None:
        runs: list[TaskRun] = []
        for job in jobs:
            definition = definitions.get_definitions()[job.name]
            if job.next_task not in definition.tasks:
                logger.warning(
                    'Job %s: its next task "%s" is not in JOBS["%s"].',
                    job.id,
                    job.next_task,
                    job.name,
                    extra=about(job),
                )
                self._give_back(job, delay=UNKNOWN_TASK_DELAY_SECONDS)
            elif job.cancel_requested:
                # Asked while it ran, and given back before anybody heard.
                self._give_back(job, outcome=Outcome.CANCELLED)
            elif job.crash_count >= self.configuration.MAX_CRASHES - 1 > 0:
                self._take_suspect(job)
            else:
                runs.append(self._make_run(job))
        self._offer(runs)
        if signals.job_claimed.receivers:
            for job in jobs:
                signals.announce(signals.job_claimed, Job, job=job)

    def _take_suspect(self, job: Job) -> None:
        if self.suspect is None:
            self.suspect = self._make_run(job)
            self.release_unstarted()
        else:
            self._give_back(job)

    def _make_run(self, job: Job) -> TaskRun:
        definition = definitions.get_definitions()[job.name]
        return TaskRun(job, definition, self.save_checkpoint)

    def _offer(self, runs: list[TaskRun], *, first: bool = False) -> None:
        if first:
            self.ready.extendleft(reversed(runs))
        else:
            self.ready.extend(runs)
        if runs or self.suspect is not None:
            with self.work_arrived:
                self.work_arrived.notify_all()

    def _learn(self, seconds: float) -> None:
        """Prefetch as much as will surely be done soon: grow slowly, shrink at once."""
        mean = seconds if self._mean_seconds is None else self._mean_seconds * 0.9 + seconds * 0.1
        self._mean_seconds = max(mean, seconds) if seconds > PREFETCH_SECONDS else mean
        allowed = int(PREFETCH_SECONDS / max(self._mean_seconds, 1e-6))
        allowed = min(allowed, self.configuration.PREFETCH)
        self._prefetch = min(allowed, self._prefetch * 2 + 1)

    def _isolate(self, results: list[Result], error: Exception) -> None:
        """The database refuses something in a batch: write one by one, and fail the one it was."""
        left = deque(results)
        try:
            while left:
                self._write_alone(left[0])
                left.popleft()
        except BaseException:
            self.results.extendleft(reversed(left))
            self._is_uncertain = True
            raise

    def _write_alone(self, result: Result) -> None:
        try:
            accepted, _ = self._write([result], 0)
        except (DataError, IntegrityError) as reason:
            failed = _make_unwritable(result, reason, self.clock.now())
            accepted, _ = self._write([failed], 0)
            if result.outcome == Outcome.RUNNING:
                # A checkpoint that had to be replaced is no checkpoint: its task hears of it.
                self._settle([result], [])
            result = failed
        self._settle([result], accepted)

    # Between threads and the engine

    def next_run(self, place: int, wait_seconds: float = 0) -> TaskRun | None:
        """The next run for a thread, or None after a wait; the thread must put a result for it."""
        self.turns.wait()
        run = self._pop(place)
        if run is None and wait_seconds:
            with self.work_arrived:
                run = self._pop(place)
                if run is None:
                    self.work_arrived.wait(wait_seconds)
            run = run or self._pop(place)
        if run is not None:
            self.board.begin(place, run.job.id, self._get_hard_timeout(run))
        return run

    def _pop(self, place: int) -> TaskRun | None:
        with self._handover:
            run: TaskRun | None
            try:
                run = self.ready.popleft()
            except IndexError:
                run = self._pop_suspect()
            self.running[place] = run
        return run

    def _pop_suspect(self) -> TaskRun | None:
        if self.suspect is None or any(run is not None for run in self.running):
            return None
        return None if self.suspect.started else self.suspect

    def _get_hard_timeout(self, run: TaskRun) -> float | None:
        definition = run.definition
        if definition.hard_timeout is not None:
            return definition.hard_timeout
        if definition.timeout is not None:
            return definition.timeout + self.configuration.HARD_TIMEOUT_GRACE_SECONDS
        return None

    def put(self, place: int, run: TaskRun, result: Result) -> None:
        """Hand in how a run ended."""
        self.board.end(place)
        with self._handover:
            self.running[place] = None
            if self.suspect is run:
                self.suspect = None
            if not run.is_lost:
                self.results.append(result)
            # Counted here: two threads that end together must not both be the second.
            waiting, left = len(self.results), len(self.ready)
        if run.is_lost:
            self.fenced += 1
            _log_lost(run)
        # At the first result the engine starts its clock; it hurries when the threads run dry.
        if waiting == 1 or left == 0 or left == self._prefetch // 2 or waiting == RESULTS_PER_FLUSH:
            self.wake()

    def may_gather(self) -> bool:
        """Whether results may wait a moment for more of them: nobody waits, and threads have work."""
        return 0 < len(self.results) < RESULTS_PER_FLUSH and bool(self.ready) and not self._checkpoints

    def save_checkpoint(self, result: Result) -> bool:
        """Have a checkpoint written, from a task's thread; return whether it was accepted."""
        event, answer = threading.Event(), []  # type: ignore[var-annotated]
        self._checkpoints[id(result)] = (event, answer)
        self.results.append(result)
        if self.thread_id == threading.get_ident():
            # A test that runs tasks in the engine's own thread.
            while not event.is_set():
                self.cycle()
        else:
            self.wake()
            event.wait()
        return answer[0]

    def interrupt_overdue(self, now: float) -> None:
        """Raise TaskTimeout in threads whose task has outlived its soft time-out."""
        for run in self.running:
            if run is not None and not run.has_timed_out and run.is_overdue(now):
                _interrupt(run)

    # Giving back

    def release_unstarted(self, older_than: float = 0) -> int:
        """Give claimed jobs back that no thread has taken up; older_than in seconds."""
        released = 0
        now = time.monotonic()
        kept: list[TaskRun] = []
        while True:
            try:
                run = self.ready.popleft()
            except IndexError:
                break
            if now - run.claimed_at < older_than:
                kept.append(run)
            else:
                self._give_back(run.job)
                released += 1
        self.ready.extendleft(reversed(kept))
        return released

    def _give_back(self, job: Job, delay: float = 0, outcome: Outcome = Outcome.RELEASED) -> None:
        self.results.append(
            Result(
                job=job,
                fence=job.fence,
                task=job.next_task,
                number=job.attempt,
                outcome=outcome,
                finished=self.clock.now(),
                delay=delay,
                unstarted=True,
            )
        )

    def release_running(self) -> int:
        """Give back what still runs; whatever those threads still write will not match any more."""
        released = 0
        for run in list(self.running):
            if run is not None and not run.is_lost:
                result = run.make_result(Outcome.RELEASED)
                result.finished = self.clock.now()
                result.seconds = time.monotonic() - run.started
                run.is_lost = True
                self.results.append(result)
                released += 1
        if self.suspect is not None:
            if not self.suspect.started:
                self._give_back(self.suspect.job)
            self.suspect = None
        return released

    def stop(self) -> None:
        """Claim nothing more, and give back what has not begun."""
        self.stopping = True
        self.release_unstarted()
        with self._handover:
            if self.suspect is not None and self.suspect not in self.running:
                self._give_back(self.suspect.job)
                self.suspect = None

    @property
    def is_busy(self) -> bool:
        """Whether anything claimed here is not written down yet."""
        with self._handover:
            return bool(
                self.ready
                or self.results
                or self.suspect is not None
                or any(run is not None for run in self.running)
            )

    @property
    def upkeep_pause(self) -> float:
        """Seconds until a duty goes on that has more to do; infinite if none has."""
        now = time.monotonic()
        dues = [duty.due - now for duty in self._duties if duty.is_unfinished]
        return max(0.0, min(dues, default=math.inf))

    @property
    def next_due(self) -> float:
        """When the next duty is due, on the monotonic clock."""
        return min((duty.due for duty in self._duties), default=math.inf)

    def is_exhausted(self) -> bool:
        """Whether nothing is left to do that is due now; for a worker that leaves then."""
        if self.is_busy:
            return False
        self._claimed_full = False
        while self.promote():
            pass
        return not self._has_work()

    # Duties

    def beat(self) -> None:
        """Renew the lease of everything this worker holds, and hear whether it should stop."""
        worker = self.get_worker()
        dialect = get_dialect(self.alias)
        self.clock.set(dialect.read_clock())
        stop_requested = leases.renew(
            dialect,
            worker,
            self.clock.now(),
            self.configuration.LEASE_SECONDS,
            jobs_done=self.jobs_done,
            memory_bytes=_measure_memory(),
        )
        if stop_requested is None:
            self._lose_lease()
            return
        self._note_beat()
        self.stop_requested = stop_requested

    def _note_beat(self) -> None:
        """After an outage in which leases may have run out, give the others one to come back in."""
        now = time.monotonic()
        if self.was_cut_off and now - self._last_beat > 2 * self.configuration.HEARTBEAT_SECONDS:
            self._spare_until = now + self.configuration.LEASE_SECONDS
        self._last_beat = now
        self.was_cut_off = False

    def _lose_lease(self) -> None:
        """Others hold this worker for dead: drop what it has not begun and start afresh as another."""
        logger.warning("The lease of %s ran out; what it held is lost to it.", self.get_worker().name)
        self.ready.clear()
        self.suspect = None
        self.worker = None
        self.register()

    def sweep(self) -> None:
        """Take the jobs of dead workers from them, and of this one what it does not know of."""
        self._release_unknown()
        if time.monotonic() < self._spare_until:
            return
        dialect = get_dialect(self.alias)
        for worker in transitions.declare_dead(dialect):
            freed = transitions.rescue(
                dialect,
                worker,
                "dbq.WorkerLost",
                f"{worker.name} gave no sign of life for {self.configuration.LEASE_SECONDS:g} s",
            )
            if freed:
                logger.warning("Rescued %d jobs of %s, which gave no sign of life.", freed, worker.name)

    def promote(self) -> int:
        """Let scheduled and backed-off jobs whose time has come be claimed."""
        dialect = get_dialect(self.alias)
        return transitions.promote(dialect) if dialect.ask(transitions.find_due) else 0

    def promote_chunk(self) -> bool:
        """Promote some; return whether more are likely to be due."""
        return self.promote() >= transitions.CHUNK

    def refresh(self) -> None:
        """Hear of pauses and cancellations, show progress, and give back what waits here too long."""
        paused = {name for (name,) in get_dialect(self.alias).ask(find_paused)}
        self._paused = paused & set(self.queue_names)
        if self._paused:
            self._release_paused()
        if self.is_busy:
            self._hear_cancellations()
            self._write_progress()
            self.release_unstarted(older_than=UNSTARTED_MAX_SECONDS)

    def _release_paused(self) -> None:
        kept = [run for run in self.ready if run.job.queue_name not in self._paused]
        released = [run for run in self.ready if run.job.queue_name in self._paused]
        if released:
            self.ready.clear()
            self.ready.extend(kept)
            for run in released:
                self._give_back(run.job)

    def _hear_cancellations(self) -> None:
        cancelled = set(self._find_own_jobs().filter(cancel_requested=True).values_list("pk", flat=True))
        if not cancelled:
            return
        for run in self.running:
            if run is not None and run.job.id in cancelled:
                run.job.cancel_requested = True
        for run in [run for run in self.ready if run.job.id in cancelled]:
            try:
                self.ready.remove(run)
            except ValueError:
                continue  # a thread was faster
            self._give_back(run.job, outcome=Outcome.CANCELLED)

    def _find_own_jobs(self) -> JobQuerySet:
        return Job.objects.using(self.alias).filter(lane=Lane.RUNNING, worker_id=self.get_worker().pk)

    def _write_progress(self) -> None:
        progress = [
            (run.job, text) for run in self.running if run is not None and (text := run.take_progress())
        ]
        if progress:
            transitions.write_progress(get_dialect(self.alias), progress)

    def fold(self) -> bool:
        """Move chunks of deltas into their totals; return whether some are left."""
        return self._keep_up(counts.fold)

    def join_rollups(self) -> bool:
        """Join chunks of yesterday's minutes into hours; return whether some are left."""
        return self._keep_up(counts.join_old_rollups)

    def _keep_up(self, do_chunk: Callable[[str], int]) -> bool:
        """Do chunks for a moment; return whether the last one was full."""
        end = time.monotonic() + UPKEEP_SECONDS
        while do_chunk(self.alias) >= counts.FOLD_CHUNK:
            if time.monotonic() >= end:
                return True
        return False

    def act_in_bulk(self) -> bool:
        """Do a slice of what operators want done to all jobs that match; return whether there was any."""
        return not self.stopping and bulk.run_for(self.alias) > 0

    def refresh_statistics(self) -> None:
        get_dialect(self.alias).refresh_statistics()

    def forget(self) -> None:
        """Drop rows that only told of the past: dead workers, old figures."""
        leases.forget_dead(get_dialect(self.alias))
        counts.delete_old_rollups(self.alias, ROLLUP_DAYS)
        bulk.delete_old_items(self.alias)


@lru_cache(maxsize=100)
def _write_look(queues: int, names: int) -> str:
    """SQL that says whether there is a claimable job in so many queues, of so many names."""
    # The order keeps PostgreSQL from reading the table until it comes upon a claimable row, which
    # lies behind the finished ones.
    first = (
        "SELECT 1 FROM (SELECT id FROM dbq_job WHERE lane = 1 AND queue_name = %s"  # noqa: S608
        f" AND name IN ({', '.join(['%s'] * names)})"
        " ORDER BY priority DESC, id LIMIT 1) AS first"
    )
    return " UNION ALL ".join([first] * queues) + " LIMIT 1"


def _log_lost(run: TaskRun | Result) -> None:
    logger.warning(
        "Job %s: the lease of this run was lost; its result is dropped.",
        run.job.id,
        extra=about(run.job, run.task, run.number),
    )


def _interrupt(run: TaskRun) -> None:
    """Raise TaskTimeout in the thread of a run; a coroutine watches its own time."""
    if inspect.iscoroutinefunction(definitions.load(run.task)):
        return
    with run.guard:
        if run.thread_id is None:
            return
        run.has_timed_out = True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(run.thread_id), ctypes.py_object(TaskTimeout)
        )


def _make_unwritable(result: Result, reason: Exception, now: datetime) -> Result:
    """The same run as a failure, without whatever the database refused to store."""
    return Result(
        job=result.job,
        fence=result.fence,
        task=result.task,
        number=result.number,
        outcome=Outcome.FAILED,
        started=result.started,
        # A checkpoint has no end of its own.
        finished=result.finished or now,
        seconds=result.seconds,
        has_attempt=result.has_attempt,
        failure=failures.describe(reason),
        exception=reason,
    )


def _measure_memory() -> int:
    """The process's peak resident set, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

"""The process above the workers: starts them, notices their death at once, and passes signals on.

It touches the database only to free the jobs of a child that died, and once before the first fork; it
holds no connection while it forks.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from django.db import DatabaseError, Error, connections, router

from dbq import transitions
from dbq.board import Board
from dbq.conf import get_configuration
from dbq.dialects import get_dialect
from dbq.dialects.base import compile_ahead
from dbq.logs import about
from dbq.masking import mask_text
from dbq.models.job import Job
from dbq.models.queue import find_paused
from dbq.models.worker import Worker
from dbq.patience import get_patience, hang_up_later

logger = logging.getLogger("dbq")

LOOK_SECONDS = 0.5
# A child that dies sooner than this after its start is started again with a growing pause.
STABLE_SECONDS = 5.0
PAUSE_MAX_SECONDS = 30.0
# After all was frozen together (a sleeping laptop, a paused container) a child gets so long to show life.
WAKE_SECONDS = 2.0
PR_SET_PDEATHSIG = 1
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class Child:
    board: Board
    pid: int = 0
    started: float = 0
    # Not before this time is it started again.
    start_after: float = 0
    quick_deaths: int = 0
    # Since when its engine is seen to stand still.
    stuck_since: float | None = None
    reason: str = ""
    # It ended because it was told to, or had nothing more to do.
    has_left: bool = False


@dataclass
class Death:
    worker_id: int
    running: list
    message: str
    tries: int = 0
    try_after: float = 0


@dataclass
class Supervisor:
    """Keeps `processes` children running `work(board)`, which returns their exit code."""

    work: Callable[[Board], int]
    processes: int = 1
    threads: int = 1
    children: list[Child] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    stop_signals: int = 0
    _passed_on: int = 0

    def run(self) -> int:
        """Supervise until every child has left; return the exit code."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._hear_signal)
        # So that a child's death ends the rest below.
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        _load_ahead()
        wake_out, wake_in = _make_pipe()
        signal.set_wakeup_fd(wake_in, warn_on_full_buffer=False)
        self.children = [Child(Board(self.threads)) for _ in range(self.processes)]
        while True:
            self._pass_signals_on()
            self._reap()
            self._rescue_dead()
            self._start_missing()
            if all(child.has_left for child in self.children) and not self.deaths:
                return 0
            self._watch()
            _rest(wake_out)

    def _hear_signal(self, number: int, frame: object) -> None:
        self.stop_signals += 1

    def _pass_signals_on(self) -> None:
        # One at a time: two that meet on their way are one to the child.
        if self._passed_on < self.stop_signals:
            self._passed_on += 1
            for child in self.children:
                if child.pid:
                    os.kill(child.pid, signal.SIGTERM)

    # Starting

    def _start_missing(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.pid or child.has_left:
                continue
            if self.stop_signals:
                child.has_left = True
            elif now >= child.start_after:
                self._start(child)

    def _start(self, child: Child) -> None:
        _close_connections()
        child.board.clear()
        child.started = time.monotonic()
        child.stuck_since = None
        child.reason = ""
        sys.stdout.flush()
        sys.stderr.flush()
        # What is loaded stays. The child's collector would walk through all of it again and again, and
        # with each object that it marks a page would no longer be the parent's and the child's in common.
        gc.collect()
        gc.freeze()
        _give_back_memory()
        parent = os.getpid()
        # What comes before the child has handlers of its own must not get lost in the inherited ones.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        child.pid = os.fork()
        if child.pid == 0:
            self._become_child(child, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _become_child(self, child: Child, parent: int) -> None:
        """Run the work and leave without the parent's exit handlers."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*STOP_SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            # Ctrl-C goes to the whole foreground group; only the supervisor is to hear it.
            os.setpgid(0, 0)
            _die_with(parent)
            code = self.work(child.board)
        except BaseException:
            logger.exception("A worker process ended.")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    # Watching

    def _watch(self) -> None:
        """Kill a child whose task outlived its hard time-out, or whose engine stands still."""
        for child in self.children:
            if not child.pid:
                continue
            overdue = child.board.get_overdue()
            if overdue is not None:
                self._kill(child, f"Job {overdue} outlived its hard time-out")
            elif self._is_stuck(child):
                lease = get_configuration().LEASE_SECONDS
                self._kill(child, f"The worker process stood still for {lease:g} s")

    def _is_stuck(self, child: Child) -> bool:
        if child.board.get_age() <= get_configuration().LEASE_SECONDS:
            child.stuck_since = None
        elif child.stuck_since is None:
            child.stuck_since = time.monotonic()
        return child.stuck_since is not None and time.monotonic() - child.stuck_since > WAKE_SECONDS

    def _kill(self, child: Child, reason: str) -> None:
        logger.error("%s; killing process %d.", reason, child.pid)
        child.reason = reason
        os.kill(child.pid, signal.SIGKILL)
        os.waitpid(child.pid, 0)
        self._bury(child, -signal.SIGKILL)

    def _reap(self) -> None:
        for child in self.children:
            if child.pid:
                pid, status = os.waitpid(child.pid, os.WNOHANG)
                if pid:
                    self._bury(child, os.waitstatus_to_exitcode(status))

    def _bury(self, child: Child, code: int) -> None:
        pid, child.pid = child.pid, 0
        # One that has not registered had no handlers yet: the signal ended it as it ends any process.
        was_told_early = not child.board.worker_id and code == -signal.SIGTERM
        if code == 0 or (was_told_early and self.stop_signals):
            child.has_left = True
            return
        message = child.reason or f"Worker process {pid} {_describe_exit(code)}"
        logger.error("%s.", message)
        if child.board.worker_id:
            self.deaths.append(Death(child.board.worker_id, child.board.get_running(), message))
        self._plan_restart(child)

    def _plan_restart(self, child: Child) -> None:
        lived = time.monotonic() - child.started
        # A death in the middle of a task is counted against its job, and ends after MAX_CRASHES.
        is_pattern = lived <= STABLE_SECONDS and not child.board.get_running()
        child.quick_deaths = child.quick_deaths + 1 if is_pattern else 0
        # The first death is no pattern: its jobs wait.
        pause = min(PAUSE_MAX_SECONDS, 0.5 * 2**child.quick_deaths) if child.quick_deaths > 1 else 0
        child.start_after = time.monotonic() + pause

    # Rescuing

    def _rescue_dead(self) -> None:
        now = time.monotonic()
        for death in [death for death in self.deaths if now >= death.try_after]:
            try:
                self._rescue(death)
                self.deaths.remove(death)
            except (DatabaseError, OSError) as error:
                self._put_off(death, error)
            _close_connections()

    def _rescue(self, death: Death) -> None:
        alias = router.db_for_write(Job)
        dialect = get_dialect(alias)
        dialect.bound_waits(get_patience())
        with hang_up_later(dialect.hang_up):
            self._rescue_from(death, alias)

    def _rescue_from(self, death: Death, alias: str) -> None:
        worker = Worker.objects.using(alias).filter(pk=death.worker_id).first()
        worker = worker or Worker(pk=death.worker_id, name=f"worker {death.worker_id}")
        ran = list(_list_ran(alias, death))
        freed = transitions.rescue(
            get_dialect(alias), worker, "dbq.WorkerCrashed", death.message, running=death.running
        )
        # Only now: others that saw it dead would rescue as well, without knowing which of its jobs ran.
        Worker.objects.using(alias).filter(pk=death.worker_id).update(expires_at=None)
        for job in ran:
            job._worker_name = worker.name
            logger.warning("Job %s %s ran when its worker died.", job.name, job.id, extra=about(job))
        logger.warning("Freed %d jobs of %s at once.", freed, worker.name)

    def _put_off(self, death: Death, error: Exception) -> None:
        """Try again soon; when it never works, the lease ends and another worker rescues."""
        death.tries += 1
        death.try_after = time.monotonic() + min(5.0, 0.1 * 2**death.tries)
        if death.tries > 10 or self.stop_signals:
            reason = mask_text(str(error))
            logger.error("The jobs of worker %d wait for their lease: %s", death.worker_id, reason)
            self.deaths.remove(death)


def _list_ran(alias: str, death: Death) -> Iterable[Job]:
    held = Job.objects.using(alias).filter(pk__in=death.running, worker_id=death.worker_id)
    return held.only("name", "queue_name", "next_task", "attempt")


def _load_ahead() -> None:
    """Look once, and compile what an idle worker says: what that loads and makes, all children share."""
    dialect = get_dialect(router.db_for_write(Job))
    dialect.bound_waits(get_patience())
    # Whatever ails the database, the children wait it out.
    with suppress(Error, OSError), hang_up_later(dialect.hang_up):
        dialect.ask(find_paused)
        compile_ahead(dialect.alias)
        transitions.compile_claim_ahead(dialect)


def _give_back_memory() -> None:
    """What loading took and freed again is the system's, not a part of this process and of each child."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU C library has it
    if trim is not None:
        trim(0)


def _make_pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _rest(wake_out: int) -> None:
    """Until a signal comes, a child's death among them, or for a moment."""
    if select.select([wake_out], [], [], LOOK_SECONDS)[0]:
        os.read(wake_out, 4096)


def _close_connections() -> None:
    """Nothing that a child could inherit stays open, connection pools included."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None:
            close_pool()


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"left with exit status {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _die_with(parent: int) -> None:
    """Have the kernel send SIGTERM when the supervisor dies (Linux; elsewhere the runner notices)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

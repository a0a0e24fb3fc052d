"""One worker process: its engine in a control thread, its task threads, its signals."""

from __future__ import annotations

import gc
import logging
import os
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import DatabaseError, InterfaceError, connections
from django.db.utils import Error

from dbq import wakeup
from dbq.conf import get_configuration
from dbq.dialects import get_dialect
from dbq.engine import HELD_UP_SECONDS, Engine
from dbq.masking import mask_text
from dbq.patience import Watch
from dbq.threads import TaskThread

logger = logging.getLogger("dbq")

# After the first result of a batch, others get this long to join it.
FLUSH_SECONDS = 0.01
# So long the control thread stands back for a thread that has nothing to do and is given a job.
HAND_OVER_SECONDS = 0.001
# The longest sleep of the control thread: duties are at least a second apart.
SLEEP_MAX_SECONDS = 0.5
# The control thread must get its turn between two lines of a busy task: each of its statements waits for
# the interpreter lock, and Python's own five milliseconds would be most of a batch's time.
SWITCH_SECONDS = 0.0005
# A batch of jobs is some ten thousand objects, none of them garbage: Python's own threshold of 700 has it
# search them dozens of times, which is a tenth of what a busy worker does.
GARBAGE_THRESHOLD = 20_000
# The longest keeps a worker from being back later than five seconds after its database.
OUTAGE_PAUSES = (0.1, 4.0)
# A write is seen before its commit is done, which may wait for the disk: whoever saw one looks at once, and
# again after each of these.
COMMIT_PAUSES = (0.003, 0.017)
# Until then a worker that leaves tries to write down what is left; its lease tells the rest.
LAST_WORDS_SECONDS = 5
COMPLAINT_SECONDS = 60


class Runner:
    """Runs jobs until it is told to stop; `run()` returns the exit code of the process.

    Args:
        engine: not started yet.
        burst: leave when nothing is due.
    """

    def __init__(self, engine: Engine, *, burst: bool = False) -> None:
        self.engine = engine
        self.burst = burst
        self.stop_signals = 0
        self.stopped = threading.Event()
        self.failure: BaseException | None = None
        self._threads = [TaskThread(engine, place) for place in range(engine.threads)]
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._changes: Any = None
        self._commit_pauses: list[float] = []
        self._outages = 0
        self._complained = float("-inf")
        self._alert_until = 0.0
        self._poll = self._longest_poll = 0.0
        self._watch = Watch()
        engine.wake = self.wake

    def run(self) -> int:
        parent = os.getppid()
        sys.setswitchinterval(SWITCH_SECONDS)
        first, *others = gc.get_threshold()
        if 0 < first < GARBAGE_THRESHOLD:
            gc.set_threshold(GARBAGE_THRESHOLD, *others)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._hear_signal)
        control = threading.Thread(target=self._control, name="dbq-control", daemon=True)
        control.start()
        for thread in self._threads:
            thread.start()
        while not self.stopped.wait(1.0):
            if self._watch.hang_up_if_late():
                logger.warning("The database gave no answer for %g s; hung up.", self._watch.seconds)
            if os.getppid() != parent and not self.stop_signals:
                logger.warning("The supervisor is gone; stopping.")
                self._ask_to_stop()
        return 1 if self.failure else 0

    def wake(self) -> None:
        """End the control thread's sleep; callable from threads and signal handlers."""
        # A full pipe is full of calls already.
        with suppress(BlockingIOError):
            os.write(self._wake_in, b"w")

    def _hear_signal(self, number: int, frame: object) -> None:
        # Flags only: the handler may interrupt anything.
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        self.stop_signals += 1
        self.wake()

    # The control thread

    def _control(self) -> None:
        dialect = get_dialect(self.engine.alias)
        dialect.bound_waits(self._watch.seconds)
        try:
            wrap = dialect.connection.execute_wrapper
            with wrap(self._watch.note_statement), wrap(self.engine.turns.note_statement):
                self._run_jobs()
                self._shut_down()
        except BaseException as error:
            logger.exception("The worker's control thread ended.")
            self.failure = error
        finally:
            if self._changes:
                self._changes.close()
            connections.close_all()
            self.stopped.set()

    def _run_jobs(self) -> None:
        if get_configuration().NOTIFY:
            self._changes = get_dialect(self.engine.alias).watch_changes()
        while not self.stop_signals:
            moved = self._turn()
            if self.engine.stop_requested:
                logger.info("An operator asked this worker to stop.")
                return
            if self.burst and not moved and not self._outages and self._is_exhausted():
                return
            self._sleep(moved)

    def _turn(self) -> bool:
        """One step of the engine."""
        moved = self._try(self.engine.turn)
        if moved is None:
            return False
        if self._outages:
            logger.warning("The database answers again.")
            self._outages = 0
        return moved

    def _is_exhausted(self) -> bool:
        return self._try(self.engine.is_exhausted) is True

    def _try(self, act: Callable[[], bool]) -> bool | None:
        """What the engine answers; an outage of the database is waited out, whatever it is, and says None."""
        try:
            with self._watch.watch(get_dialect(self.engine.alias).hang_up):
                return act()
        except (Error, OSError) as error:
            self._wait_out(error)
            return None

    def _wait_out(self, error: BaseException) -> None:
        # By a lock that somebody holds for long as well.
        self.engine.was_cut_off = True
        dialect = get_dialect(self.engine.alias)
        if isinstance(error, DatabaseError) and dialect.is_passing(error):
            logger.debug("Lost a race in the database, trying again: %s", mask_text(str(error)))
            self._rest(random.uniform(0.001, 0.02))  # noqa: S311
            return
        self._outages += 1
        self._complain(error)
        self._close_connection()
        first, longest = OUTAGE_PAUSES
        pause = min(longest, first * 2 ** min(self._outages, 10))
        self._rest(pause * random.uniform(0.5, 1.0))  # noqa: S311

    def _complain(self, error: BaseException) -> None:
        now = time.monotonic()
        if now - self._complained >= COMPLAINT_SECONDS:
            self._complained = now
            # The database quotes what it refuses, parameters and rows.
            logger.error("The database fails; trying on. %s: %s", type(error).__name__, mask_text(str(error)))

    def _close_connection(self) -> None:
        self.engine.listener = None
        connection = connections[self.engine.alias]
        try:
            connection.close()
        except (Error, InterfaceError, OSError):
            connection.connection = None

    def _rest(self, seconds: float) -> None:
        """A pause that goes on beating for the supervisor and ends with a signal to stop."""
        end = time.monotonic() + seconds
        while not self.stop_signals and (left := end - time.monotonic()) > 0:
            # Also before there is a worker's row: an outage is no standstill.
            self.engine.board.beat(self.engine.worker.pk if self.engine.worker else 0)
            select.select([self._wake_out], [], [], min(left, SLEEP_MAX_SECONDS))
            if self._drain_pipe() and not self.stop_signals:
                time.sleep(min(0.01, max(0.0, left)))

    # Sleeping well

    def _sleep(self, moved: bool) -> None:
        """Until there is something to write, somebody calls, or it is time to look again."""
        engine = self.engine
        now = time.monotonic()
        if moved:
            self._be_alert()
            self._poll = 0
            if engine.ready and not all(engine.running):
                # A thread begins sooner while nobody computes beside it.
                self._wait(HAND_OVER_SECONDS)
        has_room = engine.find_room() > 0
        if not engine.results and not (moved and has_room):
            # Somebody may have to give back what waits behind a long task.
            if has_room:
                self._wait_for_work(self._next_poll(now))
            else:
                self._wait(HELD_UP_SECONDS if engine.ready else SLEEP_MAX_SECONDS)
        if engine.may_gather():
            # Others end within moments and share the transaction, while there is work to do.
            self._wait(FLUSH_SECONDS)

    def _wait_for_work(self, seconds: float) -> None:
        if self._commit_pauses:
            self._wait(min(seconds, self._commit_pauses.pop(0)))
        elif self._is_at_rest:
            self._look_for_work(seconds)
        elif self._changes in self._wait(seconds, self._changes) and self._changes.read():
            self._commit_pauses = list(COMMIT_PAUSES)

    def _look_for_work(self, seconds: float) -> None:
        """Look so often until a duty is due, where nobody tells that there is work, and do nothing else.

        Looks are most of what an idle worker costs there, and a whole turn for each would double it.
        """
        look, next_due = self.engine.prepare_look(), self.engine.next_due
        while not self._wait(seconds) and time.monotonic() < next_due:
            if self._try(look) is not False:
                return

    def _be_alert(self) -> None:
        seconds = wakeup.CALLED_ALERT_SECONDS if self._hears else wakeup.ALERT_SECONDS
        self._alert_until = time.monotonic() + seconds

    def _next_poll(self, now: float) -> float:
        dialect = get_dialect(self.engine.alias)
        first, longest = dialect.poll_seconds if self._hears else dialect.uncalled_poll_seconds
        self._longest_poll = longest = get_configuration().POLL_SECONDS or longest
        if now < self._alert_until or not self._poll:
            self._poll = min(first, longest)
        else:
            self._poll = min(self._poll * 1.5, longest)
        pause = self._poll * random.uniform(0.8, 1.2)  # noqa: S311
        return min(pause, SLEEP_MAX_SECONDS, self.engine.upkeep_pause)

    @property
    def _is_at_rest(self) -> bool:
        """Whether there was nothing to do for a while, and only looking tells whether there is."""
        return self._poll >= self._longest_poll and not self._hears and not self.engine.is_busy

    @property
    def _hears(self) -> bool:
        """Whether new work wakes this worker, so that it need not look often."""
        return self.engine.listener is not None or self._changes is not None

    def _wait(self, seconds: float, *sources: Any) -> list[Any]:
        """Until somebody wakes it or calls, one of the sources can be read, or the time is over."""
        listener = self._get_listener()
        has_heard = listener is not None and listener.has_heard()
        heard = [source for source in (self._wake_out, listener, *sources) if source is not None]
        readable = select.select(heard, [], [], 0 if has_heard else seconds)[0]
        if self._wake_out in readable:
            self._drain_pipe()
        if has_heard or listener in readable:
            self._hear_calls()
        return readable

    def _get_listener(self) -> Any:
        if self.engine.listener is not None and self.engine.listener.is_cut_off():
            self.engine.listener = None
        return self.engine.listener

    def _drain_pipe(self) -> bool:
        try:
            return bool(os.read(self._wake_out, 4096))
        except BlockingIOError:
            return False

    def _hear_calls(self) -> None:
        try:
            called = self.engine.listener.read()
        except (Error, OSError):
            # Whoever asks something next will say so.
            self.engine.listener = None
            return
        if called & set(self.engine.queue_names):
            self.engine.expect_work()
            self._be_alert()

    # Leaving

    def _shut_down(self) -> None:
        """Claim nothing more, let what runs end, give back the rest, say goodbye."""
        self.engine.stop()
        seconds = get_configuration().SHUTDOWN_SECONDS
        if self.engine.is_busy:
            logger.info("Stopping; what runs has %g s to end.", seconds)
        deadline = time.monotonic() + seconds
        while self.engine.is_busy and self.stop_signals < 2 and time.monotonic() < deadline:
            self._turn()
            if self.engine.is_busy:
                self._wait(0.05)
        released = self.engine.release_running()
        if released:
            noun = "job" if released == 1 else "jobs"
            logger.warning("Gave %d running %s back to the queue.", released, noun)
        self._write_last_words()
        for thread in self._threads:
            thread.stopping = True

    def _write_last_words(self) -> None:
        """Write what is left; a database that does not answer has until the lease ends anyway."""
        deadline = time.monotonic() + LAST_WORDS_SECONDS
        while time.monotonic() < deadline:
            try:
                with self._watch.watch(get_dialect(self.engine.alias).hang_up):
                    while self.engine.results:
                        self.engine.cycle()
                    self.engine.fold()
                    self.engine.deregister()
                return
            except (Error, OSError) as error:
                self._outages += 1
                self._complain(error)
                self._close_connection()
                time.sleep(0.1)

"""An end to waiting for a database that will never answer.

A connection whose other end is gone without a word keeps whoever reads from it for hours, and what stands
between (a proxy, a balancer) may go on acknowledging what it no longer passes on. Somebody else has to
watch the time then, and hang up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dbq.conf import get_configuration

LONGEST_SECONDS = 10.0

# Returns whether there was something to hang up.
HangUp = Callable[[], bool]


def get_patience() -> float:
    """Seconds that one statement of a worker may take; several such waits fit into a lease."""
    return min(LONGEST_SECONDS, get_configuration().LEASE_SECONDS / 3)


@contextmanager
def hang_up_later(hang_up: HangUp) -> Iterator[None]:
    """For a thread that nobody watches: hang up when what it does here takes too long."""
    timer = threading.Timer(get_patience(), hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


class Watch:
    """Tells one thread how long another has been waiting for a database, and hangs up for it."""

    def __init__(self) -> None:
        self.seconds = get_patience()
        self._lock = threading.Lock()
        self._hang_up: HangUp | None = None
        self._since = 0.0

    @contextmanager
    def watch(self, hang_up: HangUp) -> Iterator[None]:
        """Watch over what this thread does here."""
        self._since = time.monotonic()
        self._hang_up = hang_up
        try:
            yield
        finally:
            # Not while the other one is at it: the connection may be another's afterwards.
            with self._lock:
                self._hang_up = None

    def note_statement(self, execute: Callable, *statement: Any) -> Any:
        """An execute wrapper of Django's: each statement may take its time anew, and so may a commit."""
        self._since = time.monotonic()
        try:
            return execute(*statement)
        finally:
            self._since = time.monotonic()

    def hang_up_if_late(self) -> bool:
        """Called now and then by the thread that watches; return whether it hung up."""
        with self._lock:
            if self._hang_up is None or time.monotonic() - self._since < self.seconds:
                return False
            self._since = time.monotonic()
            # While it connects there is nothing to hang up yet; that has a time limit of its own.
            return self._hang_up()

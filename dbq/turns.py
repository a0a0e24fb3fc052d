"""Turns at Python, which runs one thread at a time.

Left to themselves, a busy control thread and busy task threads snatch the interpreter lock from each other
some thousand times a second, which costs a fifth of what they could do. So between two tasks a thread waits
while the control thread computes; it has the time in which the database works, which is as long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# The longest that a task waits for the control thread, whatever that is doing.
WAIT_SECONDS = 0.02


class Turns:
    """Says whose turn it is: the control thread's while it computes, the tasks' otherwise."""

    def __init__(self) -> None:
        self._is_taken = False
        self._is_given = threading.Event()

    # By the control thread

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep tasks from beginning, but whenever a statement is with the database."""
        self._is_taken = True
        self._is_given.clear()
        try:
            yield
        finally:
            self._is_taken = False
            self._is_given.set()

    def give(self) -> None:
        if self._is_taken:
            self._is_given.set()

    def keep(self) -> None:
        if self._is_taken:
            self._is_given.clear()

    def note_statement(self, execute: Callable, *statement: Any) -> Any:
        """An execute wrapper of Django's."""
        self.give()
        try:
            return execute(*statement)
        finally:
            self.keep()

    # By a task's thread

    def wait(self) -> None:
        """Wait for the turn of tasks before beginning one."""
        if self._is_taken:
            self._is_given.wait(WAIT_SECONDS)

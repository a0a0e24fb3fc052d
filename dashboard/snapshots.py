"""Answers that many operators share for a few seconds, each with its age.

Kept in this process: nothing to set up, nothing to unpickle, and gone with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

KEYS_MAX = 200


@dataclass(frozen=True)
class Snapshot:
    """A value and when, on this process's monotonic clock, it was made."""

    value: Any
    made: float

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self.made


_snapshots: dict[tuple, Snapshot] = {}
_lock = threading.Lock()


def shared(seconds: float) -> Callable[[Callable[..., Any]], Callable[..., Snapshot]]:
    """Let a function answer all who ask the same within so many seconds; it returns a Snapshot."""

    def decorate(make: Callable[..., Any]) -> Callable[..., Snapshot]:
        @wraps(make)
        def answer(*arguments: Any) -> Snapshot:
            key = (make.__module__, make.__qualname__, *arguments)
            found = _snapshots.get(key)
            if found is None or found.age >= seconds:
                # Two who ask at once both make it: cheaper than one who waits for the other.
                found = Snapshot(make(*arguments), time.monotonic())
                _keep(key, found)
            return found

        return answer

    return decorate


def _keep(key: tuple, snapshot: Snapshot) -> None:
    with _lock:
        if len(_snapshots) >= KEYS_MAX:
            _snapshots.clear()
        _snapshots[key] = snapshot


def forget() -> None:
    """Drop them all: after an act its operator must see what came of it."""
    _snapshots.clear()

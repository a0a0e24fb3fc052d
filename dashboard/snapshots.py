"""Answers that many operators share for a few seconds, each with its age.

Kept in this process: nothing to set up, nothing to unpickle, and gone with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

KEYS_MAX = 200


@dataclass(frozen=True)
class Snapshot:
    """A value and when, on this process's monotonic clock, it was made."""

    value: Any
    made: float
    # Markup that shows it, by what else it depends on: the next who looks is given the same.
    drawn: dict[tuple, str] = field(default_factory=dict, compare=False)

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self.made


_snapshots: dict[tuple, Snapshot] = {}
# What is being made now, for those who ask for the same meanwhile.
_pending: dict[tuple, Future[Snapshot]] = {}
_lock = threading.Lock()


class Shared:
    """A function that answers all who ask the same within some seconds; gives a Snapshot."""

    def __init__(self, make: Callable[..., Any], seconds: float) -> None:
        self.make = make
        self.seconds = seconds

    def __call__(self, *arguments: Any) -> Snapshot:
        return self.within(self.seconds, *arguments)

    def within(self, seconds: float, *arguments: Any) -> Snapshot:
        """An answer that is younger than so many seconds."""
        key = (self.make.__module__, self.make.__qualname__, *arguments)
        found = _snapshots.get(key)
        if found is not None and found.age < seconds:
            return found
        return _make_once(key, lambda: self.make(*arguments))


def shared(seconds: float) -> Callable[[Callable[..., Any]], Shared]:
    """Let a function answer all who ask the same within so many seconds."""
    return lambda make: Shared(make, seconds)


def _make_once(key: tuple, make: Callable[[], Any]) -> Snapshot:
    """Make it, or wait for who is making it: where it takes long, twenty at once would take twenty times."""
    with _lock:
        pending = _pending.get(key)
        mine: Future[Snapshot] = Future()
        if pending is None:
            _pending[key] = mine
    if pending is not None:
        return pending.result()
    try:
        snapshot = Snapshot(make(), time.monotonic())
        _finish(key, mine, snapshot)
        mine.set_result(snapshot)
        return snapshot
    except BaseException as error:
        _finish(key, mine)
        mine.set_exception(error)
        raise


def _finish(key: tuple, mine: Future[Snapshot], snapshot: Snapshot | None = None) -> None:
    with _lock:
        # Otherwise all was forgotten meanwhile: it may tell of a time before an act.
        is_current = _pending.get(key) is mine
        if is_current:
            del _pending[key]
    if is_current and snapshot is not None:
        _keep(key, snapshot)


def _keep(key: tuple, snapshot: Snapshot) -> None:
    with _lock:
        if len(_snapshots) >= KEYS_MAX:
            _snapshots.clear()
        _snapshots[key] = snapshot


def forget() -> None:
    """Drop them all: after an act its operator must see what came of it."""
    with _lock:
        _snapshots.clear()
        _pending.clear()

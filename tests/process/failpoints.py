"""A worker of the tests that dies, or stops, at one chosen point of its cycle, the first time it gets there.

An app of the worker processes' settings alone: it wraps what the engine calls, and the engine knows nothing
of it. Whoever gets there first leaves its pid and the moment in a file; the others pass.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from django.apps import AppConfig

POINT, NUMBER = "DBQ_TEST_FAILPOINT", "DBQ_TEST_FAILPOINT_SIGNAL"
FILE = "failpoint"


class Failpoints(AppConfig):
    name = "tests.process"
    label = "failpoints"

    def ready(self) -> None:
        from dbq import transitions
        from dbq.engine import Engine

        points: dict[str, tuple[Any, str, Callable]] = {
            "claimed, not committed": (transitions, "claim", fail_after),
            "claim committed": (Engine, "_take_in", fail_before),
            "results not recorded": (transitions, "record", fail_before),
            "results recorded, not committed": (transitions, "record", fail_after),
            "results committed": (Engine, "_settle", fail_before),
            "about to rescue": (transitions, "rescue", fail_before),
        }
        owner, name, wrap = points[os.environ[POINT]]
        setattr(owner, name, wrap(getattr(owner, name)))


def fail_before(function: Callable) -> Callable:
    """Fail when it is called with something to do."""

    @wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        if all(not isinstance(argument, list) or argument for argument in arguments):
            fail()
        return function(*arguments, **options)

    return wrapper


def fail_after(function: Callable) -> Callable:
    """Fail when it has done something."""

    @wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        answer = function(*arguments, **options)
        if answer:
            fail()
        return answer

    return wrapper


def fail() -> None:
    from tests.process import ledger

    path = Path(os.environ[ledger.FOLDER]) / FILE
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    os.write(file, f"{os.getpid()} {time.monotonic()}\n".encode())
    os.close(file)
    os.kill(os.getpid(), int(os.environ.get(NUMBER, signal.SIGKILL)))


def read_failure(folder: Path) -> tuple[int, float] | None:
    """Which process failed and when, if one has."""
    path = folder / FILE
    words = path.read_text().split() if path.exists() else []
    return (int(words[0]), float(words[1])) if len(words) == 2 else None

"""The DBQ setting: its keys, their defaults and their rules, read when they are asked for."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from dbq.exceptions import ConfigurationError


@dataclass(frozen=True)
class Configuration:
    """settings.DBQ with the defaults filled in; the times are in seconds."""

    # How long a worker's claims are honoured without a sign of life.
    LEASE_SECONDS: float = 60
    # Between two signs of life; several must fit into one lease.
    HEARTBEAT_SECONDS: float = 10
    # Between two looks for dead workers, due deltas and resumable queues.
    SWEEP_SECONDS: float = 10
    # What running tasks get to end by themselves when their worker is told to stop.
    SHUTDOWN_SECONDS: float = 25
    # From the soft time-out (an exception in the task) to the hard one (the end of its process).
    HARD_TIMEOUT_GRACE_SECONDS: float = 30
    # A job that was running this many times when its worker died is FAILED.
    MAX_CRASHES: int = 3
    # The longest wait between two attempts, whatever the back-off says.
    BACKOFF_MAX_SECONDS: float = 3600
    # The workspace as JSON text in UTF-8.
    WORKSPACE_MAX_BYTES: int = 1024 * 1024
    # MariaDB reads 31 levels of JSON, of which the patch that changes a workspace takes two.
    WORKSPACE_MAX_DEPTH: int = 20
    # The end of a longer traceback is kept: that is where the error is.
    TRACEBACK_MAX_CHARACTERS: int = 16_000
    # Longest wait between two looks at an idle queue; None takes what suits the database.
    POLL_SECONDS: float | None = None
    # Jobs a worker claims ahead while they are short.
    PREFETCH: int = 1000
    # PostgreSQL: wake workers by NOTIFY. Polling goes on all the same.
    NOTIFY: bool = True
    # Keys (parts of them, any case) whose values are masked beside Django's own pattern.
    SECRET_KEYS: list = field(default_factory=list)
    # What the console shows beside its name, so that nobody takes production for staging.
    ENVIRONMENT: str = ""


RULES = {
    "LEASE_SECONDS": "a number above 0",
    "HEARTBEAT_SECONDS": "a number above 0",
    "SWEEP_SECONDS": "a number above 0",
    "SHUTDOWN_SECONDS": "a number of 0 or more",
    "HARD_TIMEOUT_GRACE_SECONDS": "a number above 0",
    "MAX_CRASHES": "a whole number above 0",
    "BACKOFF_MAX_SECONDS": "a number above 0",
    "WORKSPACE_MAX_BYTES": "a whole number above 0",
    "WORKSPACE_MAX_DEPTH": "a whole number from 1 to 29",
    "TRACEBACK_MAX_CHARACTERS": "a whole number above 0",
    "POLL_SECONDS": "a number above 0, or None",
    "PREFETCH": "a whole number of 0 or more",
    "NOTIFY": "True or False",
    "SECRET_KEYS": "a list of strings",
    "ENVIRONMENT": "a text of at most 40 characters",
}


@cache
def get_configuration() -> Configuration:
    """Read settings.DBQ; raise ConfigurationError with the first rule it breaks."""
    given = getattr(settings, "DBQ", {})
    for problem in find_problems(given):
        raise ConfigurationError(problem)
    return Configuration(**given)


def find_problems(given: Any) -> Iterator[str]:
    """Say, a sentence each, what is wrong with a DBQ setting."""
    if not isinstance(given, dict):
        yield f"settings.DBQ must be a dict, not {type(given).__name__}."
        return
    for key, value in given.items():
        if key not in RULES:
            yield f'settings.DBQ["{key}"] is not a setting of dbq.{_suggest(key)}'
        elif not _keeps_rule(RULES[key], value):
            yield f'settings.DBQ["{key}"] must be {RULES[key]}, not {value!r}.'
        else:
            continue
        return
    configuration = Configuration(**given)
    if configuration.HEARTBEAT_SECONDS * 3 > configuration.LEASE_SECONDS:
        yield (
            f'settings.DBQ["LEASE_SECONDS"] ({configuration.LEASE_SECONDS}) must be at least three'
            f' times settings.DBQ["HEARTBEAT_SECONDS"] ({configuration.HEARTBEAT_SECONDS}).'
        )


def _keeps_rule(rule: str, value: Any) -> bool:
    if rule == "True or False":
        return isinstance(value, bool)
    if rule == "a list of strings":
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if rule == "a text of at most 40 characters":
        return isinstance(value, str) and len(value) <= 40
    if value is None:
        return rule.endswith("or None")
    kinds = (int,) if rule.startswith("a whole number") else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or value == float("inf"):
        return False
    if "from 1 to 29" in rule:
        return 1 <= value <= 29
    return value >= 0 if "0 or more" in rule else value > 0


def _suggest(key: object) -> str:
    near = difflib.get_close_matches(str(key), [f.name for f in fields(Configuration)], n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "DBQ":
        get_configuration.cache_clear()


setting_changed.connect(_forget)

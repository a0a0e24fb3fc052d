"""What a queue must tell about itself to be measured for speed beside others.

Each has one file here, which says how to set it up, and one in `projects`, which is run in its own
environment and does what its users would do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pace:
    """One way to run a queue's workers, by options that its documentation offers."""

    # The options in words, for the document.
    options: str
    # A program of the queue's environment, and its arguments.
    worker: tuple[str, ...]
    # How many of these to start.
    commands: int = 1
    # Django's settings, beside those that all share; of them, what DATABASES["default"] adds.
    settings: dict[str, Any] = field(default_factory=dict)
    database: dict[str, Any] = field(default_factory=dict)
    # For the environment of its processes.
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Copies:
    """Rows made of one that is there, by PostgreSQL itself; `n` counts them from 1."""

    table: str
    # Which row to copy.
    where: str
    # What differs, as SQL by the column.
    changes: dict[str, str]


@dataclass(frozen=True)
class Tables:
    """How to look into a queue's tables, and to fill them, behind its back."""

    # Asks how many jobs are due or running: 0 once the last completion is committed.
    unfinished: str
    # Those that jobs pass through.
    names: tuple[str, ...]
    # One finished job more for each copy.
    finished: tuple[Copies, ...] = ()
    # One job more that is due in a year.
    scheduled: tuple[Copies, ...] = ()


@dataclass(frozen=True)
class Contender:
    """One queue, and how its users would install and run it."""

    name: str
    # The name of its module in `projects`.
    module: str
    # For pip, pinned; the first is the queue itself.
    requirements: tuple[str, ...]
    tables: Tables
    # By name: default, tuned, two (worker processes, tuned), single (one task at a time).
    paces: dict[str, Pace]
    # Django's applications; none if it is used without Django.
    applications: tuple[str, ...] = ()
    databases: tuple[str, ...] = ("postgresql",)
    # What a reader must know to read its figures.
    remarks: tuple[str, ...] = ()

    @property
    def distribution(self) -> str:
        return re.split(r"[\[=]", self.requirements[0])[0]


# Ids for copies, and a time at which nothing is due.
NUMBER = "-n"
UUID = "gen_random_uuid()"
NEXT_YEAR = "now() + interval '1 year'"

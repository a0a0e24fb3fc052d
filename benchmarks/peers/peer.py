"""What a queue must tell about itself to be measured beside others.

Each peer has one file here, which says how to set it up, and one in `projects`, which is run in the
peer's own environment and does what its users would do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

# For a peer that promises nothing: as long as the promises of the others take.
SILENCE_SECONDS = 90


@dataclass(frozen=True)
class Variant:
    """One way to set a peer up, by options that its documentation offers."""

    name: str
    # The options in words, for the table.
    options: str
    # Django's settings for it.
    settings: dict[str, Any]
    # Within which a job of a dead worker runs again, by the documentation; None if it never does.
    recovery_seconds: float | None = None

    @property
    def fair_seconds(self) -> float:
        """How long nothing may move before it is fair to call what is unfinished stuck."""
        if self.recovery_seconds is None:
            return SILENCE_SECONDS
        return 1.2 * self.recovery_seconds + 30


@dataclass(frozen=True)
class Peer:
    """One queue, and how its users would install and run it."""

    name: str
    # The name of its module in `projects`.
    module: str
    # For pip, pinned; the first is the peer itself.
    requirements: tuple[str, ...]
    applications: tuple[str, ...]
    # The command of Django's that is one of its workers.
    worker: tuple[str, ...]
    # How many of these to start, so that every peer runs four tasks at once.
    commands: int
    # What it says of jobs whose worker dies.
    promise: str
    # Its own names of states.
    completed: frozenset[str]
    failed: frozenset[str]
    variants: tuple[Variant, ...] = field(default=())

    @property
    def distribution(self) -> str:
        return re.split(r"[\[=]", self.requirements[0])[0]

    @property
    def finished(self) -> frozenset[str]:
        return self.completed | self.failed


# Of a job that the peer's tables no longer know.
GONE = "gone"

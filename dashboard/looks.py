"""The one map from a state to its word, icon and colour, for badges, tables, charts and timelines.

A tone names the CSS token --tone-<tone>; an icon names the symbol #i-<icon> of components/_icons.html.
"""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from dbq.models import Operation
from dbq.states import Outcome, State

SCHEDULED = "SCHEDULED"


@dataclass(frozen=True)
class Look:
    word: str | Promise
    icon: str
    tone: str


# In the order in which a job passes through them.
STATES = {
    State.NEW: Look(_("New"), "new", "new"),
    State.READY: Look(_("Ready"), "ready", "ready"),
    SCHEDULED: Look(_("Scheduled"), "clock", "scheduled"),
    State.PROCESSING: Look(_("Processing"), "processing", "processing"),
    State.COMPLETED: Look(_("Completed"), "check", "completed"),
    State.FAILED: Look(_("Failed"), "failed", "failed"),
    State.CANCELLED: Look(_("Cancelled"), "cancelled", "cancelled"),
}

OUTCOMES = {
    Outcome.RUNNING: Look(_("Running"), "processing", "processing"),
    Outcome.COMPLETED: Look(_("Completed"), "check", "completed"),
    Outcome.FAILED: Look(_("Failed"), "failed", "failed"),
    Outcome.RETRIED: Look(_("Failed, tries again"), "retry", "scheduled"),
    Outcome.RELEASED: Look(_("Given back"), "release", "ready"),
    Outcome.LOST: Look(_("Worker lost"), "lost", "failed"),
    Outcome.CANCELLED: Look(_("Cancelled"), "cancelled", "cancelled"),
    Outcome.EDITED: Look(_("Edited"), "edit", "new"),
}

OPERATIONS = {
    Operation.State.RUNNING: Look(_("Running"), "processing", "processing"),
    Operation.State.DONE: Look(_("Done"), "check", "completed"),
    Operation.State.STOPPED: Look(_("Stopped"), "stop", "cancelled"),
    Operation.State.REFUSED: Look(_("Refused"), "lock", "failed"),
}

# How a queue, or the whole, is doing: from calm to alarm.
LIGHTS = {
    "good": Look(_("Healthy"), "check", "completed"),
    "paused": Look(_("Paused"), "pause", "cancelled"),
    "warning": Look(_("Look at it"), "warning", "warning"),
    "alarm": Look(_("Needs you"), "alarm", "failed"),
}

UNKNOWN = Look(_("Unknown"), "info", "cancelled")


def find_look(value: object) -> Look:
    """The look of a state of a job, an outcome of an attempt or a state of an operation."""
    maps: tuple[dict, ...] = (STATES, OUTCOMES, OPERATIONS)
    if isinstance(value, Outcome):
        maps = (OUTCOMES,)
    elif isinstance(value, Operation.State):
        maps = (OPERATIONS,)
    return next((looks[value] for looks in maps if value in looks), UNKNOWN)

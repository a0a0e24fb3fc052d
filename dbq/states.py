"""The words for where a job stands and how one run of a task ended."""

from django.db import models


class State(models.TextChoices):
    # Created; none of its tasks has run.
    NEW = "NEW", "New"
    # One of its tasks has run before, or it was retried; waits for a worker.
    READY = "READY", "Ready"
    # A worker holds it.
    PROCESSING = "PROCESSING", "Processing"
    # All its tasks ran to their end.
    COMPLETED = "COMPLETED", "Completed"
    # A task raised, or crashed its worker too often.
    FAILED = "FAILED", "Failed"
    # An operator stopped it.
    CANCELLED = "CANCELLED", "Cancelled"


WAITING = (State.NEW, State.READY)
FINISHED = (State.COMPLETED, State.FAILED, State.CANCELLED)
# What an operator may set going again, and by which verb.
RETRYABLE = (State.FAILED, State.CANCELLED)
REQUEUEABLE = FINISHED


class Lane(models.IntegerChoices):
    """Which index a job stands in: the engine's own view of its state."""

    FINISHED = 0
    CLAIMABLE = 1
    # Waits for run_after, or for its back-off to pass.
    WAITING = 2
    RUNNING = 3


class Outcome(models.TextChoices):
    """How one run of a task ended; every value but RUNNING is final."""

    # Written by a checkpoint; the run goes on.
    RUNNING = "RUNNING", "Running"
    COMPLETED = "COMPLETED", "Completed"
    FAILED = "FAILED", "Failed"
    # Failed, and its job will try again by itself.
    RETRIED = "RETRIED", "Retried"
    # Given back by a stopping worker before it ended.
    RELEASED = "RELEASED", "Released"
    # Its worker died or lost its lease.
    LOST = "LOST", "Lost"
    CANCELLED = "CANCELLED", "Cancelled"
    # Not a run: an operator changed the workspace here.
    EDITED = "EDITED", "Edited"

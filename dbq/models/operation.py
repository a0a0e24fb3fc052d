from django.db import models
from django.utils.translation import gettext_lazy as _


class Operation(models.Model):
    """One act of an operator, on one job, on a queue or on all jobs that match: kept for good."""

    class State(models.TextChoices):
        # A bulk act that waits for, or is in, its next chunk.
        RUNNING = "RUNNING", _("Running")
        DONE = "DONE", _("Done")
        STOPPED = "STOPPED", _("Stopped")
        # The guard or the permissions said no; `message` says why.
        REFUSED = "REFUSED", _("Refused")

    created = models.DateTimeField(db_index=True)
    # Copied, not linked: the record outlives the account.
    actor_id = models.CharField(max_length=64, blank=True, default="")
    actor_name = models.CharField(max_length=150, blank=True, default="")
    verb = models.CharField(max_length=30)
    job_id = models.UUIDField(null=True, db_index=True)
    queue_name = models.CharField(max_length=50, blank=True, default="")
    # Of a bulk act: the query string with which the job list shows the same jobs.
    filters = models.TextField(blank=True, default="")
    options = models.JSONField(default=dict)
    reason = models.CharField(max_length=500, blank=True, default="")
    state = models.CharField(max_length=10, choices=State.choices, default=State.DONE, db_index=True)
    message = models.TextField(blank=True, default="")
    # Bulk: which jobs are meant (see dbq.criteria), or exactly these, in the order of their ids.
    criteria = models.JSONField(default=list)
    job_ids = models.JSONField(null=True)
    # Bulk: jobs made or finished after the confirmation are left alone; the first by their ids.
    as_of = models.DateTimeField(null=True)
    upper_bound = models.UUIDField(null=True)
    # Bulk: the last id that has been dealt with, and when that was.
    cursor = models.UUIDField(null=True)
    progressed = models.DateTimeField(null=True)
    # Bulk: how many jobs matched at the confirmation, or at least so many; NULL if nobody could say.
    matched = models.BigIntegerField(null=True)
    is_at_least = models.BooleanField(default=False)
    done = models.BigIntegerField(default=0)
    skipped = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    finished = models.DateTimeField(null=True)

    class Meta:
        db_table = "dbq_operation"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.verb} by {self.actor_name or 'nobody'}"

    @property
    def is_bulk(self) -> bool:
        """Whether it acts on all jobs that match, in chunks."""
        return self.as_of is not None

    @property
    def is_running(self) -> bool:
        return self.state == self.State.RUNNING

    @property
    def is_refused(self) -> bool:
        return self.state == self.State.REFUSED

    @property
    def seen(self) -> int:
        """How many jobs it has dealt with so far."""
        return self.done + self.skipped + self.failed


class OperationItem(models.Model):
    """What a bulk operation did to one job."""

    class Outcome(models.TextChoices):
        DONE = "DONE", _("Done")
        SKIPPED = "SKIPPED", _("Skipped")
        FAILED = "FAILED", _("Failed")

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="items")
    job_id = models.UUIDField(db_index=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        db_table = "dbq_operation_item"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.job_id} {self.outcome}"

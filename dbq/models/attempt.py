from django.db import models

from dbq.states import Outcome


class Attempt(models.Model):
    """One run of one task, or one edit of the workspace by an operator: the history of a job."""

    # Without a constraint: retention deletes both in one transaction, and a check per row would cost.
    job = models.ForeignKey("dbq.Job", on_delete=models.CASCADE, related_name="attempts", db_constraint=False)
    task = models.CharField(max_length=200)
    number = models.PositiveSmallIntegerField()
    fence = models.IntegerField()
    worker_name = models.CharField(max_length=255, blank=True, default="")
    started = models.DateTimeField(null=True)
    finished = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    error_type = models.CharField(max_length=200, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    traceback = models.TextField(blank=True, default="")
    fingerprint = models.CharField(max_length=16, blank=True, default="")
    # RFC 6902: what this run changed in the job's workspace for good.
    changes = models.JSONField(null=True)
    # RFC 6902, from there on: what a failed run had changed and nobody will see but an operator.
    discarded_changes = models.JSONField(null=True)

    class Meta:
        db_table = "dbq_attempt"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.task} #{self.number} {self.outcome}"

from django.db import models

from dbq.dialects import ExactCharField


class Figures(models.Model):
    """What happened in one minute to the jobs of one name in one queue."""

    minute = models.DateTimeField()
    queue_name = ExactCharField(max_length=50)
    name = ExactCharField(max_length=100)
    # Jobs made in that minute, counted when they are first claimed, cancelled or edited.
    created = models.IntegerField(default=0)
    completed = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)
    cancelled = models.IntegerField(default=0)
    retried = models.IntegerField(default=0)
    # Waits end with a claim, runs with a task's end. Counts are the sums of the histograms.
    wait_seconds = models.FloatField(default=0)
    run_seconds = models.FloatField(default=0)
    # {bucket: count}; dbq.histograms says what a bucket spans.
    waits = models.JSONField(default=dict)
    runs = models.JSONField(default=dict)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.queue_name} {self.name}"


class Rollup(Figures):
    """The figures of one minute, but for the deltas not folded in yet."""

    class Meta:
        db_table = "dbq_rollup"
        constraints = (
            models.UniqueConstraint(fields=("minute", "queue_name", "name"), name="dbq_rollup_unique"),
        )


class RollupDelta(Figures):
    """A part of a Rollup, written in the transaction that moved the jobs."""

    class Meta:
        db_table = "dbq_rollup_delta"

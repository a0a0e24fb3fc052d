from django.db import models

from dbq.dialects import ExactCharField
from dbq.states import State


class QueueCount(models.Model):
    """How many finished jobs of one state a queue has, but for the deltas not folded in yet."""

    queue_name = ExactCharField(max_length=50)
    state = models.CharField(max_length=10, choices=State.choices)
    amount = models.BigIntegerField(default=0)
    # Set by a recount: when the total was last taken from the jobs themselves.
    recounted = models.DateTimeField(null=True)

    class Meta:
        db_table = "dbq_queue_count"
        constraints = (
            models.UniqueConstraint(fields=("queue_name", "state"), name="dbq_queue_count_unique"),
        )

    def __str__(self) -> str:
        return f"{self.queue_name} {self.state}: {self.amount}"


class QueueCountDelta(models.Model):
    """A change of a QueueCount, written in the transaction that changed the jobs.

    One row for each change instead of one hot total, so that workers never wait for each other.
    """

    queue_name = ExactCharField(max_length=50)
    state = models.CharField(max_length=10, choices=State.choices)
    amount = models.IntegerField()

    class Meta:
        db_table = "dbq_queue_count_delta"

    def __str__(self) -> str:
        return f"{self.queue_name} {self.state}: {self.amount:+}"

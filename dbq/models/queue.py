from typing import Any

from django.db import models
from django.db.models import Q

from dbq.dialects import ExactCharField
from dbq.dialects.base import AskedNow, DatabaseNow, question


class QueueQuerySet(models.QuerySet):
    def paused(self) -> "QueueQuerySet":
        """Queues whose jobs are not claimed now: paused, and not past their automatic resume."""
        return self.filter(is_paused())


def is_paused(moment: Any = None) -> Q:
    """The condition under which a queue's row holds its jobs back, now or at that moment."""
    moment = DatabaseNow() if moment is None else moment
    return Q(paused_at__isnull=False) & (Q(paused_until__isnull=True) | Q(paused_until__gt=moment))


@question
def find_paused(alias: str) -> models.QuerySet:
    """The names of the queues that are paused when it is asked, each in a row."""
    return Queue.objects.using(alias).filter(is_paused(AskedNow())).values_list("name")


@question
def find_pause(alias: str) -> models.QuerySet:
    """The name of one of the queues that are paused: the question before all of them are read."""
    return find_paused(alias).order_by()[:1]


class Queue(models.Model):
    """What operators said about a queue; a queue they said nothing about has no row."""

    name = ExactCharField(max_length=50, primary_key=True)
    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(max_length=150, blank=True, default="")
    paused_reason = models.CharField(max_length=500, blank=True, default="")
    # Resumes by itself at this time; NULL waits for an operator.
    paused_until = models.DateTimeField(null=True)

    objects = QueueQuerySet.as_manager()

    class Meta:
        db_table = "dbq_queue"
        ordering = ("name",)
        permissions = (("pause_queue", "Can pause and resume queues"),)

    def __str__(self) -> str:
        return self.name

    def pause(self, **options: Any) -> bool:
        """Stop the queue's jobs from being claimed; see dbq.transitions.pause_queue."""
        from dbq import transitions

        return transitions.pause_queue(self.name, **options)

    def resume(self) -> bool:
        """Let the queue's jobs be claimed again."""
        from dbq import transitions

        return transitions.resume_queue(self.name)

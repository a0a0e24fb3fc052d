from django.db import models

from dbq.dialects.base import DatabaseNow


class WorkerQuerySet(models.QuerySet):
    def alive(self) -> "WorkerQuerySet":
        """Workers whose lease holds, by the database's clock."""
        return self.filter(expires_at__gt=DatabaseNow())


class Worker(models.Model):
    """A process that runs jobs: its row while it lives, and a while after its death."""

    name = models.CharField(max_length=255)
    host = models.CharField(max_length=200)
    pid = models.IntegerField()
    # The process that would notice its death at once; the workers of one command share it.
    supervisor_pid = models.IntegerField(null=True)
    queue_names = models.JSONField(default=list)
    threads = models.PositiveSmallIntegerField(default=1)
    version = models.CharField(max_length=50)
    started = models.DateTimeField()
    beat = models.DateTimeField()
    # The lease of everything this worker has claimed. NULL: declared dead, its jobs are free to rescue.
    expires_at = models.DateTimeField(null=True)
    jobs_done = models.BigIntegerField(default=0)
    memory_bytes = models.BigIntegerField(default=0)
    stop_requested = models.BooleanField(default=False)

    objects = WorkerQuerySet.as_manager()

    class Meta:
        db_table = "dbq_worker"
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name

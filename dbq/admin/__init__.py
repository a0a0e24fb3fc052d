"""The queue in Django's admin: the same verbs, permissions and words as the dashboard."""

from dbq.admin.jobs import JobAdmin
from dbq.admin.operations import OperationAdmin
from dbq.admin.queues import QueueAdmin
from dbq.admin.workers import WorkerAdmin

__all__ = ["JobAdmin", "OperationAdmin", "QueueAdmin", "WorkerAdmin"]

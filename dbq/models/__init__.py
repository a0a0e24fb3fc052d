"""The tables, one noun a file."""

from dbq.models.attempt import Attempt
from dbq.models.count import QueueCount, QueueCountDelta
from dbq.models.job import Job
from dbq.models.operation import Operation, OperationItem
from dbq.models.queue import Queue
from dbq.models.rollup import Rollup, RollupDelta
from dbq.models.worker import Worker

__all__ = [
    "Attempt",
    "Job",
    "Operation",
    "OperationItem",
    "Queue",
    "QueueCount",
    "QueueCountDelta",
    "Rollup",
    "RollupDelta",
    "Worker",
]

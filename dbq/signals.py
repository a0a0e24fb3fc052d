"""What happened to jobs and workers, for whoever wants to listen.

Job signals carry `job`; `job_failed` and `job_retried` also `exception` (None when a crash or an
operator was the cause). Worker signals carry `worker`. A receiver that raises is logged and changes
nothing: the transition it hears about has been committed.
"""

import logging
from typing import Any

from django.dispatch import Signal

from dbq.logs import about

logger = logging.getLogger("dbq")

job_created = Signal()
job_claimed = Signal()
job_completed = Signal()
job_failed = Signal()
job_retried = Signal()
job_cancelled = Signal()
worker_started = Signal()
worker_stopped = Signal()


def announce(signal: Signal, sender: type, **named: Any) -> None:
    """Send a signal to those who listen, and log the receivers that raise."""
    if not signal.receivers:
        return
    for receiver, answer in signal.send_robust(sender, **named):
        if isinstance(answer, Exception):
            extra = about(named["job"]) if "job" in named else {}
            logger.error("The signal receiver %r raised.", receiver, exc_info=answer, extra=extra)

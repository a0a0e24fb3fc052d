"""Log lines of a worker: what each says about its job, how that reads, and what it never says."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

from dbq.masking import mask_traceback

if TYPE_CHECKING:
    from dbq.models import Job

FORMAT = "%(asctime)s %(process)d %(levelname)s %(message)s"
LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG, 3: logging.DEBUG}
SHOWN = ("queue_name", "task", "attempt", "worker")
# Of a longer traceback the end is looked at for secrets, and kept.
TRACEBACK_MAX_CHARACTERS = 100_000


def about(job: Job, task: str = "", attempt: int = 0) -> dict[str, Any]:
    """The fields of a log line about a job, for `extra`: the run that is meant, or the job's next one."""
    return {
        "job_id": str(job.id),
        "job_name": job.name,
        "queue_name": job.queue_name,
        "task": task or job.next_task,
        "attempt": attempt or job.attempt,
        "worker": job._worker_name,
    }


class JobFormatter(logging.Formatter):
    """Writes behind each line about a job what the line itself leaves out: [queue_name=… task=… …]."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        text = super().formatMessage(record)
        if not hasattr(record, "job_id"):
            return text
        names = SHOWN if record.job_id in text else ("job_id", *SHOWN)
        pairs = [f"{name}={getattr(record, name)}" for name in names if getattr(record, name, "")]
        return f"{text} [{' '.join(pairs)}]"


class MaskedTracebacks(logging.Filter):
    """Replaces the exception of a log line by its traceback as text, with what looks secret hidden.

    The exception itself goes: whatever handler comes next would write it down as it is.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = _format(record.exc_info)
            record.exc_info = None
        return True


def _format(exc_info: Any) -> str:
    try:
        lines = traceback.format_exception(*exc_info)
    except Exception:
        # An exception may misbehave when it is looked at; its type is known all the same.
        lines = [exc_info[0].__qualname__]
    return mask_traceback("".join(lines)[-TRACEBACK_MAX_CHARACTERS:]).rstrip("\n")


def hide_secrets() -> None:
    """Mask the tracebacks of all that dbq logs, whoever writes them down."""
    logger = logging.getLogger("dbq")
    if not any(isinstance(known, MaskedTracebacks) for known in logger.filters):
        logger.addFilter(MaskedTracebacks())


def log_to_terminal(verbosity: int) -> None:
    """Show dbq's log lines on standard error, unless the host's logging takes them already."""
    logger = logging.getLogger("dbq")
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JobFormatter(FORMAT))
    logger.addHandler(handler)
    logger.setLevel(LEVELS[verbosity])

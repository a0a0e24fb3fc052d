"""What a worker says about results that have been committed: log lines and signals."""

from __future__ import annotations

import logging
from collections import Counter

from dbq import signals
from dbq.logs import about
from dbq.models.job import Job
from dbq.results import Result
from dbq.states import Outcome

logger = logging.getLogger("dbq")

# More ends than this in one transaction are told in one line.
LINES_MAX = 20


def log_ends(results: list[Result]) -> None:
    """Log the jobs that completed: each by itself, or how many when there are many."""
    if not logger.isEnabledFor(logging.INFO):
        return
    ended = [r for r in results if r.outcome == Outcome.COMPLETED and r.next_task is None]
    if len(ended) > LINES_MAX:
        amounts = Counter(result.job.name for result in ended)
        logger.info("Completed %s.", ", ".join(f"{n} × {name}" for name, n in amounts.items()))
    else:
        for result in ended:
            extra = about(result.job, result.task, result.number)
            logger.info("Job %s %s completed.", result.job.name, result.job.id, extra=extra)


def is_silent() -> bool:
    """Whether nobody would hear of the end of a job that completed."""
    return not (
        signals.job_completed.receivers or signals.job_cancelled.receivers
    ) and not logger.isEnabledFor(logging.DEBUG)


def announce(result: Result) -> None:
    """Tell whoever listens how one run ended."""
    job, outcome = result.job, result.outcome
    ended = outcome == Outcome.COMPLETED and result.next_task is None
    if outcome == Outcome.FAILED:
        _log_failure(result)
        signals.announce(signals.job_failed, Job, job=job, exception=result.exception)
    elif outcome == Outcome.RETRIED:
        _log_failure(result)
        signals.announce(signals.job_retried, Job, job=job, exception=result.exception)
    elif outcome == Outcome.CANCELLED or result.cancels:
        signals.announce(signals.job_cancelled, Job, job=job)
    elif ended:
        signals.announce(signals.job_completed, Job, job=job)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "Job %s %s: %s %s in %.3f s.",
            job.name,
            job.id,
            result.task,
            outcome,
            result.seconds,
            extra=about(job, result.task, result.number),
        )


def _log_failure(result: Result) -> None:
    failure = result.failure
    reason = f"{failure.error_type}: {failure.message}" if failure else "no reason given"
    then = f"; runs again in {result.delay:.1f} s" if result.outcome == Outcome.RETRIED else ""
    logger.warning(
        "Job %s %s failed in %s, attempt %d%s: %s",
        result.job.name,
        result.job.id,
        result.task,
        result.number,
        then,
        reason.splitlines()[0][:500] if reason else "",
        extra=about(result.job, result.task, result.number),
    )

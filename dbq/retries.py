"""When a failed task runs again: pure functions of the attempt's number."""

import random

JITTER = 0.2


def may_retry(attempt: int, max_attempts: int) -> bool:
    """Whether a task that has just failed for the `attempt`-th time (from 1) gets another run."""
    return attempt < max_attempts


def delay_seconds(attempt: int, base: float, ceiling: float) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): base · 2^(attempt−1), ± 20 %.

    At most `ceiling` before that spread. Exponential back-off with jitter, so that jobs that failed
    together do not return together.
    """
    delay = min(ceiling, base * 2 ** min(attempt - 1, 30))
    return delay * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (spread, not secrecy)

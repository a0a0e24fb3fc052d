"""Telling sleeping workers that there is work: after the commit, and not for every job.

A call is a hint, never needed: workers look at their queues anyway. PostgreSQL serialises the commits
of transactions that notify, so calls are made outside of them, and a process repeats a call for the
same queue only after a pause. A worker that was called looks often for longer than that pause, so
the calls left out cost nothing.
"""

import logging
import threading
import time
from collections.abc import Iterable
from functools import partial

from django.db import DatabaseError, connections, transaction

from dbq.conf import get_configuration
from dbq.dialects import get_dialect

logger = logging.getLogger("dbq")

PAUSE_SECONDS = 0.02
# How long a worker looks often after there was work: one that can be called until whoever kept silent
# meanwhile would call anew, any other for as long as more is likely to come.
CALLED_ALERT_SECONDS = 2.5 * PAUSE_SECONDS
ALERT_SECONDS = 0.2

_lock = threading.Lock()
_last_calls: dict[tuple[str, str], float] = {}


def call_after_commit(alias: str, queue_names: Iterable[str]) -> None:
    """Call the workers of these queues once the current transaction has committed."""
    if connections[alias].vendor == "postgresql" and get_configuration().NOTIFY:
        transaction.on_commit(partial(_call, alias, frozenset(queue_names)), using=alias)


def take_call(alias: str, queue_name: str) -> bool:
    """Whether whoever commits a job of that queue now, in one statement, is to call along with it.

    If so the call counts as made: `give_back_call` says that it was not.
    """
    connection = connections[alias]
    return (
        get_dialect(alias).can_call_along()
        and get_configuration().NOTIFY
        and connection.get_autocommit()
        and not connection.in_atomic_block
        and _may_call((alias, queue_name))
    )


def give_back_call(alias: str, queue_name: str) -> None:
    with _lock:
        _last_calls.pop((alias, queue_name), None)


def _call(alias: str, queue_names: frozenset[str]) -> None:
    names = [name for name in sorted(queue_names) if _may_call((alias, name))]
    try:
        if names:
            get_dialect(alias).notify(names)
    except DatabaseError:
        # The jobs are committed; failing their creator now would be a lie.
        report_failed_call(names)


def report_failed_call(queue_names: Iterable[str]) -> None:
    """Log the exception that is being handled."""
    logger.warning("Workers of %s could not be called.", ", ".join(queue_names), exc_info=True)


def _may_call(key: tuple[str, str]) -> bool:
    now = time.monotonic()
    with _lock:
        if now - _last_calls.get(key, -PAUSE_SECONDS) < PAUSE_SECONDS:
            return False
        _last_calls[key] = now
        return True

"""Running one task: hooks around it, its outcome as a result, and the thread left as it was found."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from datetime import timedelta
from functools import lru_cache

from asgiref.sync import async_to_sync
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from dbq import definitions, failures, retries
from dbq.clocks import DatabaseClock
from dbq.conf import get_configuration
from dbq.dialects import find_dialect_class
from dbq.exceptions import JobCancelled, LeaseLost, TaskTimeout, TransactionLeftOpen
from dbq.logs import about
from dbq.results import Result
from dbq.run import TaskRun
from dbq.states import Outcome

logger = logging.getLogger("dbq")

HOME = os.getcwd()


def execute(run: TaskRun, clock: DatabaseClock, outer: Set[str] = frozenset()) -> Result:
    """Run the task and say how it ended; whatever it raises is its job's failure, and nobody else's.

    Args:
        outer: the databases on which the caller is within a transaction of its own, as a test may be.
    """
    started = clock.now()
    run.begin(started)
    try:
        result = _execute(run, outer)
    finally:
        run.end()
        _tidy_up(run, outer)
    result.seconds = time.monotonic() - run.started
    # A slow answer about the time may have set the clock back meanwhile.
    result.finished = started + timedelta(seconds=result.seconds)
    result.progress = run.take_progress()
    return result


def _execute(run: TaskRun, outer: Set[str]) -> Result:
    try:
        workspace = _run_task(run)
        opened = run.connections = connections.all(initialized_only=True)
        for alias in _find_open(opened) - outer:
            raise TransactionLeftOpen(
                f'The task left a transaction open on the database "{alias}"; it was rolled back.'
            )
    except BaseException as error:  # sys.exit, KeyboardInterrupt and their like end a task, no worker
        run.connections = None
        return _make_failure(run, error)
    result = run.make_result(Outcome.COMPLETED)
    result.next_task = run.definition.task_after(run.task)
    run.add_changes(result, _run_post_task_hook(run, workspace))
    return result


def _run_task(run: TaskRun) -> str | None:
    """Run the pre-task hook and the task; return the workspace as text, or None if it was not looked at."""
    job, definition = run.job, run.definition
    try:
        if run.number > 1:
            # It may have been lost before. Should this machine die as well, its history says that it ran.
            run.checkpoint()
        if definition.pre_task_hook:
            _call(definitions.load(definition.pre_task_hook), job)
        _call(definitions.load(run.task), job, timeout=definition.timeout)
    finally:
        # Before anything else runs in this thread: the time-out is for the task alone.
        run.end()
    return run.serialize_workspace()


def _call(function: Callable, *arguments: object, timeout: float | None = None) -> None:
    pid = os.getpid()
    try:
        if is_coroutine(function):
            async_to_sync(_run_coroutine)(function, arguments, timeout)
        else:
            function(*arguments)
    finally:
        if os.getpid() != pid:
            _end_copy(sys.exception())


def _end_copy(error: BaseException | None) -> None:
    """End a forked copy that a task let come back: a second worker on the connections of the first."""
    if error is None or isinstance(error, SystemExit):
        code = error.code if error else 0
        os._exit(code if isinstance(code, int) else int(code is not None))
    logger.error("A process that a task had forked ended with %s.", type(error).__name__)
    os._exit(1)


# For every run; a function does not change its kind.
is_coroutine = lru_cache(maxsize=1000)(inspect.iscoroutinefunction)


async def _run_coroutine(function: Callable, arguments: tuple, timeout: float | None) -> None:
    try:
        async with asyncio.timeout(timeout):
            await function(*arguments)
    except TimeoutError as error:
        if timeout is None or error.__cause__ is None:
            raise
        raise TaskTimeout(f"The task ran longer than {timeout:g} s.") from error


def _run_post_task_hook(run: TaskRun, workspace: str | None) -> str | None:
    """Run the hook; return the workspace with its edits, or without them if it raised."""
    path = run.definition.post_task_hook
    if not path:
        return workspace
    run.connections = None
    try:
        _call(definitions.load(path), run.job)
        return run.serialize_workspace()
    except BaseException:
        logger.exception(
            "The post-task hook of job %s raised; nothing changes.",
            run.job.id,
            extra=about(run.job, run.task, run.number),
        )
        # The next task may run with the same job in hand.
        run.restore_workspace(workspace)
        return workspace


def _make_failure(run: TaskRun, error: BaseException) -> Result:
    """The outcome of a run that raised: lost, cancelled, retried or failed."""
    if isinstance(error, LeaseLost):
        run.is_lost = True
    if run.has_timed_out and isinstance(error, TaskTimeout):
        error = _say_timeout(run, error)
    outcome = _find_outcome(run, error)
    result = run.make_result(outcome)
    result.exception = error
    if outcome != Outcome.CANCELLED or not isinstance(error, JobCancelled):
        result.failure = failures.describe(error)
    run.add_discarded_changes(result)
    if outcome == Outcome.RETRIED:
        ceiling = get_configuration().BACKOFF_MAX_SECONDS
        result.delay = retries.delay_seconds(run.number, run.definition.backoff, ceiling)
    elif outcome == Outcome.FAILED and not run.is_lost:
        _run_failure_hook(run, error)
    return result


def _say_timeout(run: TaskRun, error: TaskTimeout) -> TaskTimeout:
    """The exception that the engine raised in the thread could not carry its own words."""
    message = f"The task ran longer than {run.definition.timeout:g} s."
    return TaskTimeout(message).with_traceback(error.__traceback__)


def _find_outcome(run: TaskRun, error: BaseException) -> Outcome:
    wants_more = retries.may_retry(run.number, run.definition.max_attempts)
    if run.job.cancel_requested and (wants_more or isinstance(error, JobCancelled)):
        return Outcome.CANCELLED
    return Outcome.RETRIED if wants_more else Outcome.FAILED


def _run_failure_hook(run: TaskRun, error: BaseException) -> None:
    path = run.definition.failure_hook
    if not path:
        return
    try:
        _call(definitions.load(path), run.job, error)
    except BaseException:
        logger.exception(
            "The failure hook of job %s raised; the job is failed all the same.",
            run.job.id,
            extra=about(run.job, run.task, run.number),
        )


# The thread as it was found


def find_open_transactions() -> set[str]:
    """The databases on which this thread is within a transaction."""
    return _find_open(connections.all(initialized_only=True))


def _find_open(candidates: Iterable[BaseDatabaseWrapper]) -> set[str]:
    return {
        connection.alias
        for connection in candidates
        if find_dialect_class(connection.vendor)(connection).has_open_transaction()
    }


def _tidy_up(run: TaskRun, outer: Set[str]) -> None:
    """Drop what a task may leave behind in its thread: open transactions, dead connections, a directory."""
    known = run.connections
    # Found out once where that is enough: it takes as long as all else that is done for a run.
    for connection in connections.all(initialized_only=True) if known is None else known:
        connection.queries_log.clear()
        if connection.alias in outer:
            continue
        try:
            dialect = find_dialect_class(connection.vendor)(connection)
            if dialect.was_closed() or (known is None and dialect.has_open_transaction()):
                _close_roughly(connection)
            elif connection.errors_occurred or connection.settings_dict["CONN_MAX_AGE"]:
                # Without a maximum age Django would connect anew for every task; the thread closes its
                # connections when it has nothing to do.
                connection.close_if_unusable_or_obsolete()
        except Exception:
            logger.warning("The connection %s was closed.", connection.alias, exc_info=True)
            _close_roughly(connection)
    if os.getcwd() != HOME:
        os.chdir(HOME)


def _close_roughly(connection: object) -> None:
    """Close a connection whatever state it is in; the server rolls its transaction back."""
    connection.in_atomic_block = False  # type: ignore[attr-defined]
    connection.savepoint_ids = []  # type: ignore[attr-defined]
    connection.atomic_blocks = []  # type: ignore[attr-defined]
    connection.needs_rollback = False  # type: ignore[attr-defined]
    connection.run_on_commit = []  # type: ignore[attr-defined]
    connection.closed_in_transaction = False  # type: ignore[attr-defined]
    # A driver may object to a second closing.
    with suppress(Error):
        connection.close()  # type: ignore[attr-defined]

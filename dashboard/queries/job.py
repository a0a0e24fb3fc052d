"""One job and what surrounds it, each read once and in bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from uuid import UUID

from django.utils.http import urlencode

from dashboard.filters import parse_querystring
from dashboard.limits import TookTooLong
from dashboard.queries.jobs import JobSearch
from dashboard.snapshots import shared
from dbq.models import Attempt, Job, Operation, OperationItem
from dbq.states import State

ATTEMPTS_MAX = 60
ACTS_MAX = 60
RECENT_MAX = 30
SHARED_SECONDS = 5
RECENT_COLUMNS = ("id", "state", "started", "finished")
SIMILAR_MAX = 5
SIMILAR_COLUMNS = ("id", "name", "queue_name", "finished")
FRAGMENT_SECONDS = 1.0


@dataclass(frozen=True)
class History:
    """What happened to a job, oldest first, and whether there was more before."""

    attempts: list[Attempt]
    operations: list[Operation]
    items: list[OperationItem]
    is_cut: bool


def find_job(pk: UUID) -> Job | None:
    return Job.objects.filter(pk=pk).first()


def read_history(job: Job) -> History:
    """The latest runs and acts; tracebacks are left to `find_traceback`."""
    attempts = list(
        Attempt.objects.filter(job_id=job.pk).defer("traceback").order_by("-id")[: ATTEMPTS_MAX + 1]
    )
    operations = list(
        Operation.objects.filter(job_id=job.pk).defer("job_ids", "criteria").order_by("-id")[: ACTS_MAX + 1]
    )
    items = list(
        OperationItem.objects.filter(job_id=job.pk)
        .select_related("operation")
        .defer("operation__job_ids", "operation__criteria")
        .order_by("-id")[: ACTS_MAX + 1]
    )
    is_cut = len(attempts) > ATTEMPTS_MAX or max(len(operations), len(items)) > ACTS_MAX
    return History(attempts[:ATTEMPTS_MAX][::-1], operations[:ACTS_MAX][::-1], items[:ACTS_MAX][::-1], is_cut)


def find_traceback(job: Job, attempts: list[Attempt], wanted: str) -> Attempt | None:
    """The attempt whose traceback is asked for by its number, or the last one that failed."""
    failed = [attempt for attempt in attempts if attempt.error_type]
    chosen = next((a for a in failed if str(a.pk) == wanted), failed[-1] if failed else None)
    if chosen is not None:
        chosen.traceback = Attempt.objects.values_list("traceback", flat=True).get(pk=chosen.pk)
    return chosen


@dataclass(frozen=True)
class Neighbours:
    """Other jobs of interest beside one; None when the database had no time to find them."""

    jobs: list[Job] | None
    # The job list with all of them.
    querystring: str
    has_more: bool = False


@shared(SHARED_SECONDS)
def find_recent_runs(name: str) -> Neighbours:
    """The last jobs of a name that ran to an end, newest first."""
    pairs = [("name", name), ("state", State.COMPLETED), ("state", State.FAILED)]
    return _find(urlencode(pairs), RECENT_MAX, RECENT_COLUMNS)


def find_similar_failures(job: Job) -> Neighbours:
    """The newest jobs that failed the same way, without this one."""
    found: Neighbours = _find_alike(job.fingerprint).value
    if found.jobs is None:
        return found
    others = [other for other in found.jobs if other.pk != job.pk]
    return replace(found, jobs=others[:SIMILAR_MAX], has_more=found.has_more or len(others) > SIMILAR_MAX)


@shared(SHARED_SECONDS)
def _find_alike(fingerprint: str) -> Neighbours:
    pairs = [("fingerprint", fingerprint), ("state", State.FAILED)]
    return _find(urlencode(pairs), SIMILAR_MAX + 1, SIMILAR_COLUMNS)


def _find(querystring: str, limit: int, columns: Iterable[str]) -> Neighbours:
    search = JobSearch(parse_querystring(querystring), columns=columns)
    try:
        page = search.find_page(seconds=FRAGMENT_SECONDS)
    except TookTooLong:
        return Neighbours(None, querystring)
    return Neighbours(page.rows[:limit], querystring, len(page.rows) > limit or bool(page.next))

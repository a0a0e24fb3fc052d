"""The totals on top of the overview, and what is known of clean-ups."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.looks import STATES, Look
from dashboard.numbers import Number
from dashboard.queries.queues import COLUMNS, QueueReport, make_filters
from dashboard.snapshots import shared
from dbq.models import Operation, QueueCount, QueueCountDelta

NAMES_MAX = 200
NAMES_SHARED_SECONDS = 10


@dataclass(frozen=True)
class Total:
    """How many jobs are in one state, and the filter of the job list that shows them."""

    look: Look
    number: Number
    filters: str


def list_totals(reports: list[QueueReport]) -> list[Total]:
    """One total a state, in the order in which a job passes through them."""
    return [
        Total(
            STATES[state],
            Number.total(getattr(report, column) for report in reports),
            make_filters(state),
        )
        for state, column in COLUMNS.items()
    ]


@shared(NAMES_SHARED_SECONDS)
def list_charted(alias: str = "default") -> list[str]:
    """The queues that ever had a job end: those that a chart can show alone."""
    parts = [
        model.objects.using(alias).order_by().values_list("queue_name")
        for model in (QueueCount, QueueCountDelta)
    ]
    return sorted(name for (name,) in parts[0].union(parts[1])[:NAMES_MAX])


@shared(1)
def find_last_cleanup(alias: str = "default") -> Operation | None:
    """The clean-up that was started last, whether or not it has ended."""
    cleanups = Operation.objects.using(alias).filter(verb="cleanup").exclude(state="REFUSED")
    return cleanups.defer("job_ids", "criteria").order_by("-pk").first()

"""What a clean-up would delete, and how the last ones went."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from dashboard.numbers import Number, Quality
from dashboard.snapshots import shared
from dbq import bulk
from dbq.counts import get_finished_totals
from dbq.models import Operation
from dbq.states import FINISHED

SHOWN = 10
QUEUES_SHOWN = 20


@dataclass
class PreviewRow:
    """One queue of a preview."""

    queue_name: str
    # In the order of FINISHED.
    amounts: list[int] = field(default_factory=lambda: [0] * len(FINISHED))

    @property
    def total(self) -> int:
        return sum(self.amounts)


@dataclass(frozen=True)
class Preview:
    """The jobs that would go: how many, of which queues and states, from when to when."""

    proposal: bulk.Proposal
    number: Number
    # Of the queues with the most.
    rows: list[PreviewRow]
    # Queues beside them.
    others: int
    # Finished jobs of these queues and states, of whatever age.
    most: int
    oldest: datetime | None
    newest: datetime | None


def preview_cleanup(hours: int, queue_names: list[str], states: list[str]) -> Preview:
    """Look at what a clean-up would delete; nothing is changed."""
    proposal = bulk.propose_cleanup(hours, queue_names, states, count=False)
    summary = bulk.summarize(proposal)
    rows: defaultdict[str, PreviewRow] = defaultdict(lambda: PreviewRow(""))
    for queue_name, state, amount in summary.groups:
        rows[queue_name].queue_name = queue_name
        rows[queue_name].amounts[FINISHED.index(state)] += amount
    quality = Quality.AT_LEAST if summary.is_at_least else Quality.EXACT
    return Preview(
        proposal.take_count(summary),
        Number(summary.amount, quality),
        sorted(rows.values(), key=lambda row: (-row.total, row.queue_name))[:QUEUES_SHOWN],
        max(0, len(rows) - QUEUES_SHOWN),
        _add_up_finished(queue_names, states),
        summary.oldest,
        summary.newest,
    )


@shared(1)
def read_totals(alias: str = "default") -> dict[tuple[str, str], int]:
    """How many finished jobs there are by queue and state: asked twice for one page."""
    return get_finished_totals(alias)


def _add_up_finished(queue_names: list[str], states: list[str]) -> int:
    return sum(
        amount
        for (queue_name, state), amount in read_totals().value.items()
        if queue_name in (queue_names or [queue_name]) and state in (states or FINISHED)
    )


def list_cleanups(alias: str = "default") -> list[Operation]:
    """The last clean-ups, the newest first."""
    cleanups = Operation.objects.using(alias).filter(verb="cleanup")
    return list(cleanups.defer("job_ids", "criteria").order_by("-pk")[:SHOWN])


def list_finished(alias: str = "default") -> dict[str, int]:
    """How many finished jobs each queue has."""
    totals: defaultdict[str, int] = defaultdict(int)
    for (queue_name, _state), amount in read_totals(alias).value.items():
        totals[queue_name] += amount
    return dict(sorted(totals.items()))

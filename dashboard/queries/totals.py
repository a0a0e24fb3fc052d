"""How many jobs there are in each state, of all queues: counted once in a while for all who look."""

from __future__ import annotations

from collections import defaultdict

from dashboard.numbers import Number
from dashboard.queries.live import count_live
from dashboard.snapshots import shared
from dbq.counts import get_finished_totals
from dbq.states import State

SHARED_SECONDS = 10
SECONDS = 0.5


@shared(SHARED_SECONDS)
def count_states(alias: str = "default") -> dict[str, Number]:
    """The number of jobs by state; those that wait, scheduled or not, are together under NEW."""
    totals: defaultdict[str, Number] = defaultdict(lambda: Number(0))
    for counts in count_live(alias).value.values():
        totals[State.NEW] += counts.due + counts.scheduled
        totals[State.PROCESSING] += counts.processing
    for (_queue_name, state), amount in get_finished_totals(alias).items():
        totals[state] += Number(amount)
    return dict(totals)

"""What is not well with the queues, in words: for `manage.py dbq_health` and the probes.

Nothing here reads the whole job table: due jobs are looked at by queue, the first thousand in their turn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import router
from django.db.models import Min, QuerySet, Sum
from django.db.utils import Error

from dbq import health
from dbq.conf import get_configuration
from dbq.definitions import get_definitions
from dbq.dialects import Dialect, get_dialect
from dbq.exceptions import ConfigurationError
from dbq.health import LEVELS, Finding, judge_failures, judge_unserved, judge_wait
from dbq.limits import TookTooLong, time_limit
from dbq.models import Job, Queue, Rollup, RollupDelta, Worker
from dbq.readiness import describe_outage, find_obstacles
from dbq.states import Lane

# Of one queue, or of the scheduled of all; beyond it a number shows a plus.
LOOKED_AT = 1_000
QUEUES_MAX = 200
WORKERS_MAX = 5_000
FAILURES_WITHIN = timedelta(hours=1)
# A dead worker's jobs are freed by the next sweep of a living one; by now several have missed them.
SWEEPS_MISSED = 3
NAMES_SHOWN = 10


@dataclass
class QueueState:
    """What was seen of one queue."""

    due: int = 0
    # Since when the one that has waited longest is due, among those that can run with these settings.
    oldest: datetime | None = None
    scheduled: int = 0
    # Due jobs whose name settings.JOBS does not have, by that name.
    unknown: Counter[str] = field(default_factory=Counter)
    # Jobs of dead workers, and whether those who should have freed them have missed them.
    orphaned: int = 0
    is_abandoned: bool = False
    failed: int = 0
    ended: int = 0
    pause: Queue | None = None
    is_served: bool = False

    def add_due(self, name: str, amount: int, since: datetime, known: Collection[str]) -> None:
        self.due += amount
        if name in known:
            self.oldest = min(filter(None, (self.oldest, since)))
        else:
            self.unknown[name] += amount


States = defaultdict[str, QueueState]


def find(
    queue_names: Collection[str] = (),
    *,
    warn_seconds: float = health.OLD_SECONDS,
    critical_seconds: float = health.VERY_OLD_SECONDS,
) -> list[Finding]:
    """Everything that is not well, the worst first; empty when all is.

    Args:
        queue_names: of these queues only; without any, of all.
        warn_seconds, critical_seconds: how long a due job may wait before that is a warning, an alarm.
    """
    alias = router.db_for_write(Job)
    obstacles = find_obstacles(alias)
    if obstacles:
        return obstacles
    try:
        with time_limit(alias=alias):
            now = get_dialect(alias).read_clock()
            states = _read_states(alias, queue_names, now)
    except ConfigurationError as error:
        return [Finding("alarm", "settings", "The settings of dbq break a rule.", detail=str(error))]
    except (Error, OSError, TookTooLong) as error:
        return [describe_outage(error)]
    findings = [
        found
        for name, state in states.items()
        for found in _judge(name, state, now, warn_seconds, critical_seconds)
        if found.level != "good"
    ]
    return sorted(findings, key=lambda found: (-LEVELS.index(found.level), found.queue_name))


# Judging


def _judge(
    name: str, state: QueueState, now: datetime, warn_seconds: float, critical_seconds: float
) -> Iterator[Finding]:
    if not state.is_served:
        yield _judge_unserved(name, state)
    if state.oldest is not None and state.pause is None:
        age = (now - state.oldest).total_seconds()
        level = judge_wait(age, warn_seconds, critical_seconds)
        yield Finding(level, "waiting", f"The oldest due job waits {_describe(age)}.", name)
    if state.orphaned:
        yield _judge_orphans(name, state)
    yield Finding(
        judge_failures(state.failed, state.ended),
        "failures",
        f"{state.failed:,} of {state.ended:,} jobs that ended in the last hour failed.",
        name,
    )
    if state.unknown:
        yield _describe_unknown(name, state)
    if state.pause is not None:
        yield _describe_pause(name, state.pause)


def _judge_unserved(name: str, state: QueueState) -> Finding:
    jobs = f"{_count(state.due)} due" if state.due else f"{_count(state.scheduled)} scheduled"
    level = judge_unserved(bool(state.due), bool(state.scheduled))
    return Finding(level, "unserved", f"No live worker serves it, with {jobs}.", name)


def _judge_orphans(name: str, state: QueueState) -> Finding:
    verb = "is" if state.orphaned == 1 else "are"
    reason = f"{_count(state.orphaned)} {verb} held by dead workers"
    if state.is_abandoned:
        return Finding("alarm", "orphaned", f"{reason}, and nobody frees them.", name)
    return Finding("warning", "orphaned", f"{reason}; the next sweep of a living one frees them.", name)


def _describe_unknown(name: str, state: QueueState) -> Finding:
    amount = state.unknown.total()
    verb = "has a name" if amount == 1 else "have names"
    reason = f"{_count(amount)} {verb} that settings.JOBS does not have."
    often = sorted(state.unknown.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{job_name} × {n:,}" for job_name, n in often[:NAMES_SHOWN]]
    return Finding("warning", "unknown", reason, name, ", ".join(shown))


def _describe_pause(name: str, pause: Queue) -> Finding:
    until = f" until {pause.paused_until:%Y-%m-%d %H:%M %Z}" if pause.paused_until else ""
    detail = f"by {pause.paused_by or 'somebody'}"
    if pause.paused_reason:
        detail += f": {pause.paused_reason}"
    return Finding("paused", "paused", f"Paused{until}.", name, detail)


def _count(amount: int) -> str:
    noun = "job" if amount == 1 else "jobs"
    return f"{LOOKED_AT:,}+ {noun}" if amount > LOOKED_AT else f"{amount:,} {noun}"


def _describe(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min"


# Reading


def _read_states(alias: str, queue_names: Collection[str], now: datetime) -> States:
    states: States = defaultdict(QueueState)
    known = get_definitions().keys()
    _read_due(alias, queue_names, states, known)
    _read_scheduled(alias, states, known, now)
    _read_orphans(alias, states, now)
    _read_failures(alias, states, now)
    for pause in Queue.objects.using(alias).paused()[:QUEUES_MAX]:
        states[pause.name].pause = pause
    for name in _list_served(alias) & states.keys():
        states[name].is_served = True
    if queue_names:
        return defaultdict(QueueState, {name: states[name] for name in queue_names if name in states})
    return states


def _read_due(alias: str, queue_names: Collection[str], states: States, known: Collection[str]) -> None:
    dialect = get_dialect(alias)
    parts = [_look_at_due(dialect, name) for name in queue_names or _list_due(alias)]
    if not parts:
        return
    statement = " UNION ALL ".join(part for part, _ in parts)
    rows = dialect.execute(statement, [value for _, values in parts for value in values])
    for queue_name, name, amount, since in rows:
        states[queue_name].add_due(name, amount, dialect.read_moment(since), known)


def _list_due(alias: str) -> list[str]:
    """The queues that have due jobs: jumps along the index from one to the next, past all their jobs."""
    claimable = Job.objects.using(alias).filter(lane=Lane.CLAIMABLE)
    names: list[str] = []
    # As one recursive statement MariaDB would read the whole lane for each queue.
    following = claimable.aggregate(name=Min("queue_name"))["name"]
    while following is not None and len(names) < QUEUES_MAX:
        names.append(following)
        following = claimable.filter(queue_name__gt=following).aggregate(name=Min("queue_name"))["name"]
    return names


def _look_at_due(dialect: Dialect, queue_name: str) -> tuple[str, list[Any]]:
    # In their turn, as the index has them: in no order PostgreSQL may read the table for them.
    due = Job.objects.using(dialect.alias).filter(lane=Lane.CLAIMABLE, queue_name=queue_name)
    columns = due.order_by("-priority", "pk").values_list("queue_name", "name", "enqueued")
    source, values = dialect.compile(columns[: LOOKED_AT + 1])
    statement = (
        "SELECT queue_name, name, COUNT(*), MIN(enqueued)"  # noqa: S608
        f" FROM ({source}) part GROUP BY queue_name, name"
    )
    return statement, list(values)


def _read_scheduled(alias: str, states: States, known: Collection[str], now: datetime) -> None:
    """Those whose time has come are due: it takes a living worker to make them claimable."""
    scheduled = Job.objects.using(alias).filter(lane=Lane.WAITING).order_by("run_after")
    rows = scheduled.values_list("queue_name", "name", "run_after")
    for queue_name, name, run_after in rows[: LOOKED_AT + 1]:
        if run_after <= now:
            states[queue_name].add_due(name, 1, run_after, known)
        else:
            states[queue_name].scheduled += 1


def _read_orphans(alias: str, states: States, now: datetime) -> None:
    running = Job.objects.using(alias).filter(lane=Lane.RUNNING)
    holders = set(running.order_by().values_list("worker_id", flat=True).distinct()[:LOOKED_AT])
    if not holders:
        return
    rows = Worker.objects.using(alias).filter(pk__in=holders).only("expires_at", "beat").in_bulk()
    died = {pk: _find_death(rows.get(pk), now) for pk in holders}
    dead = [pk for pk, moment in died.items() if moment <= now]
    missed = now - timedelta(seconds=SWEEPS_MISSED * get_configuration().SWEEP_SECONDS)
    held = running.filter(worker_id__in=dead).values_list("queue_name", "worker_id")
    # Asked anew: a worker that left meanwhile, with nothing in its hands, has orphaned nothing.
    for queue_name, worker_id in held[: LOOKED_AT + 1] if dead else ():
        states[queue_name].orphaned += 1
        states[queue_name].is_abandoned |= died[worker_id] <= missed


def _find_death(worker: Worker | None, now: datetime) -> datetime:
    """When the lease of a worker ends or ended, as far as its row tells."""
    if worker is None:
        # Somebody deleted the row, who knows when.
        return datetime.min.replace(tzinfo=UTC)
    if worker.expires_at is None:
        # Declared dead, if not before its lease ended: a supervisor knows at once.
        return min(now, worker.beat + timedelta(seconds=get_configuration().LEASE_SECONDS))
    return worker.expires_at


def _read_failures(alias: str, states: States, now: datetime) -> None:
    for model in (Rollup, RollupDelta):
        figures = model.objects.using(alias).filter(minute__gte=now - FAILURES_WITHIN).order_by()
        sums: QuerySet = figures.values("queue_name").annotate(
            all_completed=Sum("completed"), all_failed=Sum("failed")
        )
        for row in sums:
            state = states[row["queue_name"]]
            state.failed += row["all_failed"]
            state.ended += row["all_failed"] + row["all_completed"]


def _list_served(alias: str) -> set[str]:
    alive = Worker.objects.using(alias).alive().filter(stop_requested=False)
    return {name for names in alive.values_list("queue_names", flat=True)[:WORKERS_MAX] for name in names}

"""What came of the jobs of one peer: what they wrote themselves, held against what the database says."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.peers.peer import Peer
from benchmarks.runs import Run


@dataclass(frozen=True)
class Kill:
    """The end of one process, or of a whole command, and what was running in it."""

    moment: float
    is_whole: bool
    pids: list[int]
    runs: list[Run]


@dataclass
class Outcome:
    """What came of the jobs of one peer."""

    kills: list[Kill]
    jobs: int
    seconds: float
    exits: int
    # Whether the end came by itself, and not because nothing moved or the time was up.
    has_drained: bool
    is_out_of_time: bool
    states: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    # Never ran to its end.
    lost: int = 0
    # Not in a final state of the peer's.
    stuck: int = 0
    # In the peer's eyes it failed.
    failed: int = 0
    # Runs to the end beyond the first.
    repeated: int = 0
    # Those of them that no kill explains.
    unexplained: int = 0
    # Completed in the peer's eyes, but never ran to its end.
    phantom: int = 0
    # Seconds from a kill to the next start of a job that it had hit; of a process, of a whole command.
    recoveries: list[float] = field(default_factory=list)
    whole_recoveries: list[float] = field(default_factory=list)
    # Jobs hit that never started again.
    never: int = 0


def judge(outcome: Outcome, runs: list[Run], states: Mapping[str, str], peer: Peer) -> None:
    """Hold what ran against what the database says."""
    by_job: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_job[run.job_id].append(run)
    outcome.runs = len(runs)
    outcome.states = dict(Counter(states.values()))
    for job_id, state in states.items():
        ended = sum(run.ended is not None for run in by_job[job_id])
        outcome.lost += ended == 0
        outcome.repeated += max(0, ended - 1)
        outcome.stuck += state not in peer.finished
        outcome.failed += state in peer.failed
        outcome.phantom += state in peer.completed and ended == 0
    outcome.unexplained = count_unexplained(outcome.kills, by_job)
    measure_recoveries(outcome, by_job)


def count_unexplained(kills: list[Kill], by_job: Mapping[str, list[Run]]) -> int:
    """Repeats after an end in a process that nobody killed."""
    killed = {pid for kill in kills for pid in kill.pids}
    ended = ([run for run in runs if run.ended is not None] for runs in by_job.values())
    return sum(run.pid not in killed for runs in ended for run in runs[:-1])


def measure_recoveries(outcome: Outcome, by_job: Mapping[str, list[Run]]) -> None:
    for kill in outcome.kills:
        for victim in kill.runs:
            later = [run.started for run in by_job[victim.job_id] if run.started > kill.moment]
            if not later:
                outcome.never += 1
            elif kill.is_whole:
                outcome.whole_recoveries.append(min(later) - kill.moment)
            else:
                outcome.recoveries.append(min(later) - kill.moment)


def summarize(times: list[float]) -> dict[str, float] | None:
    """The middle and the worst of some times, in seconds."""
    if not times:
        return None
    return {"p50": round(statistics.median(times), 1), "worst": round(max(times), 1)}

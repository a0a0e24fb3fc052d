"""The rule of what is well: which findings are worth a look, and which need somebody now.

One rule for all who judge: the screens, `manage.py dbq_health` and the probes say it in their own words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# From calm to alarm; a pause is somebody's will, and no fault.
LEVELS = ("good", "paused", "warning", "alarm")

# How long a due job may wait.
OLD_SECONDS, VERY_OLD_SECONDS = 300, 1800
# Of the jobs that ended in the last hour. Fewer failures than the minimum say nothing about a share.
FAILED_SHARE, MUCH_FAILED_SHARE = 0.05, 0.25
FAILURES_MIN = 5

# The exit status of `manage.py dbq_health`, and its word.
STATUSES = {"good": 0, "paused": 0, "warning": 1, "alarm": 2}
VERDICTS = ("well", "degraded", "down")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    level: str
    # What kind of thing, for programs: a word that stays the same when the sentence changes.
    code: str
    # In words, without anything that a stranger must not read: the probes answer everybody.
    reason: str
    queue_name: str = ""
    # What only those inside may read: names of jobs and people, the database's own words.
    detail: str = ""


def find_worst(levels: list[str]) -> str:
    return max(levels, key=LEVELS.index, default="good")


def find_status(findings: list[Finding]) -> int:
    """0 for well, 1 for degraded, 2 for down."""
    return STATUSES[find_worst([finding.level for finding in findings])]


def describe(findings: list[Finding], *, with_details: bool) -> dict[str, Any]:
    """The findings and what they come to, as they are written in JSON."""
    status = find_status(findings)
    return {
        "status": status,
        "verdict": VERDICTS[status],
        "findings": [_describe_one(finding, with_details) for finding in findings],
    }


def _describe_one(finding: Finding, with_details: bool) -> dict[str, str]:
    fields = {
        "level": finding.level,
        "code": finding.code,
        "queue": finding.queue_name,
        "reason": finding.reason,
    }
    return fields | {"detail": finding.detail} if with_details else fields


def judge_wait(
    seconds: float, warn_seconds: float = OLD_SECONDS, critical_seconds: float = VERY_OLD_SECONDS
) -> str:
    """The level of a queue whose oldest due job has waited so long."""
    if seconds >= critical_seconds:
        return "alarm"
    return "warning" if seconds >= warn_seconds else "good"


def judge_failures(failed: int, ended: int) -> str:
    """The level of a queue of whose jobs so many failed, among all that completed or failed."""
    if failed < FAILURES_MIN or failed < ended * FAILED_SHARE:
        return "good"
    return "alarm" if failed >= ended * MUCH_FAILED_SHARE else "warning"


def judge_unserved(due: bool, scheduled: bool) -> str:
    """The level of a queue that no living worker serves."""
    if due:
        return "alarm"
    return "warning" if scheduled else "good"

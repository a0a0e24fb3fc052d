"""Whether a queue is well, and if not, why: in words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.durations import describe, describe_distance
from dashboard.numbers import group
from dbq.health import LEVELS, find_worst, judge_failures, judge_unserved, judge_wait

if TYPE_CHECKING:
    from dashboard.queries.queues import QueueReport

__all__ = ["LEVELS", "find_worst", "judge"]

# The worst of its findings is a queue's light.
Finding = tuple[str, str]


def judge(report: QueueReport, now: datetime) -> tuple[str, list[str]]:
    """The light of a queue and its reasons, the worst first."""
    findings = [
        *_find_pause(report, now),
        *_find_orphans(report),
        *_find_waiting(report, now),
        *_find_failures(report),
    ]
    findings.sort(key=lambda finding: -LEVELS.index(finding[0]))
    if not findings:
        return "good", [_describe_calm(report)]
    return findings[0][0], [sentence for _level, sentence in findings]


def _find_pause(report: QueueReport, now: datetime) -> Iterator[Finding]:
    pause = report.pause
    if pause is None or pause.paused_at is None:
        return
    who = pause.paused_by or _("somebody")
    sentence = _("Paused by %(who)s %(when)s") % {"who": who, "when": describe_distance(pause.paused_at, now)}
    if pause.paused_reason:
        sentence += f": {pause.paused_reason.rstrip('.')}"
    sentence += "."
    if pause.paused_until:
        sentence += " " + _("Resumes by itself %(when)s.") % {
            "when": describe_distance(pause.paused_until, now)
        }
    yield "paused", sentence


def _find_orphans(report: QueueReport) -> Iterator[Finding]:
    if report.orphaned:
        yield (
            "alarm",
            ngettext(
                "%(n)s job is held by a dead worker.",
                "%(n)s jobs are held by dead workers.",
                report.orphaned,
            )
            % {"n": group(report.orphaned)},
        )


def _find_waiting(report: QueueReport, now: datetime) -> Iterator[Finding]:
    if report.has_waiting and not report.workers:
        if report.due:
            sentence = _("No live worker serves it; %(n)s wait.") % {"n": report.due}
        else:
            sentence = _("No live worker serves it; %(n)s are scheduled.") % {"n": report.scheduled}
        yield judge_unserved(bool(report.due), bool(report.scheduled)), sentence
    if report.pause is None and report.oldest is not None:
        age = (now - report.oldest).total_seconds()
        level = judge_wait(age)
        if level != "good":
            yield level, _("The oldest job waits %(age)s.") % {"age": describe(age)}


def _find_failures(report: QueueReport) -> Iterator[Finding]:
    failed = report.rates.failed
    level = judge_failures(failed, report.rates.ended)
    if level == "good":
        return
    sentence = _("%(percent)s %% failed in the last hour: %(failed)s of %(all)s.") % {
        "percent": round(report.rates.failed_share * 100),
        "failed": group(failed),
        "all": group(report.rates.ended),
    }
    yield level, sentence


def _describe_calm(report: QueueReport) -> str:
    if report.due:
        return _("Jobs flow.")
    if not report.workers:
        return _("Nothing waits; no worker serves it.")
    return _("Nothing waits.")

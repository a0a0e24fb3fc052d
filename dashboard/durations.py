"""Lengths of time in words an operator reads at a glance."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS = ((DAY, gettext_noop("%(n)s d")), (HOUR, gettext_noop("%(n)s h")), (MINUTE, gettext_noop("%(n)s min")))


def describe(seconds: float | None) -> str:
    """Write a duration: 4 ms · 1.2 s · 41 s · 3 min · 2 h 5 min · 6 d 4 h."""
    if seconds is None:
        return "–"
    if seconds < 0.0005:
        return _("%(n)s ms") % {"n": 0}
    if seconds < 1:
        return _("%(n)s ms") % {"n": max(1, round(seconds * 1000))}
    if seconds < 10:
        return _("%(n)s s") % {"n": f"{seconds:.1f}"}
    if seconds < MINUTE:
        return _("%(n)s s") % {"n": int(seconds)}
    return _describe_long(int(seconds))


def _describe_long(seconds: int) -> str:
    if seconds < 10 * MINUTE:
        minutes, rest = divmod(seconds, MINUTE)
        return _join(_("%(n)s min") % {"n": minutes}, rest, _("%(n)s s") % {"n": rest})
    if seconds < HOUR:
        return _("%(n)s min") % {"n": seconds // MINUTE}
    if seconds < DAY:
        hours, rest = divmod(seconds, HOUR)
        minutes = rest // MINUTE
        return _join(_("%(n)s h") % {"n": hours}, minutes, _("%(n)s min") % {"n": minutes})
    days, rest = divmod(seconds, DAY)
    hours = rest // HOUR
    return _join(_("%(n)s d") % {"n": days}, hours, _("%(n)s h") % {"n": hours})


def _join(first: str, amount: int, second: str) -> str:
    return f"{first} {second}" if amount else first


def describe_distance(moment: datetime, now: datetime | None = None) -> str:
    """Say how far a moment is from now: just now · 3 min ago · in 2 h."""
    seconds = ((now or timezone.now()) - moment).total_seconds()
    if abs(seconds) < 1:
        return _("just now")
    words = describe_coarsely(abs(seconds))
    text = _("%(duration)s ago") if seconds > 0 else _("in %(duration)s")
    return text % {"duration": words}


def describe_coarsely(seconds: float) -> str:
    """The largest unit alone: beside a table's other rows the rest is noise."""
    for size, text in UNITS:
        if seconds >= size:
            return _(text) % {"n": int(seconds // size)}
    return _("%(n)s s") % {"n": int(seconds)}

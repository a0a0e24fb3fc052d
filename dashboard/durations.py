"""Lengths of time in words an operator reads at a glance."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from django.utils import timezone
from django.utils.translation import get_language, gettext_noop
from django.utils.translation import gettext as _

SECOND, MINUTE, HOUR, DAY = 1, 60, 3600, 86_400
UNITS = (
    (DAY, gettext_noop("%(n)s d")),
    (HOUR, gettext_noop("%(n)s h")),
    (MINUTE, gettext_noop("%(n)s min")),
    (SECOND, gettext_noop("%(n)s s")),
)


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
    place, amount = _find_unit(abs(seconds))
    return _say_distance(get_language(), place, amount, seconds > 0)


def describe_coarsely(seconds: float) -> str:
    """The largest unit alone: beside a table's other rows the rest is noise."""
    return _say(get_language(), *_find_unit(seconds))


def _find_unit(seconds: float) -> tuple[int, int]:
    """The place in UNITS of the largest that fits, and how many of it."""
    place = next(place for place, (size, _text) in enumerate(UNITS) if seconds >= size or size == SECOND)
    return place, int(seconds // UNITS[place][0])


# A table says a few dozen of them a hundred times.
@lru_cache(maxsize=2048)
def _say(language: str | None, place: int, amount: int) -> str:
    return _(UNITS[place][1]) % {"n": amount}


@lru_cache(maxsize=2048)
def _say_distance(language: str | None, place: int, amount: int, is_past: bool) -> str:
    text = _("%(duration)s ago") if is_past else _("in %(duration)s")
    return text % {"duration": _say(language, place, amount)}

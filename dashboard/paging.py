"""Pages by key, both ways: no offsets, no totals, and a bound on how far one request searches.

A list is made of legs that an index can walk in the list's order; their rows are merged. Where a filter
has no index, a leg is searched window by window until the page is full or its time is up, and the next
page goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from django.utils.dateparse import parse_datetime

# Rows between two looks at the clock; the next window is twice as wide.
WINDOW = 2_500
WINDOW_MAX = 160_000
# Of the 50 ms that a page may take; all else of it takes some 30 on a slow machine.
SEARCH_SECONDS = 0.015
SEPARATOR = "~"


@dataclass(frozen=True)
class Key:
    """One column of an order; the last one is unique."""

    name: str
    is_descending: bool = False

    def flip(self) -> Key:
        return Key(self.name, not self.is_descending)

    @property
    def ordering(self) -> str:
        return f"-{self.name}" if self.is_descending else self.name

    def beyond(self, value: Any, *, or_equal: bool = False) -> Q:
        lookup = ("lt" if self.is_descending else "gt") + ("e" if or_equal else "")
        return Q(**{f"{self.name}__{lookup}": value})


Keys = tuple[Key, ...]
Place = tuple[Any, ...]


@dataclass(frozen=True)
class Leg:
    """A part of a list: the rows that match, and those that an index walks to find them."""

    matching: QuerySet
    # None when an index finds the matching rows themselves.
    walk: QuerySet | None = None
    window: int = WINDOW


@dataclass
class Page:
    rows: list[Any] = field(default_factory=list)
    # Where the page before and the page after begin, for a link.
    previous: str = ""
    next: str = ""
    # Whether the search ended before the page was full, and goes on at `next`.
    is_partial: bool = False
    # Whether this is all there is.
    is_whole: bool = False


def read_place(text: str, keys: Keys, readers: dict[str, Callable[[str], Any]]) -> Place | None:
    """The place in an order that a link names; None for the beginning and for what is no place."""
    parts = text.split(SEPARATOR)
    if len(parts) != len(keys):
        return None
    try:
        place = tuple(readers[key.name](part) for key, part in zip(keys, parts, strict=True))
    except (ValueError, TypeError, OverflowError):
        return None
    return None if None in place else place


def write_place(place: Place) -> str:
    return SEPARATOR.join(value.isoformat() if isinstance(value, datetime) else str(value) for value in place)


def read_moment(text: str) -> datetime | None:
    # A "+" that was not escaped arrives as a space.
    moment = parse_datetime(text.replace(" ", "+"))
    if moment is None or moment.tzinfo is None or not 1900 <= moment.year <= 9000:
        return None
    return moment


def read_number(text: str) -> int:
    number = int(text)
    if abs(number) > 2**31:
        raise ValueError(number)
    return number


READERS: dict[str, Callable[[str], Any]] = {
    "id": UUID,
    "created": read_moment,
    "finished": read_moment,
    "run_after": read_moment,
    "priority": read_number,
}


@dataclass(frozen=True)
class Stretch:
    """A part of an order: what comes after one place, up to another and with it; None where it is open."""

    keys: Keys
    after: Place | None = None
    until: Place | None = None

    def cut(self, jobs: QuerySet) -> QuerySet:
        """Those of the jobs that stand here, in the order."""
        if self.after is not None:
            jobs = jobs.filter(_beyond(self.keys, self.after))
        if self.until is not None:
            jobs = jobs.filter(_until(self.keys, self.until))
        return jobs.order_by(*(key.ordering for key in self.keys))


def find_page(legs: Sequence[Leg], keys: Keys, size: int, *, after: str = "", before: str = "") -> Page:
    """The rows after a place, or before one; the first ones without either."""
    place = read_place(before or after, keys, READERS)
    if before and place is not None:
        return _find_page_before(legs, keys, size, place)
    rows, edge = _search(legs, Stretch(keys, place), size + 1)
    page = _make_page(rows, keys, size, edge)
    if place is not None:
        page.previous = write_place(_find_place(page.rows[0], keys) if page.rows else place)
    page.is_whole = place is None and not page.next
    return page


def _find_page_before(legs: Sequence[Leg], keys: Keys, size: int, place: Place) -> Page:
    backwards = tuple(key.flip() for key in keys)
    rows, edge = _search(legs, Stretch(backwards, place), size + 1)
    if not rows and edge is None:
        # What came before is gone: the list begins here now.
        return find_page(legs, keys, size)
    page = _make_page(rows, backwards, size, edge)
    page.rows.reverse()
    page.previous = page.next
    page.next = write_place(_find_place(page.rows[-1], keys) if page.rows else place)
    return page


def _make_page(rows: list[Any], keys: Keys, size: int, edge: Place | None) -> Page:
    page = Page(rows[:size], is_partial=edge is not None and len(rows) <= size)
    if len(rows) > size:
        page.next = write_place(_find_place(page.rows[-1], keys))
    elif edge is not None:
        page.next = write_place(edge)
    return page


def _find_place(row: Model, keys: Keys) -> Place:
    return tuple(getattr(row, key.name) for key in keys)


def _search(legs: Sequence[Leg], stretch: Stretch, wanted: int) -> tuple[list[Any], Place | None]:
    """The first rows of all legs, and the place up to which all of them were searched, if not to the end."""
    started = time.monotonic()
    rows: list[Any] = []
    for number, leg in enumerate(legs, 1):
        # One request looks at as many rows, for as long, however many legs they are of.
        deadline = started + SEARCH_SECONDS * number / len(legs)
        window = leg.window // len(legs) or 1
        found, edge = _search_leg(leg, stretch, wanted, window, deadline)
        rows += found
        # Behind where one leg was searched to, rows of another are not the next ones of the list.
        stretch = replace(stretch, until=edge)
    rows = sort_rows(rows, stretch.keys)
    if stretch.until is not None:
        rows = [row for row in rows if not _is_beyond(row, stretch.until, stretch.keys)]
    return rows[:wanted], stretch.until


def _search_leg(
    leg: Leg, stretch: Stretch, wanted: int, window: int, deadline: float
) -> tuple[list[Any], Place | None]:
    """The first rows of the leg in the stretch, and where their search ended."""
    if leg.walk is None:
        # The limit ends it soon enough, and an open end leaves the database no other index to think of.
        return list(replace(stretch, until=None).cut(leg.matching)[:wanted]), stretch.until
    rows: list[Any] = []
    while True:
        started = time.monotonic()
        edge = _find_edge(leg.walk, stretch, window)
        searched = replace(stretch, until=edge) if edge is not None else stretch
        rows += searched.cut(leg.matching)[: wanted - len(rows)]
        if len(rows) == wanted:
            return rows, _find_place(rows[-1], stretch.keys)
        if edge is None:
            return rows, stretch.until
        now = time.monotonic()
        # The next window, twice as wide, would take about twice as long.
        if now + 2 * (now - started) > deadline:
            return rows, edge
        stretch, window = replace(stretch, after=edge), min(window * 2, WINDOW_MAX)


def _find_edge(walk: QuerySet, stretch: Stretch, window: int) -> Place | None:
    """The place of the last row of the next window; None if the rest of the stretch fits into it."""
    rows = stretch.cut(walk).values_list(*(key.name for key in stretch.keys))
    return next(iter(rows[window - 1 : window]), None)


def _beyond(keys: Keys, place: Place) -> Q:
    """What comes after a place. The first condition alone gives the database a range of its index."""
    if len(keys) == 1:
        return keys[0].beyond(place[0])
    first, last = keys
    return first.beyond(place[0], or_equal=True) & (first.beyond(place[0]) | last.beyond(place[1]))


def _until(keys: Keys, place: Place) -> Q:
    """What comes before a place, and what stands there."""
    first, last = keys[0].flip(), keys[-1].flip()
    if len(keys) == 1:
        return first.beyond(place[0], or_equal=True)
    return first.beyond(place[0], or_equal=True) & (
        first.beyond(place[0]) | last.beyond(place[1], or_equal=True)
    )


def sort_rows(rows: Iterable[Any], keys: Keys) -> list[Any]:
    """Rows of several legs in one order."""
    ordered = list(rows)
    for key in reversed(keys):
        ordered.sort(key=attrgetter(key.name), reverse=key.is_descending)
    return ordered


def _is_beyond(row: Any, edge: Place, keys: Keys) -> bool:
    for key, limit in zip(keys, edge, strict=True):
        value = getattr(row, key.name)
        if value != limit:
            return (value < limit) if key.is_descending else (value > limit)
    return False

"""Numbers that say how good they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from django.utils.formats import number_format
from django.utils.translation import gettext as _

# Counting of live jobs stops here, and the number shows a plus.
COUNT_LIMIT = 50_000


class Quality(Enum):
    EXACT = "exact"
    AT_LEAST = "at least"
    ESTIMATE = "estimate"


WORST_FIRST = (Quality.ESTIMATE, Quality.AT_LEAST, Quality.EXACT)


@dataclass(frozen=True)
class Number:
    """A count and its quality: exact, "50k+" or "≈ 50k"."""

    value: float
    quality: Quality = Quality.EXACT

    @classmethod
    def bounded(cls, count: int, limit: int = COUNT_LIMIT) -> Number:
        """The count of a statement that was told to stop one above the limit."""
        return cls(limit, Quality.AT_LEAST) if count > limit else cls(count)

    def __add__(self, other: Number) -> Number:
        return Number.total((self, other))

    @classmethod
    def total(cls, numbers: Iterable[Number]) -> Number:
        """All of them added up; as good as the worst."""
        known = list(numbers)
        qualities = {number.quality for number in known}
        worst = next((quality for quality in WORST_FIRST if quality in qualities), Quality.EXACT)
        return cls(sum(number.value for number in known), worst)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __str__(self) -> str:
        return self._mark(shorten(self.value))

    @property
    def full(self) -> str:
        """Every digit, for what is about to be done: 23,114 · 50,000+."""
        return self._mark(group(self.value))

    def _mark(self, text: str) -> str:
        if self.quality is Quality.AT_LEAST:
            return f"{text}+"
        return f"≈ {text}" if self.quality is Quality.ESTIMATE else text

    @property
    def explanation(self) -> str:
        """The number in full, with what it claims."""
        exact = group(self.value)
        if self.quality is Quality.AT_LEAST:
            return _("At least %(number)s: counting stopped there.") % {"number": exact}
        if self.quality is Quality.ESTIMATE:
            return _("About %(number)s.") % {"number": exact}
        return exact


def group(value: float) -> str:
    """Write a number in full, with the separators of the reader's language."""
    decimals = None if float(value).is_integer() else 1
    whole = int(value) if decimals is None else value
    if decimals is None and 0 <= whole < 1000:
        # Alike in every language, and what most of a table's numbers are.
        return str(whole)
    return number_format(whole, decimal_pos=decimals, use_l10n=True, force_grouping=True)


def shorten(value: float) -> str:
    """Write a number in at most five characters or so: 9,999 · 50k · 1.2M."""
    if value < 10_000:
        return group(value)
    for unit, size in (("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)):
        if value >= size:
            scaled = value / size
            # Cut, not rounded: 999,999 is not yet a million.
            shown = int(scaled * 10) / 10 if scaled < 100 else int(scaled)
            return f"{group(shown)}{unit}"
    return group(value)

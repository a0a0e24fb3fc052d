"""Where the bars of a chart stand: geometry only, drawn as SVG by the templates.

All numbers are whole; templates write them under {% localize off %}, as they are in every language.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

# Of the view box; the page stretches it to the room there is.
BAR_WIDTH, BAR_GAP = 8, 2
STEP = BAR_WIDTH + BAR_GAP
HEIGHT = 200
SPARK_HEIGHT = 24
# A bar that stands for at least one job can be seen.
LEAST = 2


@dataclass(frozen=True)
class Piece:
    """One rectangle of a bar; `tone` is its colour."""

    tone: str
    y: int
    height: int


@dataclass(frozen=True)
class Bar:
    """A stack of pieces, and what it shows."""

    x: int
    pieces: list[Piece]
    source: Any = None


@dataclass(frozen=True)
class Chart:
    """Bars in a view box; `top` is the value of its upper edge and halves well."""

    bars: list[Bar]
    width: int
    height: int
    top: int

    @property
    def middle(self) -> int:
        return self.top // 2

    @cached_property
    def paths(self) -> dict[str, str]:
        """All pieces of a tone as the "d" of one <path>: a tenth of the markup of rectangles."""
        parts: defaultdict[str, list[str]] = defaultdict(list)
        for bar in self.bars:
            for piece in bar.pieces:
                parts[piece.tone].append(f"M{bar.x} {piece.y}h{BAR_WIDTH}v{piece.height}h-{BAR_WIDTH}z")
        return {tone: "".join(part) for tone, part in parts.items()}


def stack(rows: list[list[tuple[str, int]]], height: int, sources: list[Any] | None = None) -> Chart:
    """Stack the (tone, amount) pairs of each row, the first at the bottom, on a common scale."""
    top = find_top(max((sum(amount for _, amount in row) for row in rows), default=0))
    bars = [
        Bar(
            place * STEP + BAR_GAP // 2,
            _stack_row(row, height, top),
            sources[place] if sources else None,
        )
        for place, row in enumerate(rows)
    ]
    return Chart(bars, max(1, len(rows)) * STEP, height, top)


def _stack_row(row: list[tuple[str, int]], height: int, top: int) -> list[Piece]:
    pieces = []
    floor = height
    for tone, amount in row:
        if amount:
            size = min(floor, max(LEAST, round(amount / top * height)))
            floor -= size
            pieces.append(Piece(tone, floor, size))
    return pieces


def find_top(value: int) -> int:
    """The next round number at or above it that halves well."""
    if value <= 4:
        return 4
    size = 10 ** (len(str(value)) - 1)
    for steps in (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10):
        top = int(steps * size)
        if top >= value and top % 2 == 0:
            return top
    return 10 * size


def draw_spark(completed: list[int], failed: list[int]) -> Chart:
    """A queue's last hour in a table cell, two minutes a bar."""
    return _draw_spark(tuple(completed), tuple(failed))


# The hour of a queue changes each minute, and its page is drawn each second.
@lru_cache(maxsize=512)
def _draw_spark(completed: tuple[int, ...], failed: tuple[int, ...]) -> Chart:
    rows = [
        [
            ("completed", sum(completed[place : place + 2])),
            ("failed", sum(failed[place : place + 2])),
        ]
        for place in range(0, len(completed), 2)
    ]
    return stack(rows, SPARK_HEIGHT)


def pick_labels(items: list[Any]) -> list[Any]:
    """Five or six of them at equal distances, the first among them: each stands at the head of its part."""
    amount = next((amount for amount in (6, 5, 4) if len(items) % amount == 0), 1)
    return items[:: max(1, len(items) // amount)]

"""Figures as an SVG that reads on light and on dark ground: no script, no font of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
text{font:13px system-ui,sans-serif;fill:#3d4450}
.title{font-size:16px;font-weight:600;fill:#14181f}
.soft{fill:#667080;font-size:11px}
.number{font-size:12px;text-anchor:middle;font-variant-numeric:tabular-nums}
.ground{fill:#fff}
.rule{stroke:#d9dde3;stroke-dasharray:3 4}
.edge{stroke:#d9dde3}
.line{fill:none;stroke:#2f6fde;stroke-width:2}
.dot{fill:#2f6fde}
@media (prefers-color-scheme:dark){
text{fill:#c3c9d2}.title{fill:#f0f2f5}.soft{fill:#8d96a3}
.ground{fill:#14181f}.rule,.edge{stroke:#39414d}
.line{stroke:#7aa7ff}.dot{fill:#7aa7ff}}
""".replace("\n", "")

WIDTH = 860
TOP, ROW, FOOT = 88, 62, 18
LEFT, RIGHT = 250, 60
# A line has half of its row either way for so many times as much or as little.
SPAN = 8


@dataclass(frozen=True)
class Row:
    """One figure at each of the columns; None where it was not measured."""

    name: str
    note: str
    values: Sequence[float | None]


def frame(title: str, width: float, height: float, parts: Iterable[str]) -> str:
    """An SVG with a title, on its own ground."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{width}" height="{height}" rx="6"/>',
            f'<text class="title" x="20" y="32">{escape(title)}</text>',
            *parts,
            "</svg>",
            "",
        ]
    )


def draw_rows(title: str, note: str, columns: Sequence[str], rows: Sequence[Row]) -> str:
    """One line a figure, each on a scale of times its own first value: what does not grow is flat."""
    height = TOP + len(rows) * ROW + FOOT
    places = [LEFT + (WIDTH - LEFT - RIGHT) * place / (len(columns) - 1) for place in range(len(columns))]
    parts = [f'<text class="soft" x="20" y="52">{escape(note)}</text>']
    parts += [
        f'<text class="number" x="{place:.0f}" y="{TOP - 10}">{escape(column)}</text>'
        for place, column in zip(places, columns, strict=True)
    ]
    for number, row in enumerate(rows):
        parts += draw_row(row, places, TOP + number * ROW)
    return frame(title, WIDTH, height, parts)


def draw_row(row: Row, places: Sequence[float], top: float) -> list[str]:
    first = next(value for value in row.values if value)
    middle = top + ROW / 2 + 6
    points = [
        (place, middle - find_rise(value / first) * (ROW / 2 - 8), value)
        for place, value in zip(places, row.values, strict=True)
        if value
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    return [
        f'<line class="edge" x1="20" y1="{top}" x2="{WIDTH - 20}" y2="{top}"/>',
        f'<text x="20" y="{middle - 3:.0f}">{escape(row.name)}</text>',
        f'<text class="soft" x="20" y="{middle + 12:.0f}">{escape(row.note)}</text>',
        f'<line class="rule" x1="{places[0]:.0f}" y1="{middle}" x2="{places[-1]:.0f}" y2="{middle}"/>',
        f'<polyline class="line" points="{line}"/>',
        *(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y, _ in points),
        *(
            f'<text class="number" x="{x:.0f}" y="{y - 9:.0f}">{shorten(value)}</text>'
            for x, y, value in points
        ),
    ]


def find_rise(factor: float) -> float:
    """From −1 to 1: how far from its first value, on a logarithmic scale."""
    return max(-1.0, min(1.0, math.log(factor) / math.log(SPAN)))


def shorten(value: float) -> str:
    """A number with about three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

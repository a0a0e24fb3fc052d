"""Horizontal bars as an SVG, two a row."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from benchmarks.drawing import frame, shorten

WIDTH, LEFT, RIGHT, TOP, FOOT = 760, 136, 76, 84, 14
ROW, BAR = 40, 13
# A bar that stands for something can be seen.
LEAST = 2
STYLE = """
.name{font-size:14px;text-anchor:end}.tuned{fill:#2f6fde}.default{fill:#a9c6f7}
@media (prefers-color-scheme:dark){.tuned{fill:#7aa7ff}.default{fill:#2b4a86}}
""".replace("\n", "")


@dataclass(frozen=True)
class Row:
    """What one bar of each kind stands for."""

    name: str
    tuned: float
    default: float


def draw(title: str, rows: list[Row]) -> str:
    """All rows from nothing to the greatest, each with its figures."""
    greatest = max((max(row.tuned, row.default) for row in rows), default=1)
    bottom = TOP + len(rows) * ROW
    parts = [f"<style>{STYLE}</style>", *draw_key()]
    for place, row in enumerate(rows):
        parts += draw_row(row, TOP + place * ROW, greatest)
    parts.append(f'<line class="edge" x1="{LEFT}" y1="{TOP - 6}" x2="{LEFT}" y2="{bottom - 6}"/>')
    return frame(title, WIDTH, bottom + FOOT, parts)


def draw_key() -> list[str]:
    return [
        '<rect class="tuned" x="20" y="48" width="12" height="12" rx="2"/>',
        '<text x="38" y="58">tuned, by its documentation</text>',
        '<rect class="default" x="232" y="48" width="12" height="12" rx="2"/>',
        '<text x="250" y="58">as it comes</text>',
    ]


def draw_row(row: Row, top: int, greatest: float) -> list[str]:
    return [
        f'<text class="name" x="{LEFT - 10}" y="{top + BAR + 6}">{escape(row.name)}</text>',
        *draw_bar("tuned", row.tuned, top, greatest),
        *draw_bar("default", row.default, top + BAR + 2, greatest),
    ]


def draw_bar(kind: str, value: float, top: int, greatest: float) -> list[str]:
    width = max(LEAST, round((WIDTH - LEFT - RIGHT) * value / greatest))
    return [
        f'<rect class="{kind}" x="{LEFT}" y="{top}" width="{width}" height="{BAR}" rx="2"/>',
        f'<text class="soft" x="{LEFT + width + 6}" y="{top + 11}">{shorten(value)}</text>',
    ]

"""Curves over time as an SVG: one panel a figure, each from nothing to its own top."""

from __future__ import annotations

from html import escape

WIDTH, PANEL, GAP = 760, 96, 34
LEFT, RIGHT = 16, 120


def draw(title: str, minutes: list[float], figures: dict[str, list[float]]) -> str:
    """An SVG of all figures over the same minutes."""
    height = 44 + len(figures) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        "<style>text{font:12px system-ui,sans-serif;fill:#555}.t{font-size:15px;fill:#111}"
        ".l{fill:none;stroke:#3366cc;stroke-width:1.6}.g{stroke:#ccc}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text class="t" x="{LEFT}" y="24">{escape(title)}</text>',
    ]
    for place, (name, values) in enumerate(figures.items()):
        parts += draw_panel(name, minutes, values, 44 + place * (PANEL + GAP))
    return "\n".join([*parts, "</svg>"])


def draw_panel(name: str, minutes: list[float], values: list[float], top: float) -> list[str]:
    highest, last = max(values) or 1, minutes[-1] or 1
    bottom, right = top + PANEL, WIDTH - RIGHT
    points = " ".join(
        f"{LEFT + (right - LEFT) * minute / last:.1f},{bottom - (PANEL - 18) * value / highest:.1f}"
        for minute, value in zip(minutes, values, strict=True)
    )
    return [
        f'<text x="{LEFT}" y="{top + 8}">{escape(name)}</text>',
        f'<line class="g" x1="{LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}"/>',
        f'<polyline class="l" points="{points}"/>',
        f'<text x="{right + 8}" y="{top + 22}">top {highest:,.1f}</text>',
        f'<text x="{right + 8}" y="{top + 40}">end {values[-1]:,.1f}</text>',
        f'<text x="{right - 46}" y="{bottom + 14}">{last:.0f} min</text>',
    ]

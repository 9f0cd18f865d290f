"""Two kinds of picture, written as SVG by hand: bars of advantages on a logarithmic axis, and lines of growth.

Not a plotting library: what these two need and no more. Colours read on light and dark pages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

OURS, APACHE, MUTED, SHORT = "#2a7f62", "#b5651d", "#888888", "#c0392b"
COLOURS = {"ours": OURS, "Apache Kafka": APACHE}
FONT = 'font-family="sans-serif" font-size="12"'


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = MUTED) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" {FONT}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = MUTED, width: float = 1, dash: str = "") -> str:
    style = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"{style}/>'


def _picture(width: float, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}">\n{body}\n</svg>\n'


def advantages(bars: Sequence[tuple[str, float, float, float, float | None]]) -> str:
    """One bar for each (label, median, worst, best, goal): to the right of 1 is ahead. A mark shows the goal."""
    left, width, row = 290, 900, 20
    values = [value for _, *numbers in bars for value in numbers if value]
    low, high = math.floor(math.log10(min([*values, 1]))), math.ceil(math.log10(max([*values, 10])))

    def place(value: float) -> float:
        return left + (math.log10(value) - low) / (high - low) * (width - left - 20)

    parts = []
    for power in range(low, high + 1):
        x = place(10.0**power)
        parts += [_line(x, 20, x, 24 + row * len(bars), width=0.5), _text(x, 14, f"{10.0**power:g}x", "middle")]
    parts.append(_line(place(1), 20, place(1), 24 + row * len(bars), width=1.5))
    for number, (label, median, worst, best, goal) in enumerate(bars):
        y = 26 + row * number
        colour = OURS if median >= (goal or 1) else SHORT
        start, end = sorted((place(1), place(median)))
        parts.append(f'<rect x="{start:.1f}" y="{y}" width="{end - start:.1f}" height="12" fill="{colour}"/>')
        parts.append(_line(place(worst), y + 6, place(best), y + 6, width=1.5))
        parts.append(_text(left - 8, y + 10, label, "end"))
        if goal:
            parts.append(_line(place(goal), y - 2, place(goal), y + 14, APACHE, 2))
    return _picture(width, 34 + row * len(bars), parts)


def growth(title: str, along: str, unit: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines over logarithmic axes, a dot for each point."""
    left, top, width, height = 80, 40, 620, 300
    xs = [x for line in lines.values() for x, _ in line]
    ys = [y for line in lines.values() for _, y in line if y > 0]
    low_x, high_x = math.log10(min(xs)), math.log10(max(xs))
    low_y, high_y = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)
    high_y = max(high_y, low_y + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (math.log10(x) - low_x) / (high_x - low_x) * (width - left - 30)
        return across, top + (high_y - math.log10(y)) / (high_y - low_y) * (height - top - 50)

    parts = [_text(left, 18, f"{title}, {unit}")]
    for power in range(low_y, high_y + 1):
        _, y = place(min(xs), 10.0**power)
        parts += [_line(left, y, width - 30, y, width=0.5), _text(left - 6, y + 4, f"{10.0**power:g}", "end")]
    for x in sorted(set(xs)):
        across, _ = place(x, 10.0**low_y)
        parts += [_line(across, top, across, height - 50, width=0.3), _text(across, height - 34, f"{x:,.0f}", "middle")]
    parts.append(_text((left + width) / 2, height - 14, along, "middle"))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS.get(name, MUTED)
        points = [place(x, y) for x, y in line if y > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        parts.append(_text(width - 30 - 110 * number, 18, name, "end", colour))
    return _picture(width, height, parts)

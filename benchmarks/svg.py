"""Small SVG plots: bars of a row's sides, and curves of a boot storm over time. No library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH = 720
_LEFT, _RIGHT, _BAR, _GAP, _TOP = 170, 120, 22, 10, 44
_COLOURS = ("#2563a8", "#9aa5b1", "#c58b3b", "#6f9a5d", "#8c6bb1", "#b5525c")
_STYLE = "font-family='sans-serif' font-size='13'"


def _open(height: int, title: str) -> list[str]:
    return [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' {_STYLE}>",
        f"<rect width='{WIDTH}' height='{height}' fill='white'/>",
        f"<text x='12' y='24' font-size='15' font-weight='bold'>{escape(title)}</text>",
    ]


def bars(
    title: str,
    values: Mapping[str, float],
    unit: str,
    spread: Mapping[str, tuple[float, float]] | None = None,
) -> str:
    """One bar for each name; `spread` draws the least and the greatest of several runs as a line."""
    spread = spread or {}
    most = max([*values.values(), *(high for _, high in spread.values()), 1e-12])
    out = _open(_TOP + len(values) * (_BAR + _GAP) + 10, title)
    scale = (WIDTH - _LEFT - _RIGHT) / most
    for number, (name, value) in enumerate(values.items()):
        y = _TOP + number * (_BAR + _GAP)
        colour = _COLOURS[number % len(_COLOURS)]
        out.append(f"<text x='{_LEFT - 8}' y='{y + 16}' text-anchor='end'>{escape(name)}</text>")
        out.append(f"<rect x='{_LEFT}' y='{y}' width='{value * scale:.1f}' height='{_BAR}' fill='{colour}'/>")
        end = value
        if name in spread:
            low, high = spread[name]
            middle = y + _BAR / 2
            out.append(
                f"<path d='M{_LEFT + low * scale:.1f} {middle}H{_LEFT + high * scale:.1f}'"
                " stroke='black' stroke-width='2'/>"
            )
            end = max(value, high)
        out.append(f"<text x='{_LEFT + end * scale + 6:.1f}' y='{y + 16}'>{value:.4g} {escape(unit)}</text>")
    return "\n".join([*out, "</svg>", ""])


def curves(title: str, series: Mapping[str, Sequence[float]], unit: str) -> str:
    """One curve for each name; a point for each second."""
    height, bottom = 320, 280
    longest = max((len(points) for points in series.values()), default=1)
    most = max((max(points, default=0) for points in series.values()), default=1) or 1
    out = _open(height, title)
    across, up = (WIDTH - 90 - 130) / max(1, longest - 1), (bottom - 50) / most
    out.append(f"<path d='M90 50V{bottom}H{WIDTH - 130}' fill='none' stroke='#555'/>")
    for part in (0.0, 0.5, 1.0):
        y, x = bottom - part * most * up, 90 + part * (longest - 1) * across
        out.append(f"<text x='82' y='{y + 4:.0f}' text-anchor='end'>{part * most:.4g}</text>")
        out.append(
            f"<text x='{x:.0f}' y='{bottom + 20}' text-anchor='middle'>{part * (longest - 1):.0f} s</text>"
        )
    out.append(f"<text x='12' y='44'>{escape(unit)}</text>")
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        held = [*points, *[points[-1] if points else 0] * (longest - len(points))]
        path = " ".join(f"{90 + i * across:.1f},{bottom - value * up:.1f}" for i, value in enumerate(held))
        out.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        out.append(f"<text x='{WIDTH - 122}' y='{66 + 18 * number}' fill='{colour}'>{escape(name)}</text>")
    return "\n".join([*out, "</svg>", ""])

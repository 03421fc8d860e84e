"""Draws a comparison of policies as an SVG: mean completion times, and who waited over time.

Plain text with a few shapes; no library, no fonts of its own. Called by `fluxhive simulate --plot`.
"""

from __future__ import annotations

from math import log10
from xml.sax.saxutils import escape

from .tally import Result, Tally

WIDTH, BAR_HEIGHT, LEFT, RIGHT = 860, 26, 110, 90
CHART_HEIGHT = 260
POINTS = 400
#: Told apart by people who do not see red and green alike (Okabe and Ito, 2008).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")


def draw(title: str, results: list[Result], tallies: list[tuple[str, Tally]]) -> str:
    """The whole picture."""
    bars_top = 70
    chart_top = bars_top + len(results) * (BAR_HEIGHT + 8) + 60
    height = chart_top + CHART_HEIGHT + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(16, 26, title, size=16, weight="bold"),
        _text(16, bars_top - 14, "mean time from submission to the end (bar), median (line)"),
        *_bars(results, bars_top),
        _text(16, chart_top - 14, "tasks that wait for their first start, over time"),
        *_queues(tallies, chart_top),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bars(results: list[Result], top: int) -> list[str]:
    room = WIDTH - LEFT - RIGHT
    longest = max(result.mean_jct_h for result in results) or 1.0
    parts = []
    for position, result in enumerate(results):
        y = top + position * (BAR_HEIGHT + 8)
        length = room * result.mean_jct_h / longest
        median = LEFT + room * result.p50_jct_h / longest
        colour = COLOURS[position % len(COLOURS)]
        parts += [
            _text(16, y + 18, result.policy),
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR_HEIGHT}" '
            f'fill="{colour}"/>',
            f'<line x1="{median:.1f}" x2="{median:.1f}" y1="{y}" y2="{y + BAR_HEIGHT}" '
            'stroke="black" stroke-width="2"/>',
            _text(LEFT + length + 8, y + 18, f"{result.mean_jct_h:.2f} h"),
        ]
    return parts


def _queues(tallies: list[tuple[str, Tally]], top: int) -> list[str]:
    """One line for each policy; a logarithmic scale, because queues differ by powers of ten."""
    curves = [(name, tally.queue_lengths(POINTS)) for name, tally in tallies]
    hours = max((hour for _, points in curves for hour, _ in points), default=1.0) or 1.0
    most = max((waiting for _, points in curves for _, waiting in points), default=1)
    scale = CHART_HEIGHT / max(1.0, log10(most + 1))
    room, bottom = WIDTH - LEFT - RIGHT, top + CHART_HEIGHT
    parts = [
        f'<line x1="{LEFT}" x2="{LEFT + room}" y1="{bottom}" y2="{bottom}" stroke="#888"/>',
        f'<line x1="{LEFT}" x2="{LEFT}" y1="{top}" y2="{bottom}" stroke="#888"/>',
        _text(LEFT + room - 60, bottom + 20, f"{hours:.0f} hours"),
    ]
    step = 1
    while step <= most:
        y = bottom - scale * log10(step + 1)
        parts.append(_text(LEFT - 60, y + 4, str(step)))
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + room}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>'
        )
        step *= 10
    for position, (name, points) in enumerate(curves):
        colour = COLOURS[position % len(COLOURS)]
        path = " ".join(
            f"{LEFT + room * hour / hours:.1f},{bottom - scale * log10(waiting + 1):.1f}"
            for hour, waiting in points
        )
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}"/>')
        parts.append(_text(LEFT + room + 8, top + 16 + 18 * position, name, colour=colour))
    return parts


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 13,
    weight: str = "normal",
    colour: str = "black",
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'fill="{colour}">{escape(text)}</text>'
    )

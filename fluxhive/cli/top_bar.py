"""The GPU bar, as wide as there is room: who uses how much of a GPU's memory.

From the left each attempt's part in its owner's colour, solid what it uses; then what is reserved
and not used, hatched; then what processes outside FlowHive use, in stripes; then what is free. The
same order as in the dashboard. It reads without colours too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from fluxhive.cli.messages import BLUE, CYAN, GREEN, MAGENTA, YELLOW
from fluxhive.protocol.rest import GpuView

#: Light colours for owners; red is kept for what is wrong.
OWNER_COLOURS = (CYAN, GREEN, MAGENTA, BLUE, YELLOW, "96", "92", "95", "94", "93")
GREY = "90"
#: What drivers and contexts take of a GPU that nobody uses.
OVERHEAD_MIB = 1024


class Glyphs(NamedTuple):
    """What the parts of a bar are drawn with."""

    used: str
    reserved: str
    foreign: str
    free: str
    #: From idle to busy.
    levels: str
    rule: str


UNICODE = Glyphs("█", "▒", "≡", "·", "▁▂▃▄▅▆▇█", "─")
ASCII = Glyphs("#", "=", "o", ".", "0123456789", "-")


class Span(NamedTuple):
    """A piece of a line in one style; the style is an SGR code, empty: plain."""

    text: str
    style: str = ""


def colour_of(owner: str) -> str:
    """The colour that this owner has everywhere in the view."""
    # Not hash(): it differs from process to process.
    return OWNER_COLOURS[sum(owner.encode()) % len(OWNER_COLOURS)]


def bar(
    gpu: GpuView, width: int, glyphs: Glyphs, owner_of: Callable[[str], str | None]
) -> list[Span]:
    """The bar of a GPU. `owner_of` an attempt is None where nobody knows."""
    report = gpu.report
    total_mib = max(report.total_mib, 1)
    parts: list[tuple[int, str, str]] = []
    for usage in report.attempts:
        owner = owner_of(usage.attempt_id)
        parts.append((usage.used_mib, glyphs.used, colour_of(owner) if owner else GREY))
    used_mib = sum(mib for mib, _, _ in parts)
    parts.append((max(0, gpu.reserved_mib - used_mib), glyphs.reserved, ""))
    # What an ended attempt has not given back is nobody's yet, and drawn as strangers' is.
    left_mib = (report.used_mib or 0) - used_mib
    foreign_mib = report.foreign_mib or 0
    strange_mib = left_mib if left_mib - foreign_mib > OVERHEAD_MIB else foreign_mib
    parts.append((strange_mib, glyphs.foreign, GREY))
    spans: list[Span] = []
    done_mib, drawn = 0, 0
    for mib, glyph, style in parts:
        done_mib += mib
        # Rounded where the part ends: parts of one GPU never add up to more than its bar.
        end = min(width, round(done_mib * width / total_mib))
        if mib and end == drawn and drawn < width:
            end += 1  # however small, somebody is there
        if end > drawn:
            spans.append(Span(glyph * (end - drawn), style))
            drawn = end
    if drawn < width:
        spans.append(Span(glyphs.free * (width - drawn), GREY))
    return spans


def level(percent: int | None, glyphs: Glyphs) -> str:
    """Utilization as one character; a question mark where the GPU does not say."""
    if percent is None:
        return "?"
    last = len(glyphs.levels) - 1
    return glyphs.levels[min(last, max(0, percent) * len(glyphs.levels) // 100)]

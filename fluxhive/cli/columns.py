"""How wide texts are on a terminal, and rows of cells that fit it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

#: Between two columns.
GAP = 2
#: A column is not cut below this, or nobody knows what it says.
COLUMN_WIDTH_MIN = 6
#: The first column names the thing; the longest id of a member of an array is about as wide.
FIRST_WIDTH_MIN = 20


def terminal_width() -> int:
    """Columns of the terminal; `COLUMNS` goes first, as everywhere."""
    return shutil.get_terminal_size().columns


def width_of(text: str) -> int:
    """How many columns the text takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1
        for character in text
    )


def cut(text: str, width: int) -> str:
    """The text, or its beginning and `…` where it is wider."""
    if width_of(text) <= width:
        return text
    if width <= 0:
        return ""
    kept, used = [], 0
    for character in text:
        used += width_of(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def folded(text: str, width: int) -> list[str]:
    """The text in lines of at most this width, broken at blanks where there are some."""
    lines: list[str] = []
    while width_of(text) > width:
        end = len(cut(text, width + 1)) - 1 or 1
        blank = text.rfind(" ", end // 2, end + 1)
        at = end if blank < 0 else blank
        lines.append(text[:at])
        text = text[at:].lstrip(" ")
    return [*lines, text]


def padded(text: str, width: int) -> str:
    """The text cut or filled up with blanks to just this width."""
    shown = cut(text, width)
    return shown + " " * (width - width_of(shown))


def fitted(rows: Sequence[Sequence[str]], limit: int | None) -> list[list[str]]:
    """The rows with their cells padded to columns that together fit into the limit.

    What is too wide is taken from the widest columns; the first, which names the thing, and the
    titles (the first row) stay whole as long as anything else can be cut.
    """
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    least = [max(width_of(title), COLUMN_WIDTH_MIN) for title in rows[0]]
    excess = 0 if limit is None else sum(widths) + GAP * (len(widths) - 1) - limit
    while excess > 0:
        can_shrink = [n for n in range(1, len(widths)) if widths[n] > least[n]]
        if not can_shrink and widths[0] > FIRST_WIDTH_MIN:
            can_shrink = [0]
        if not can_shrink:
            break
        widths[max(can_shrink, key=lambda n: widths[n])] -= 1
        excess -= 1
    return [[padded(cell, width) for cell, width in zip(row, widths, strict=True)] for row in rows]

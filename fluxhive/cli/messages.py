"""How FlowHive speaks to a person: errors with a hint, warnings, notes, and when in colour.

All of it goes to standard error; data goes to standard output through `output.py`. Everything is
readable without colour; `NO_COLOR` (no-color.org) and output that is no terminal turn it off.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

import click

from fluxhive.core.errors import FluxhiveError

RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = "31", "32", "33", "34", "35", "36"
BOLD, DIM = "1", "2"
COLOUR = "fluxhive.colour"
"""What `--color` said, by this name in click's context; without it the stream decides."""

#: The same everywhere, and never the only sign: the word stands there too.
STATE_COLOURS = {
    "running": BLUE,
    "starting": BLUE,
    "stopping": BLUE,
    "succeeded": GREEN,
    "ready": GREEN,
    "healthy": GREEN,
    "failed": RED,
    "faulty": RED,
    "lost": RED,
    "retrying": YELLOW,
    "adrift": YELLOW,
    "silent": YELLOW,
    "draining": YELLOW,
    "dirty": YELLOW,
    "queued": DIM,
    "held": DIM,
    "cancelled": DIM,
}


def has_colour(stream: TextIO) -> bool:
    """Whether escape sequences for colour belong into this stream."""
    context = click.get_current_context(silent=True)
    chosen = None if context is None else context.meta.get(COLOUR)
    if chosen in ("always", "never"):
        return bool(chosen == "always")
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO) -> str:
    """The text in that colour where the stream shows colours."""
    return f"\x1b[{colour}m{text}\x1b[0m" if has_colour(stream) else text


def show(error: FluxhiveError) -> int:
    """Prints the error, an empty line and its hint, and gives the exit code."""
    say(f"{paint('error', RED, sys.stderr)}: {visible(error.text)}")
    if error.hint:
        say(f"\n{paint('hint', CYAN, sys.stderr)}: {visible(error.hint)}")
    return error.exit_code


def warn(text: str) -> None:
    """Prints something that needs attention but stops nothing."""
    say(f"{paint('warning', YELLOW, sys.stderr)}: {visible(text)}")


def say(text: str) -> None:
    """Prints a line of talk. A closed standard error is no reason to fail."""
    try:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def visible(text: str) -> str:
    """The text with control characters shown, so that foreign text cannot steer the terminal."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "replace").decode()
        for c in text
    )

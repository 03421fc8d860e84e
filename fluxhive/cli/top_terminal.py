"""The terminal as `fluxhive top` needs it: keys as they are pressed, the screen drawn as a whole.

ANSI sequences alone (ECMA-48), which every terminal of today and every ssh understands: no terminal
database, no library. What the screen showed before is back when it ends, however it ends.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from fluxhive.cli import output
from fluxhive.cli.top_bar import Span

#: How long a lone Escape is waited with: the rest of an arrow key comes at once.
ESCAPE_S = 0.05
#: The size of the window is looked at so often; a resize is drawn then.
LOOK_S = 0.25

_KEYS = {
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x03": "ctrl-c",
    "\x04": "ctrl-d",
    "\x1b": "escape",
}
_SEQUENCES = {
    "[A": "up",
    "[B": "down",
    "OA": "up",
    "OB": "down",
    "[5~": "page-up",
    "[6~": "page-down",
    "[H": "home",
    "[F": "end",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[4~": "end",
}


class Screen:
    """The terminal while it is ours. Use `opened`."""

    def __init__(self, wake: int) -> None:
        self._in = sys.stdin.fileno()
        self._wake = wake
        self._pending = b""

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines, as they are now."""
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    def draw(self, lines: Sequence[Sequence[Span]], *, is_coloured: bool) -> None:
        """Shows these lines; each covers what stood there."""
        texts = [styled(line, is_coloured=is_coloured) + "\x1b[K" for line in lines]
        output.raw("\x1b[H" + "\r\n".join(texts) + "\x1b[J")

    def pressed(self) -> list[str]:
        """The keys that were pressed, once there are some, news, or the look-out is over."""
        ready, _, _ = select.select([self._in, self._wake], [], [], LOOK_S)
        if self._wake in ready:
            os.read(self._wake, 4096)
        if self._in not in ready:
            return []
        data = os.read(self._in, 4096)
        if not data:
            return ["ctrl-d"]  # the terminal is gone
        if data.endswith(b"\x1b") and select.select([self._in], [], [], ESCAPE_S)[0]:
            data += os.read(self._in, 4096)
        self._pending += data
        text = self._pending.decode("utf-8", "ignore")
        self._pending = b""
        return list(keys_of(text))


def keys_of(text: str) -> Iterator[str]:
    """The names of keys in what the terminal sent; unknown sequences are passed over."""
    at = 0
    while at < len(text):
        if text[at] == "\x1b" and text[at + 1 : at + 2] in ("[", "O"):
            end = at + 2
            while end < len(text) and not "@" <= text[end] <= "~":
                end += 1
            found = _SEQUENCES.get(text[at + 1 : end + 1])
            if found is not None:
                yield found
            at = end + 1
        else:
            yield _KEYS.get(text[at], text[at])
            at += 1


def styled(line: Sequence[Span], *, is_coloured: bool) -> str:
    """The line with its styles; without colours only reverse video stays, which marks the place."""
    return "".join(
        f"\x1b[{span.style}m{span.text}\x1b[0m"
        if span.style and (is_coloured or span.style == "7")
        else span.text
        for span in line
    )


@contextmanager
def opened(wake: int) -> Iterator[Screen]:
    """Takes the terminal, and gives it back as it was."""
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        tty.setraw(handle)
        # The other screen, no cursor, no wrapping of what is too long.
        output.raw("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J")
        yield Screen(wake)
    finally:
        output.raw("\x1b[?7h\x1b[?25h\x1b[?1049l")
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _end(number: int, _frame: FrameType | None) -> None:
    """Ends as the signal would, but for the terminal, which is given back first."""
    raise SystemExit(128 + number)

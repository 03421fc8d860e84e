"""Makes a task's output harmless for a terminal, and leaves its colours.

Programs print what they are told to, and what they are told may come from strangers: a sequence
that sets the window's title, writes the clipboard (OSC 52) or moves the cursor over earlier lines.
Colours (SGR) stay, and so does the carriage return of progress bars; every other sequence and
control character is left out. What goes into a pipe or a file is not touched.
"""

from __future__ import annotations

import codecs
from enum import Enum

SEQUENCE_LENGTH_MAX = 4096
"""A longer one never ends: what follows is text again, or one escape would hide all output."""
KEPT_CONTROLS = frozenset("\n\r\t")


class _Place(Enum):
    """Where in a sequence we stand (ECMA-48 §5)."""

    TEXT = "text"
    ESCAPE = "escape"
    CSI = "csi"
    #: OSC, DCS, SOS, PM, APC: anything until BEL or ST.
    STRING = "string"
    STRING_ESCAPE = "string-escape"


class TerminalFilter:
    """Filters one stream; pieces may break anywhere, in characters and in sequences."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._place = _Place.TEXT
        self._sequence = ""

    def feed(self, data: bytes) -> str:
        """What of the next bytes may be shown now."""
        return "".join(self._step(character) for character in self._decoder.decode(data))

    def _step(self, character: str) -> str:
        if self._place is _Place.TEXT:
            return self._text(character)
        self._sequence += character
        if character == "\n" or len(self._sequence) > SEQUENCE_LENGTH_MAX:
            self._leave()
            return character if character == "\n" else ""
        if self._place is _Place.CSI:
            return self._csi(character)
        if self._place is _Place.ESCAPE:
            self._escape(character)
        elif self._place is _Place.STRING_ESCAPE:
            if character == "\\":
                self._leave()
            else:
                self._place = _Place.STRING
        elif character in ("\a", "\x9c"):
            self._leave()
        elif character == "\x1b":
            self._place = _Place.STRING_ESCAPE
        return ""

    def _text(self, character: str) -> str:
        code = ord(character)
        if code >= 160 or 32 <= code < 127 or character in KEPT_CONTROLS:
            return character
        if character == "\x1b":
            self._enter(_Place.ESCAPE)
        elif character == "\x9b":
            self._enter(_Place.CSI)
        elif character in "\x90\x98\x9d\x9e\x9f":
            self._enter(_Place.STRING)
        return ""

    def _escape(self, character: str) -> None:
        if character == "[":
            self._enter(_Place.CSI)
        elif character in "]PX^_":
            self._enter(_Place.STRING)
        elif not " " <= character <= "/":  # intermediate bytes; anything else ends it
            self._leave()

    def _csi(self, character: str) -> str:
        if " " <= character <= "?":
            return ""
        parameters = self._sequence[:-1]
        self._leave()
        is_colour = character == "m" and all(c in "0123456789;:" for c in parameters)
        return f"\x1b[{parameters}m" if is_colour else ""

    def _enter(self, place: _Place) -> None:
        self._place, self._sequence = place, ""

    def _leave(self) -> None:
        self._enter(_Place.TEXT)

"""What `fluxhive doctor` finds: one value."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Level(Enum):
    """How bad it is."""

    OK = "ok"
    #: Nothing to do about it.
    NOTE = "note"
    #: Worth knowing; no promise breaks.
    WARNING = "warning"
    #: A promise to tasks breaks.
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One check's answer; a check may have several."""

    check: str
    level: Level
    text: str
    remedy: str = ""
    """What to do; empty when all is well."""


def ok(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, text)


def note(check: str, text: str, remedy: str = "") -> Finding:
    """Nothing to do."""
    return Finding(check, Level.NOTE, text, remedy)


def warning(check: str, text: str, remedy: str) -> Finding:
    """Worth knowing."""
    return Finding(check, Level.WARNING, text, remedy)


def problem(check: str, text: str, remedy: str) -> Finding:
    """A promise breaks."""
    return Finding(check, Level.PROBLEM, text, remedy)

"""`--array` on a command line, where one option may have several values."""

from __future__ import annotations

import re
from collections.abc import Sequence

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def spread(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line with `--array` before each of its values."""
    found: list[str] = []
    is_open = False
    for position, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[position:]]
        if is_open and found[-1] != "--array" and _VARIABLE.fullmatch(argument):
            found.append("--array")
        elif found[-1:] != ["--array"]:
            is_open = argument == "--array" or argument.startswith("--array=")
        found.append(argument)
    return found

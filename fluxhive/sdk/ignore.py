"""Which files of a tree are left out: patterns as git reads them (gitignore(5)).

Text in, decisions out: the tree is walked in ``snapshot.py``. Of several patterns that match, the
last one counts; a file of a deeper directory goes before one of a shallower.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_CLASSES = {
    "alnum": "a-zA-Z0-9",
    "alpha": "a-zA-Z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\n\r\f\v",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class Pattern(NamedTuple):
    """One line of an ignore file."""

    expression: re.Pattern[str]
    is_negated: bool
    only_directories: bool
    #: Compared with the last part of the path alone.
    by_name: bool


class Rules(NamedTuple):
    """The patterns of one ignore file; they speak of what lies below its directory."""

    #: Of the directory within the tree: empty, or with a slash at its end.
    prefix: str
    patterns: tuple[Pattern, ...]

    def decide(self, path: str, *, is_directory: bool) -> bool | None:
        """True: left out; False: taken after all; None: nothing is said about it."""
        if not path.startswith(self.prefix):
            return None
        below = path[len(self.prefix) :]
        name = below.rpartition("/")[2]
        for pattern in reversed(self.patterns):
            if pattern.only_directories and not is_directory:
                continue
            if pattern.expression.fullmatch(name if pattern.by_name else below):
                return not pattern.is_negated
        return None


def is_ignored(rules: Iterable[Rules], path: str, *, is_directory: bool) -> bool:
    """What the rules say together; the ones that go before the others come first."""
    for each in rules:
        decision = each.decide(path, is_directory=is_directory)
        if decision is not None:
            return decision
    return False


def parse_rules(text: str, prefix: str = "") -> Rules:
    """The rules of an ignore file."""
    patterns = (_pattern(line) for line in text.removeprefix("\ufeff").splitlines())
    return Rules(prefix, tuple(pattern for pattern in patterns if pattern is not None))


def _pattern(line: str) -> Pattern | None:
    line = _without_trailing_spaces(line)
    if not line or line.startswith("#"):
        return None
    is_negated = line.startswith("!")
    line = line[1:] if is_negated else line
    only_directories = line.endswith("/")
    line = line[:-1] if only_directories else line
    if not line:
        return None
    is_anchored = "/" in line
    expression = _translated(line.removeprefix("/") if is_anchored else line)
    if expression is None:
        return None
    return Pattern(re.compile(expression, re.S), is_negated, only_directories, not is_anchored)


def _without_trailing_spaces(line: str) -> str:
    stripped = line.rstrip(" ")
    if stripped == line:
        return line
    n_backslashes = len(stripped) - len(stripped.rstrip("\\"))
    return stripped + " " if n_backslashes % 2 else stripped


def _translated(pattern: str) -> str | None:
    """As a regular expression; None for one that can match nothing."""
    found, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            end = at
            while pattern[end : end + 1] == "*":
                end += 1
            part, at = _stars(pattern, at, end)
            found += part
        elif character == "?":
            found, at = found + "[^/]", at + 1
        elif character == "[":
            part_or_none, at = _bracket(pattern, at)
            if part_or_none is None:
                return None
            found += part_or_none
        elif character == "\\":
            if at + 1 == len(pattern):
                return None
            found, at = found + re.escape(pattern[at + 1]), at + 2
        else:
            found, at = found + re.escape(character), at + 1
    return found


def _stars(pattern: str, start: int, end: int) -> tuple[str, int]:
    """Stars from ``start`` to ``end``: two that are a whole part of the path cross directories."""
    is_part = start == 0 or pattern[start - 1] == "/"
    if end - start == 2 and is_part:
        if end == len(pattern):
            return ".*" if start == 0 else ".+", end
        if pattern[end] == "/":
            return "(?:.*/)?", end + 1
    return "[^/]*", end


def _bracket(pattern: str, start: int) -> tuple[str | None, int]:
    """A set of characters and where it ends; None when it is never closed."""
    at = start + 1
    is_negated = pattern[at : at + 1] in ("!", "^")
    at += is_negated
    items, is_first = "", True
    while True:
        character = pattern[at : at + 1]
        if not character:
            return None, at
        if character == "]" and not is_first:
            break
        is_first = False
        named = re.compile(r"\[:([a-z]+):\]").match(pattern, at)
        if named is not None:
            if named[1] not in _CLASSES:
                return None, at
            items, at = items + _CLASSES[named[1]], named.end()
            continue
        low, at = _member(pattern, at)
        if low is None:
            return None, at
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _member(pattern, at + 1)
            if high is None:
                return None, at
            if low <= high:
                items += f"{re.escape(low)}-{re.escape(high)}"
        else:
            items += re.escape(low)
    if not items:
        return ("[^/]" if is_negated else r"(?!)"), at + 1
    return f"(?!/)[{'^' if is_negated else ''}{items}]", at + 1


def _member(pattern: str, at: int) -> tuple[str | None, int]:
    if pattern[at] == "\\":
        at += 1
    if at >= len(pattern):
        return None, at
    return pattern[at], at + 1

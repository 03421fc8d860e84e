"""Data on standard output, in one of four forms: table, plain, json, ids.

On a terminal a table; piped the same columns separated by tabs, nothing cut and no colour; with
``--json`` one object with ``"schema": 1``, stable; with ``-q`` only ids, one a line. No command
writes data by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import click

from fluxhive.cli.messages import BOLD, paint, visible

SCHEMA = 1
"""Raised when the JSON of a command changes in a way that readers notice."""

Command = TypeVar("Command", bound=Callable[..., Any])


class Form(NamedTuple):
    """Which of the forms was asked for."""

    is_json: bool = False
    is_quiet: bool = False


def json_option(command: Command) -> Command:
    """Adds `--json` to a command, which gets it as `is_json`."""
    return click.option("--json", "is_json", is_flag=True, help="Print JSON.")(command)


def quiet_option(command: Command) -> Command:
    """Adds `-q` to a command, which gets it as `is_quiet`."""
    return click.option("-q", "--quiet", "is_quiet", is_flag=True, help="Print ids only.")(command)


def rows(
    form: Form,
    name: str,
    titles: Sequence[str],
    cells: Iterable[Sequence[str]],
    *,
    items: object,
    ids: Iterable[str] = (),
) -> None:
    """Prints many things: `items` under `name` as JSON, `ids`, or the `cells` under `titles`."""
    if form.is_json:
        json({name: items})
    elif form.is_quiet:
        lines(ids)
    elif sys.stdout.isatty():
        _table(titles, [[visible(cell) for cell in row] for row in cells])
    else:
        lines("\t".join(visible(cell) for cell in row) for row in [titles, *cells])


def pairs(form: Form, facts: Sequence[tuple[str, str]], *, item: object) -> None:
    """Prints one thing: the members of `item` as JSON, or its facts, one a line."""
    if form.is_json:
        one(item)
    elif sys.stdout.isatty():
        width = max((len(title) for title, _ in facts), default=0)
        lines(f"{title:<{width}}  {visible(value)}".rstrip() for title, value in facts)
    else:
        lines(f"{title}\t{visible(value)}" for title, value in facts)


def json(members: dict[str, object]) -> None:
    """Prints one JSON object with the schema's number."""
    import msgspec  # not needed for any other form

    encoded = msgspec.json.encode(_whole({"schema": SCHEMA, **members}))
    lines([msgspec.json.format(encoded, indent=2).decode()])


def one(item: object) -> None:
    """Prints one record as JSON, its members beside the schema's number."""
    members = _whole(item)
    assert isinstance(members, dict), f"not a record: {item!r}"
    json(members)


def _whole(value: object) -> object:
    """The value with every field of its records there, also those that hold their default.

    On the wire defaults are left out; a script that reads our JSON must not have to know them.
    """
    import msgspec

    if isinstance(value, msgspec.Struct):
        return {name: _whole(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: _whole(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(inner) for inner in value]
    return value


def lines(texts: Iterable[str]) -> None:
    """Prints the texts, one a line."""
    for text in texts:
        sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _table(titles: Sequence[str], cells: list[list[str]]) -> None:
    columns = [list(column) for column in zip(titles, *cells, strict=True)]
    widths = [max(len(text) for text in column) for column in columns]

    def line(row: Sequence[str]) -> str:
        return "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))

    lines([paint(line(titles).rstrip(), BOLD, sys.stdout), *(line(row).rstrip() for row in cells)])

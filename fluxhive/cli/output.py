"""Data on standard output, in one of five forms: table, wide, json, jsonl, name.

On a terminal a table that fits its width (`wide`: nothing is cut); piped the same columns separated
by tabs, nothing cut and no colour; with ``--json`` one object with ``"schema": 1``, stable; with
``-o jsonl`` one object a line; with ``-q`` only ids, one a line. No command writes data by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import click

from fluxhive.cli.messages import BOLD, COLOUR, STATE_COLOURS, paint, say, visible

SCHEMA = 1
"""Raised when the JSON of a command changes in a way that readers notice."""

FORMS = ("table", "wide", "json", "jsonl", "name")

Command = TypeVar("Command", bound=Callable[..., Any])


class Form(NamedTuple):
    """Which of the forms was asked for."""

    is_json: bool = False
    is_quiet: bool = False
    #: One JSON object a line, one for each thing.
    is_jsonl: bool = False
    #: A table, be it on a terminal or not.
    is_table: bool = False
    #: A table with all columns, nothing cut.
    is_wide: bool = False

    @property
    def is_data(self) -> bool:
        """Whether a program reads it: nothing is said beside it."""
        return self.is_json or self.is_jsonl or self.is_quiet


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `-o`, `--json` and `-q` to a command, which gets what they say as `form`."""

    @wraps(command)
    def formed(
        *given: Any,
        kind: str | None,
        is_json: bool,
        is_quiet: bool,
        colour: str,
        **named: Any,
    ) -> Any:
        click.get_current_context().meta[COLOUR] = colour
        form = Form(
            is_json=is_json or kind == "json",
            is_quiet=is_quiet or kind == "name",
            is_jsonl=kind == "jsonl",
            is_table=kind in ("table", "wide") or (kind is None and colour == "always"),
            is_wide=kind == "wide",
        )
        return command(*given, form=form, **named)

    form_option = click.option(
        "-o", "--output", "kind", type=click.Choice(FORMS), help="How to print it."
    )
    colour_option = click.option(
        "--color",
        "colour",
        type=click.Choice(("auto", "always", "never")),
        default="auto",
        help="Default: auto, on a terminal.",
    )
    return form_option(json_option(quiet_option(colour_option(formed))))


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
    none: str = "",
) -> None:
    """Prints many things: `items` under `name` as JSON, `ids`, or the `cells` under `titles`.

    `none` is what a person is told where there is nothing to list.
    """
    cells = list(cells)
    if form.is_json:
        json({name: items})
    elif form.is_jsonl:
        assert isinstance(items, Iterable), f"not many things: {items!r}"
        for item in items:
            json_line(item)
    elif form.is_quiet:
        lines(ids)
    elif not cells and none:
        say(none)
    elif form.is_table or sys.stdout.isatty():
        shown = [[visible(cell) for cell in row] for row in cells]
        _table(titles, shown, is_cut=sys.stdout.isatty() and not form.is_wide)
    else:
        lines("\t".join(visible(cell) for cell in row) for row in [titles, *cells])


def pairs(form: Form, facts: Sequence[tuple[str, str]], *, item: object, id: str = "") -> None:
    """Prints one thing: the members of `item` as JSON, its `id`, or its facts, one a line."""
    if form.is_json:
        one(item)
    elif form.is_jsonl:
        json_line(item)
    elif form.is_quiet:
        lines([id] if id else [])
    elif form.is_table or sys.stdout.isatty():
        lines(aligned(facts))
    else:
        lines(f"{title}\t{visible(value)}" for title, value in facts)


def aligned(facts: Sequence[tuple[str, str]]) -> list[str]:
    """A line for each fact, the values below each other."""
    width = max((len(title) for title, _ in facts), default=0)
    return [f"{title:<{width}}  {visible(value)}".rstrip() for title, value in facts]


def json(members: dict[str, object]) -> None:
    """Prints one JSON object with the schema's number."""
    import msgspec  # not needed for any other form

    encoded = msgspec.json.encode(_whole({"schema": SCHEMA, **members}))
    lines([msgspec.json.format(encoded, indent=2).decode()])


def one(item: object) -> None:
    """Prints one record as JSON, its members beside the schema's number."""
    json(_members(item))


def json_line(item: object) -> None:
    """Prints one record as JSON on one line, its members beside the schema's number."""
    import msgspec

    lines([msgspec.json.encode({"schema": SCHEMA, **_members(item)}).decode()])


def _members(item: object) -> dict[str, object]:
    members = _whole(item)
    assert isinstance(members, dict), f"not a record: {item!r}"
    return members


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


def _table(titles: Sequence[str], cells: list[list[str]], *, is_cut: bool) -> None:
    from fluxhive.cli.columns import fitted, terminal_width

    limit = terminal_width() if is_cut else None
    shown = fitted([list(titles), *cells], limit)
    state_at = titles.index("STATE") if "STATE" in titles else -1
    head, *body = ["  ".join(row).rstrip() for row in shown]
    if state_at >= 0:
        body = [_with_state(row, state_at) for row in shown[1:]]
    lines([paint(head, BOLD, sys.stdout), *body])


def _with_state(row: list[str], at: int) -> str:
    colour = STATE_COLOURS.get(row[at].partition(" ")[0])
    painted = row if colour is None else [*row[:at], _paint_text(row[at], colour), *row[at + 1 :]]
    return "  ".join(painted).rstrip()


def _paint_text(cell: str, colour: str) -> str:
    """The cell's text in colour; the blanks behind it stay as they are."""
    text = cell.rstrip()
    return paint(text, colour, sys.stdout) + " " * (len(cell) - len(text))


def page(text: str) -> None:
    """Draws the text over what stood on the terminal before; elsewhere it is printed as it is."""
    if sys.stdout.isatty():
        # Home, then each line with what it does not cover erased, then all below.
        text = "\x1b[H" + text.replace("\n", "\x1b[K\n") + "\x1b[J"
    sys.stdout.write(text)
    sys.stdout.flush()


def raw(text: str) -> None:
    """Writes the text as it is, sequences for the terminal included."""
    sys.stdout.write(text)
    sys.stdout.flush()

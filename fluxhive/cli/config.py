"""`fluxhive config`: shows what holds and where it came from, and edits the file."""

from __future__ import annotations

import sys

import click

from fluxhive import config, places
from fluxhive.cli import messages, output
from fluxhive.core.errors import InputError, NotFound

MASK = "********"


@click.command()
@click.argument("key", required=False)
@click.argument("value", required=False)
@click.option("--unset", metavar="KEY", help="Take KEY out of the file.")
@click.option("--reveal", is_flag=True, help="Show passwords and tokens as they are.")
@output.json_option
def command(
    *, key: str | None, value: str | None, unset: str | None, reveal: bool, is_json: bool
) -> None:
    """Show the configuration, or one KEY of it, or set KEY to VALUE.

    VALUE `-` is read from standard input, which keeps a password out of the shell's history.
    """
    if unset is not None:
        if key is not None:
            raise InputError("`--unset` stands alone", hint=f"fluxhive config --unset {unset}")
        _unset(unset)
    elif key is None:
        _show_all(reveal=reveal, is_json=is_json)
    elif value is None:
        _show_one(key, reveal=reveal, is_json=is_json)
    else:
        _set(key, value)


def _show_all(*, reveal: bool, is_json: bool) -> None:
    values = _shown(reveal=reveal)
    items = [
        {"key": name, "value": value.value, "from": value.origin} for name, value in values.items()
    ]
    cells = [
        [name, "-" if value.value is None else _text(value.value), value.origin]
        for name, value in values.items()
    ]
    output.rows(
        output.Form(is_json=is_json), "config", ("KEY", "VALUE", "FROM"), cells, items=items
    )
    if sys.stdout.isatty() and not is_json:
        messages.say(f"\nfile: {places.config_path()}")


def _show_one(name: str, *, reveal: bool, is_json: bool) -> None:
    config.key_named(name)
    found = _shown(reveal=reveal)[name]
    if is_json:
        output.json({"key": name, "value": found.value, "from": found.origin})
        return
    if found.value is None:
        raise NotFound(f"`{name}` is not set", hint=f"set it: fluxhive config {name} VALUE")
    output.lines([_text(found.value)])


def _text(value: config.Plain) -> str:
    """The value as the file spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(*, reveal: bool) -> dict[str, config.Value]:
    values = config.resolve()
    if reveal:
        return values
    return {
        name: found._replace(value=MASK)
        if config.BY_NAME[name].is_secret and found.value is not None
        else found
        for name, found in values.items()
    }


def _set(name: str, text: str) -> None:
    key = config.key_named(name)
    if text == "-":
        text = _from_input(key)
    elif key.is_secret:
        messages.warn(
            f"`{name}` given on the command line can be seen by others while this runs and stays "
            f"in the shell's history; `fluxhive config {name} -` asks for it"
        )
    stored = config.set_key(name, text)
    messages.say(
        f"set {name} to {MASK if key.is_secret else _text(stored)} in {places.config_path()}"
    )
    winner = config.resolve()[name]
    if winner.origin != str(places.config_path()):
        messages.warn(f"another value holds now, from {winner.origin}")


def _from_input(key: config.Key) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(key.name, hide_input=key.is_secret, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _unset(name: str) -> None:
    if config.unset_key(name):
        messages.say(f"took {name} out of {places.config_path()}")
    else:
        messages.say(f"{name} was not in {places.config_path()}")

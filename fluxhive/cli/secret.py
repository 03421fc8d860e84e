"""`fluxhive secret`: sets, lists and removes what tasks may be given and nobody shall see."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.core.errors import InputError

SECRET_FILE_BYTES_MAX = 64 * 1024
"""As much as the server takes."""


@click.group()
def command() -> None:
    """Keep secrets for your tasks: set, list, remove.

    A task gets one by `submit --secret NAME`. The server keeps secrets in its database, which only
    its own user may read; they are not encrypted there.
    """


@command.command("set")
@click.argument("name")
@click.option("--file", "path", type=click.Path(), help="Take it from this file, byte for byte.")
@options.control_url
def set_secret(*, name: str, path: str | None, control_url: str | None) -> None:
    """Set a secret, or change it. It is asked for, or read from stdin; never a word of the command.

    From stdin one line end at the end is left out, so that `pass show x | fluxhive secret set X`
    keeps what was meant.
    """
    if "=" in name:
        bare = name.partition("=")[0]
        raise InputError(
            "the value of a secret is never a word of the command, where others can see it",
            field="name",
            hint=f"fluxhive secret set {bare}   asks for it; this one is in the shell's history "
            "now",
        )
    if path is not None:
        value = _read(Path(path))
    elif sys.stdin.isatty():
        value = click.prompt(f"value of {name}", hide_input=True, err=True)
    else:
        value = _text(sys.stdin.buffer.read(SECRET_FILE_BYTES_MAX + 2), "stdin")
        value = value.removesuffix("\n").removesuffix("\r")
        if not value:
            raise InputError(
                "no value came from standard input, and there is no terminal to ask on",
                field="value",
                hint=f"pass show x | fluxhive secret set {name}, or --file PATH",
            )
    kept = session.client(control_url).set_secret(name, value)
    messages.say(f"kept {kept.name} ({kept.n_bytes} bytes)")


@command.command("ls")
@options.control_url
@output.form_options
def list_secrets(*, control_url: str | None, form: output.Form) -> None:
    """List your secrets, without what they hold."""
    found = session.client(control_url).secrets()
    output.rows(
        form,
        "secrets",
        ("NAME", "BYTES", "CHANGED"),
        [[each.name, str(each.n_bytes), _at(each.changed_at_ms)] for each in found],
        items=found,
        ids=[each.name for each in found],
        none="you keep no secrets here; `fluxhive secret set NAME` keeps one",
    )


@command.command("rm")
@click.argument("names", nargs=-1, required=True)
@options.control_url
def remove(*, names: tuple[str, ...], control_url: str | None) -> None:
    """Remove secrets. Tasks that want them and have not started will fail."""
    client = session.client(control_url)
    for name in names:
        client.remove_secret(name)
        messages.say(f"removed {name}")


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _text(file.read(SECRET_FILE_BYTES_MAX + 1), f"`{path}`")
    except OSError as error:
        raise InputError(
            f"cannot read `{path}`: {error.strerror}", field="--file", value=str(path)
        ) from error


def _text(data: bytes, what: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{what} is not UTF-8 text",
            field="value",
            hint="encode it first, as with base64, and let the task decode it",
        ) from error


def _at(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_ms / 1000))

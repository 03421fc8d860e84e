"""`fluxhive login`: exchanges name and password for a token and keeps that."""

from __future__ import annotations

import sys

import click

from fluxhive import config, places
from fluxhive.cli import messages, options, output, session
from fluxhive.core.errors import InputError


@click.command()
@click.option("-u", "--username", help="Name to log in with. Default: that of the configuration.")
@click.option("--password", help="`-` reads it from standard input; without it you are asked.")
@click.option("--token", help="Keep this token instead; `-` reads it from standard input.")
@options.control_url
@output.json_option
def command(
    *,
    username: str | None,
    password: str | None,
    token: str | None,
    control_url: str | None,
    is_json: bool,
) -> None:
    """Log in to the server. Only a token is kept, never the password; it can be revoked."""
    if token is not None and password is not None:
        raise InputError("`--token` and `--password` exclude each other", field="--token")
    for option, given in (("--password", password), ("--token", token)):
        if given not in (None, "-"):
            messages.warn(
                f"`{option}` on the command line can be seen by others while this runs and stays "
                f"in the shell's history; `{option} -` reads it from standard input"
            )
    settings = config.load(
        {"control_base_url": control_url, "user.username": username, "user.password": None}
    )
    client = session.client(settings.control_base_url, may_log_in=False)
    if token is not None:
        client.transport.token = sys.stdin.readline().strip() if token == "-" else token
        kept, name = client.transport.token, client.me().username
    else:
        name = settings.username or _ask("username", is_secret=False)
        client.transport.token = None
        secret = _password(password) or settings.password or _ask("password", is_secret=True)
        kept = client.login(name, secret).token
    path = places.write_login(client.url, kept)
    if is_json:
        output.json({"username": name, "url": client.url, "file": str(path)})
    else:
        messages.say(f"logged in to {client.url} as {name}; the token is kept in {path}")


def _password(given: str | None) -> str | None:
    return sys.stdin.readline().rstrip("\r\n") if given == "-" else given


def _ask(what: str, *, is_secret: bool) -> str:
    if not sys.stdin.isatty():
        raise InputError(
            f"no {what} was given, and there is no terminal to ask on",
            field=f"--{what}",
            hint=f"give `--{what}`, or set it: fluxhive config user.{what} -",
        )
    return str(click.prompt(what, hide_input=is_secret, err=True))

"""`fluxhive init`: asks what a newcomer has to decide, and sets this machine up for it."""

from __future__ import annotations

import os
import sys

import click

from fluxhive import config, places
from fluxhive.cli import messages, options, processes, session, up
from fluxhive.core.errors import FluxhiveError, InputError, Unreachable
from fluxhive.sdk.calls import Calls


@click.command()
@click.option("--server", "url", metavar="URL", help="Address of the hive's server.")
@click.option("--here", "is_here", is_flag=True, help="Start server and agent on this machine.")
@click.option("-u", "--username", help="Name to log in with.")
@options.yes
def command(*, url: str | None, is_here: bool, username: str | None, is_sure: bool) -> int:
    """Set this machine up: which server, who you are, and whether it shall run tasks.

    Asks what it is not told; where there is no terminal to ask on, it says which option answers.
    What it does can be done one by one: `fluxhive config`, `login`, `up`, `run`, `service`.
    """
    if url is not None and is_here:
        raise InputError("`--server` and `--here` exclude each other", field="--here")
    if url is None and not is_here:
        url = _ask_server(is_sure)
    client = _start_here() if url is None else _reach(url, username)
    me = client.me()
    messages.say(f"you are {me.username} ({me.role.value}) at {client.url}\n")
    here = places.read_up()
    is_node = here is not None and here.url == client.url and here.agent_pid is not None
    if not is_node:
        _tell_node()
    messages.say(
        "next\n"
        "  try it             fluxhive submit -f -- hostname\n"
        "  see all            fluxhive top\n"
        f"  Tab completion     {_completion()}"
    )
    return 0


def _ask_server(is_sure: bool) -> str | None:
    """The address of a server; None: one is started here."""
    known = _known()
    if known is not None and is_sure:
        return known
    if not sys.stdin.isatty():
        raise InputError(
            "no server was named, and there is no terminal to ask on",
            field="--server",
            hint="give `--server URL`, or `--here` to start one on this machine",
        )
    messages.say("Which server? Its address, such as https://hive.lab:8001; `here` starts one here")
    answer = str(click.prompt("server", default=known or "here", err=True)).strip()
    return None if answer == "here" else answer


def _known() -> str | None:
    """The server that is configured or runs here, when it answers."""
    url = config.load({}).control_base_url
    return url if processes.health(url) is not None else None


def _start_here() -> Calls:
    hive = up.bring_up(None, None)
    messages.say(f"server and agent run on this machine, at {hive.up.url}; stop: fluxhive down")
    return hive.client


def _reach(url: str, username: str | None) -> Calls:
    """A client of that server, logged in; the address is kept once the server has answered."""
    checked = config.load({"control_base_url": url}).control_base_url
    if processes.health(checked) is None:
        raise Unreachable(
            f"no FlowHive server answers at {checked}",
            hint="check the address with whoever runs it; is a VPN or an `http_proxy` in the way?",
        )
    if config.load({}).control_base_url != checked:
        config.set_key("control_base_url", checked)
        messages.say(f"kept the address in {places.config_path()}")
    client = session.client(checked)
    try:
        client.me()
    except FluxhiveError as error:
        if error.exit_code != 4:
            raise
        _log_in(client, username)
    return client


def _log_in(client: Calls, username: str | None) -> None:
    if not sys.stdin.isatty():
        raise InputError(
            f"not logged in to {client.url}, and there is no terminal to ask on",
            field="--username",
            hint="fluxhive login --username NAME --password -   reads the password from stdin",
        )
    name = username or str(click.prompt("username", err=True))
    client.transport.token = None
    grant = client.login(name, str(click.prompt("password", hide_input=True, err=True)))
    path = places.write_login(client.url, grant.token)
    messages.say(f"logged in; the token is kept in {path}, the password nowhere")


def _tell_node() -> None:
    messages.say(
        "Shall this machine run tasks? Then start its agent:\n"
        "  now                fluxhive run\n"
        "  at each boot       fluxhive service install\n"
        "  would it be well?  fluxhive doctor\n"
    )


def _completion() -> str:
    shell = os.path.basename(os.environ.get("SHELL", "bash"))
    return f"fluxhive completion {shell if shell in ('bash', 'zsh', 'fish') else 'bash'} --help"

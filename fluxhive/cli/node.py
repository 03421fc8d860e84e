"""`fluxhive node`: who a node serves, and whether it takes anything new."""

from __future__ import annotations

import click

from fluxhive.cli import messages, options, session
from fluxhive.protocol.rest import NodeView


@click.group()
def command() -> None:
    """Accept a node for everybody, drain it, undrain it. Nodes go by label or id."""


@command.command("accept")
@click.argument("node")
@options.control_url
def accept(*, node: str, control_url: str | None) -> None:
    """Let a user's node serve everybody. For administrators."""
    changed = session.client(control_url).change_node(node, accepted=True)
    messages.say(f"{changed.label} serves everybody now")


@command.command("drain")
@click.argument("node")
@options.control_url
def drain(*, node: str, control_url: str | None) -> None:
    """Let a node take nothing new; what runs on it runs on."""
    changed = session.client(control_url).change_node(node, draining=True)
    messages.say(f"{changed.label} takes nothing new; {_running(changed)}")


@command.command("undrain")
@click.argument("node")
@options.control_url
def undrain(*, node: str, control_url: str | None) -> None:
    """Let a drained node take tasks again."""
    changed = session.client(control_url).change_node(node, draining=False)
    messages.say(f"{changed.label} takes tasks again")


def _running(node: NodeView) -> str:
    if not node.attempts:
        return "nothing runs on it"
    return f"{len(node.attempts)} still running: {', '.join(node.attempts)}"

"""`fluxhive node`: who a node serves, whether it takes anything new, and that it is gone."""

from __future__ import annotations

import sys

import click

from fluxhive.cli import messages, options, session
from fluxhive.cli.completing import NODE_NAMES
from fluxhive.core.errors import InputError
from fluxhive.core.node import NodeState
from fluxhive.core.request import show_ms
from fluxhive.protocol.rest import NodeView
from fluxhive.sdk.begin import parse_time_ms, show_time

SHOWN_MAX = 10
"""Attempts that are named; of more only the number is told."""


@click.group()
def command() -> None:
    """Accept, drain, undrain, give up or remove a node. Nodes go by label or id."""


@command.command("accept")
@click.argument("node", shell_complete=NODE_NAMES)
@options.control_url
def accept(*, node: str, control_url: str | None) -> None:
    """Let a user's node serve everybody. For administrators."""
    changed = session.client(control_url).change_node(node, accepted=True)
    messages.say(f"{changed.label} serves everybody now")


@command.command("drain")
@click.argument("node", shell_complete=NODE_NAMES)
@click.option("--reason", default="", help="Why, for others to read.")
@click.option("--until", "ends", help="When it takes tasks again: 18:00, +2h, 2026-12-24T08:00.")
@options.control_url
def drain(*, node: str, reason: str, ends: str | None, control_url: str | None) -> None:
    """Let a node take nothing new; what runs on it runs on."""
    until_ms = None if ends is None else parse_time_ms(ends, field="--until")
    if ends is not None and until_ms is None:
        raise InputError(
            "`--until` has to be a time to come: `now`",
            field="--until",
            value=ends,
            hint="write it as `+2h`",
        )
    changed = session.client(control_url).change_node(
        node, draining=True, drain_reason=reason, drain_until_ms=until_ms
    )
    end = "" if until_ms is None else f" until {show_time(until_ms)}"
    messages.say(f"{changed.label} takes nothing new{end}; {_running(changed)}")


@command.command("undrain")
@click.argument("node", shell_complete=NODE_NAMES)
@options.control_url
def undrain(*, node: str, control_url: str | None) -> None:
    """Let a drained node take tasks again."""
    changed = session.client(control_url).change_node(node, draining=False)
    messages.say(f"{changed.label} takes tasks again")


@command.command("give-up", short_help="Say that a silent node's machine is off.")
@click.argument("node", shell_complete=NODE_NAMES)
@options.yes
@options.control_url
def give_up(*, node: str, is_sure: bool, control_url: str | None) -> int:
    """Say that a silent node's machine is off: its tasks may start elsewhere.

    FlowHive does not guess this. A node out of contact may well be running, and its tasks with it;
    if they were started elsewhere meanwhile, they would run twice at the same time. Look first, or
    pull the plug. A node that comes back all the same is told to stop what was given elsewhere.
    """
    client = session.client(control_url)
    found = client.node(node)
    if found.state is NodeState.SILENT:
        _tell_loss(found)
        if not _is_sure(f"Is the machine of {found.label} off?", is_sure):
            messages.say("nothing was changed")
            return 1
    given_up = client.give_node_up(found.id)
    messages.say(f"{given_up.label} is given up; {_ended(found)}")
    return 0


@command.command("end-unknown")
@click.argument("node", shell_complete=NODE_NAMES)
@options.yes
@options.control_url
def end_unknown(*, node: str, is_sure: bool, control_url: str | None) -> int:
    """End what a node holds and the server does not know. For administrators.

    So it is after a backup was restored: these attempts began later. They run on until you say so
    here; their output is dropped with them.
    """
    client = session.client(control_url)
    found = client.node(node)
    if not found.unknown:
        messages.say(f"{found.label} holds nothing that the server does not know")
        return 0
    named = ", ".join(found.unknown[:SHOWN_MAX])
    if not _is_sure(f"End {len(found.unknown)} attempts on {found.label} ({named})?", is_sure):
        messages.say("nothing was changed")
        return 1
    client.end_unknown(found.id)
    messages.say(f"{len(found.unknown)} attempts on {found.label} are told to end: {named}")
    return 0


@command.command("remove", short_help="Take a node that is gone for good off the list.")
@click.argument("node", shell_complete=NODE_NAMES)
@options.yes
@options.control_url
def remove(*, node: str, is_sure: bool, control_url: str | None) -> int:
    """Take a node that is gone for good off the list; its token ends.

    What ran on it stays in the history. A node that holds tasks is not removed: give it up first.
    """
    client = session.client(control_url)
    found = client.node(node)
    is_idle = found.state is not NodeState.READY and not found.attempts
    if is_idle and not _is_sure(f"Remove {found.label} ({found.id})?", is_sure):
        messages.say("nothing was changed")
        return 1
    removed = client.remove_node(found.id)
    messages.say(f"{removed.label} is removed")
    return 0


def _tell_loss(node: NodeView) -> None:
    age = node.last_contact_age_ms
    since = "" if age is None else f" for {show_ms(age)}"
    messages.say(f"{node.label} is out of contact{since}; {_running(node)}")
    if node.attempts:
        messages.warn(
            "these end as node-lost and may start elsewhere at once; if the machine still runs, "
            "so do they, and then they run twice at the same time"
        )


def _is_sure(question: str, is_sure: bool) -> bool:
    if is_sure:
        return True
    if not sys.stdin.isatty():
        raise InputError(
            f"{question} Nobody is there to answer", field="--yes", hint="in a script add --yes"
        )
    return click.confirm(question, err=True)


def _running(node: NodeView) -> str:
    if not node.attempts:
        return "nothing runs on it"
    return f"{len(node.attempts)} still running: {_named(node)}"


def _ended(node: NodeView) -> str:
    if not node.attempts:
        return "nothing ran on it"
    return f"{len(node.attempts)} ended as node-lost: {_named(node)}"


def _named(node: NodeView) -> str:
    more = ", …" if len(node.attempts) > SHOWN_MAX else ""
    return ", ".join(node.attempts[:SHOWN_MAX]) + more

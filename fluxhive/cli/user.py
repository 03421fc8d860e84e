"""`fluxhive user`: adds and lists users."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.protocol.rest import Role

ROLES = [role.value for role in Role]


@click.group()
def command() -> None:
    """Add users, list users. For administrators."""


@command.command("add", short_help="Add a user, and print the link that lets them in.")
@click.argument("name")
@click.option("--email", default="", help="E-mail address.")
@click.option("--role", type=click.Choice(ROLES), default=Role.MEMBER.value, show_default=True)
@options.control_url
@output.json_option
def add(*, name: str, email: str, role: str, control_url: str | None, is_json: bool) -> None:
    """Add a user, and print the link with which that person sets a password, once."""
    invitation = session.client(control_url).add_user(name, email=email, role=Role(role))
    if is_json:
        output.one(invitation)
        return
    output.lines([invitation.link])
    messages.say(
        f"the link above lets {name} set a password, once, in a browser or with `fluxhive login "
        "--link -`: send it to nobody else"
    )
    if urlsplit(invitation.link).hostname in ("localhost", "127.0.0.1", "::1"):
        messages.warn(
            "it works on this machine alone, for the server listens here alone; for others start it"
            " with `fluxhive server --host` (docs/guides/add-a-node.md)"
        )


@command.command("ls")
@options.control_url
@output.form_options
def list_users(*, control_url: str | None, form: output.Form) -> None:
    """List the users."""
    found = session.client(control_url).users()
    output.rows(
        form,
        "users",
        ("NAME", "ROLE", "EMAIL", "ACTIVE"),
        [
            [user.username, user.role.value, user.email or "-", "yes" if user.active else "not yet"]
            for user in found
        ],
        items=found,
        ids=[user.username for user in found],
    )

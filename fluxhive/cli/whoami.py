"""`fluxhive whoami`: who the server takes this command line for."""

from __future__ import annotations

import click

from fluxhive.cli import options, output, session


@click.command()
@options.control_url
@output.form_options
def command(*, control_url: str | None, form: output.Form) -> None:
    """Show who you are to the server, what you may do there, and which server it is."""
    client = session.client(control_url)
    me = client.me()
    facts = [
        ("user", me.username),
        ("role", me.role.value),
        (
            "token",
            {"full": "may do all that you may", "read": "may look, but change nothing"}.get(
                me.scope.value, f"for {me.scope.value}s only"
            ),
        ),
        ("server", client.url),
    ]
    item = {"username": me.username, "role": me.role, "scope": me.scope, "url": client.url}
    output.pairs(form, facts, item=item, id=me.username)

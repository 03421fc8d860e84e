"""`fluxhive token`: creates and lists tokens."""

from __future__ import annotations

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.core.request import parse_duration_ms
from fluxhive.protocol.rest import TokenScope

SCOPES = [scope.value for scope in TokenScope]


@click.group()
def command() -> None:
    """Create tokens, list tokens."""


@command.command("create")
@click.argument("name", default="token")
@click.option("--scope", type=click.Choice(SCOPES), default="full", show_default=True)
@click.option("--expires", metavar="TIME", help="When it stops to work, as 30d. Default: never.")
@options.control_url
@output.json_option
def create(
    *, name: str, scope: str, expires: str | None, control_url: str | None, is_json: bool
) -> None:
    """Create a token and print it. It is shown this once."""
    expires_ms = None if expires is None else parse_duration_ms(expires, field="--expires")
    grant = session.client(control_url).create_token(
        name,
        scope=TokenScope(scope),
        expires_in_s=None if expires_ms is None else max(1, expires_ms // 1000),
    )
    if is_json:
        output.one(grant)
        return
    output.lines([grant.token])
    messages.say("this is shown once; whoever has it acts in your name")


@command.command("ls")
@options.control_url
@output.form_options
def list_tokens(*, control_url: str | None, form: output.Form) -> None:
    """List your tokens, without their secrets."""
    found = session.client(control_url).tokens()
    output.rows(
        form,
        "tokens",
        ("ID", "NAME", "USER", "SCOPE"),
        [[token.id, token.name, token.username, token.scope.value] for token in found],
        items=found,
        ids=[token.id for token in found],
        none="you have no tokens",
    )

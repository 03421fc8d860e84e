"""`fluxhive token`: creates, lists and revokes tokens."""

from __future__ import annotations

import time

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.core.request import parse_duration_ms
from fluxhive.protocol.rest import TokenScope, TokenView

SCOPES = [scope.value for scope in TokenScope]


@click.group()
def command() -> None:
    """Create tokens, list them, revoke them."""


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
        ("ID", "NAME", "SCOPE", "CREATED", "LAST USED", "EXPIRES"),
        [_row(token) for token in found],
        items=found,
        ids=[token.id for token in found],
        none="you have no tokens",
    )


@command.command("revoke")
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@options.control_url
def revoke(*, ids: tuple[str, ...], control_url: str | None) -> None:
    """End tokens by their ids. What uses one of them is refused from now on."""
    client = session.client(control_url)
    for token_id in ids:
        client.revoke_token(token_id)
        messages.say(f"revoked {token_id}")


def _row(token: TokenView) -> list[str]:
    name = f"{token.name} (browser)" if token.is_session else token.name
    used, expires = token.last_used_at_ms, token.expires_at_ms
    return [
        token.id,
        name,
        token.scope.value,
        _at(token.created_at_ms),
        "never" if used is None else _at(used),
        "never" if expires is None else _at(expires),
    ]


def _at(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_ms / 1000))

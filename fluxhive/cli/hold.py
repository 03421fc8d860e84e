"""`fluxhive hold`: keeps tasks from starting until they are released."""

from __future__ import annotations

import click

from fluxhive.cli import options, output, session
from fluxhive.cli.each import each


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="TASK…")
@options.control_url
@output.json_option
@output.quiet_option
def command(
    *, names: tuple[str, ...], control_url: str | None, is_json: bool, is_quiet: bool
) -> int:
    """Hold tasks that have not started: they wait until they are released."""
    client = session.client(control_url)
    return each(names, client.hold, output.Form(is_json=is_json, is_quiet=is_quiet))

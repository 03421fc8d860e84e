"""`fluxhive cancel`: stops tasks, or takes them out of the queue."""

from __future__ import annotations

import click

from fluxhive.cli import options, output, session
from fluxhive.cli.completing import LIVE_TASK_NAMES
from fluxhive.cli.each import each
from fluxhive.protocol.bulk import BulkAction


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="TASK…", shell_complete=LIVE_TASK_NAMES)
@options.control_url
@output.form_options
def command(*, names: tuple[str, ...], control_url: str | None, form: output.Form) -> int:
    """Cancel tasks. When this returns no new attempt of them starts; what runs is stopped."""
    client = session.client(control_url)
    return each(client, BulkAction.CANCEL, names, form)

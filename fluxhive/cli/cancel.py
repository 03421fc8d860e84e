"""`fluxhive cancel`: stops tasks, or takes them out of the queue."""

from __future__ import annotations

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.core.errors import FluxhiveError
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk.client import Client


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="TASK…")
@options.control_url
@output.json_option
@output.quiet_option
def command(
    *, names: tuple[str, ...], control_url: str | None, is_json: bool, is_quiet: bool
) -> int:
    """Cancel tasks. When this returns no new attempt of them starts; what runs is stopped."""
    client = session.client(control_url)
    done: list[TaskView] = []
    code = 0
    for name in names:
        task, trouble = _cancel(client, name)
        code = code or trouble
        if task is not None:
            done.append(task)
    output.rows(
        output.Form(is_json=is_json, is_quiet=is_quiet),
        "tasks",
        ("ID", "NAME", "STATE"),
        [[task.id, task.name or "-", task.word] for task in done],
        items=done,
        ids=[task.id for task in done],
    )
    return code


def _cancel(client: Client, name: str) -> tuple[TaskView | None, int]:
    """The cancelled task and 0; or None and the exit code, the reason printed.

    One that cannot be cancelled is no reason to let the others run.
    """
    try:
        return client.cancel(name), 0
    except FluxhiveError as error:
        return None, messages.show(error)

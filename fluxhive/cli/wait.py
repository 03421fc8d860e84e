"""`fluxhive wait`: waits until tasks have ended."""

from __future__ import annotations

import time

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.cli.fluxhive import INTERRUPTED_EXIT
from fluxhive.cli.follow import ending
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.request import parse_duration_ms
from fluxhive.protocol.rest import TaskView
from fluxhive.sdk import tasks
from fluxhive.sdk.calls import Calls


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="TASK…", shell_complete=TASK_NAMES)
@click.option("--timeout", metavar="TIME", help="Give up after this time; exit code 124.")
@options.control_url
@output.form_options
def command(
    *,
    names: tuple[str, ...],
    timeout: str | None,
    control_url: str | None,
    form: output.Form,
) -> int:
    """Wait until the tasks have ended. Ends with the first exit code that is not 0."""
    wait_ms = None if timeout is None else parse_duration_ms(timeout, field="--timeout")
    until = None if wait_ms is None else time.monotonic() + wait_ms / 1000
    client = session.client(control_url)
    ids = [client.task(name).id for name in names]
    try:
        ended = [_wait(client, task_id, until) for task_id in ids]
    except KeyboardInterrupt:
        messages.say("\nno longer waiting; what runs goes on")
        return INTERRUPTED_EXIT
    except FluxhiveError as error:
        messages.show(error)
        return tasks.TROUBLE_EXIT
    if form.is_data and not form.is_quiet:
        output.rows(form, "tasks", (), [], items=ended)
    elif not form.is_quiet:
        for task in ended:
            messages.say(
                ending(task) if task.state.is_final else f"{task.id} is {task.word} after {timeout}"
            )
    codes = [
        tasks.exit_code(task) if task.state.is_final else tasks.TIME_LIMIT_EXIT for task in ended
    ]
    return next((code for code in codes if code != 0), 0)


def _wait(client: Calls, task_id: str, until: float | None) -> TaskView:
    left_s = None if until is None else max(0.0, until - time.monotonic())
    return client.wait(task_id, timeout_s=left_s)

"""`fluxhive open`: the dashboard, or one task in it, in the browser."""

from __future__ import annotations

import os
import sys
from urllib.parse import quote

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.completing import TASK_NAMES


@click.command("open")
@click.argument("task", shell_complete=TASK_NAMES, required=False)
@click.option("--print", "is_printed", is_flag=True, help="Only print the address.")
@options.control_url
def command(*, task: str | None, is_printed: bool, control_url: str | None) -> None:
    """Open the dashboard in the browser; with TASK, the page of that task.

    The address is printed too. Over ssh, or without a screen, it is only printed.
    """
    client = session.client(control_url)
    address = client.url.rstrip("/") + "/"
    if task is not None:
        address += f"t/{quote(client.task(task).id, safe='')}"
    output.lines([address])
    if is_printed or not sys.stdout.isatty() or not _has_screen():
        return
    import webbrowser

    if not webbrowser.open(address):
        messages.say("no browser could be started; open the address above yourself")


def _has_screen() -> bool:
    """Whether a browser started here would be seen by who asks."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    is_graphical = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or bool(is_graphical)

"""`fluxhive open`: the dashboard, or one task in it, in the browser."""

from __future__ import annotations

import os
import sys
from urllib.parse import quote

import click

from fluxhive.cli import messages, options, output, session, sign_in
from fluxhive.cli.completing import TASK_NAMES


@click.command("open")
@click.argument("task", shell_complete=TASK_NAMES, required=False)
@click.option("--print", "is_printed", is_flag=True, help="Only print the address.")
@options.control_url
def command(*, task: str | None, is_printed: bool, control_url: str | None) -> None:
    """Open the dashboard in the browser; with TASK, the page of that task.

    The address is printed too. Over ssh, or without a screen, it is only printed, with a link that
    signs a browser in as you, once and within half an hour.
    """
    client = session.client(control_url)
    path = "/" if task is None else f"/t/{quote(client.task(task).id, safe='')}"
    output.lines([client.url.rstrip("/") + path])
    if is_printed or not sys.stdout.isatty():
        return
    link = sign_in.link(client, path)
    if not _has_screen():
        if link is not None:
            messages.say(f"signs you in, once: {link}")
        return
    import webbrowser

    if not webbrowser.open(link or client.url.rstrip("/") + path):
        messages.say("no browser could be started; open the address above yourself")


def _has_screen() -> bool:
    """Whether a browser started here would be seen by who asks."""
    if os.environ.get("SSH_CONNECTION"):
        return False
    is_graphical = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or bool(is_graphical)

"""`--watch`: a command that shows data again and again, until Ctrl-C."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import wraps
from time import sleep
from typing import Any

import click

from fluxhive.cli import messages, output
from fluxhive.core.errors import RemoteError, Unreachable

INTERVAL_S = 2.0
INTERVAL_S_MIN = 0.5
"""Quicker than that nobody reads, and the server is asked each time."""


def watched(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--watch [SECONDS]` to a command: its output is drawn anew each time."""

    @wraps(command)
    def watching(*given: Any, watch_s: float | None, **named: Any) -> Any:
        if watch_s is None:
            return command(*given, **named)
        while True:
            _draw(command, given, named)
            sleep(watch_s)

    return click.option(
        "--watch",
        "watch_s",
        is_flag=False,
        flag_value=INTERVAL_S,
        type=click.FloatRange(min=INTERVAL_S_MIN),
        metavar="[SECONDS]",
        help=f"Show it again each {INTERVAL_S:g} seconds, until Ctrl-C.",
    )(watching)


class _Page(io.StringIO):
    """Takes what a command prints, and is as much of a terminal as the real output."""

    def isatty(self) -> bool:
        return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _draw(command: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> None:
    page = _Page()
    try:
        with redirect_stdout(page):
            command(*given, **named)
    except (Unreachable, RemoteError) as error:
        # A server that restarts is no reason to stop looking.
        if not page.isatty():
            messages.warn(f"{error.text}; trying again")
            return
        page.write(f"{error.text}; trying again\n")
    output.page(page.getvalue())

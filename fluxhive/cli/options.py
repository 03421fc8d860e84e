"""Options that several commands share, so that each is spelt and explained once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fluxhive import diagnostics, env

Command = TypeVar("Command", bound=Callable[..., Any])

control_url: Callable[[Command], Command] = click.option(
    "--control-url",
    metavar="URL",
    help="Address of the control server, for this call only.",
)

yes: Callable[[Command], Command] = click.option(
    "-y", "--yes", "is_sure", is_flag=True, help="Do not ask: for scripts."
)

log_level: Callable[[Command], Command] = click.option(
    "--log-level",
    type=click.Choice(diagnostics.LEVELS, case_sensitive=False),
    default=None,
    help=f"How much to log. Default: {env.LOG_LEVEL.default.strip('`')}.",
)


def begin_logging(level: str | None) -> str:
    """Sets logging up by flag, variable or default, and gives the level that holds."""
    chosen = level or env.get(env.LOG_LEVEL) or "info"
    diagnostics.setup(chosen)
    return chosen.lower()

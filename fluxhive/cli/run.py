"""`fluxhive run`: starts the agent. This machine becomes a node of the hive."""

from __future__ import annotations

import shlex

import click

from fluxhive import config
from fluxhive.cli import options
from fluxhive.core.errors import InputError


@click.command(context_settings={"ignore_unknown_options": True})
@options.control_url
@click.option("--label", help="Human name of this node. Default: the name of the machine.")
@options.log_level
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(
    *, control_url: str | None, label: str | None, log_level: str | None, words: tuple[str, ...]
) -> int:
    """Start the agent: log in, register this machine as a node, and take tasks.

    It stays in the foreground. Ctrl-C ends the agent; tasks keep running, and the next start takes
    them up again.
    """
    if words:
        raise InputError(
            f"run starts the agent; did you mean: fluxhive submit -- {shlex.join(words)}",
            hint="`fluxhive run` takes no command; tasks are submitted",
        )
    settings = config.load({"control_base_url": control_url, "label": label})
    options.begin_logging(log_level)
    from fluxhive.agent import runner

    return runner.main(settings)

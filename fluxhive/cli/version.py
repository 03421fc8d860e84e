"""`fluxhive version`: which FlowHive this is. Asks no server."""

from __future__ import annotations

import platform

import click

from fluxhive import __version__
from fluxhive.cli import output


@click.command()
@output.json_option
def command(*, is_json: bool) -> None:
    """Print the version of FlowHive and of what it runs on."""
    python, system = platform.python_version(), platform.system()
    if is_json:
        output.json({"version": __version__, "python": python, "system": system})
        return
    output.lines([f"fluxhive {__version__} (Python {python}, {system})"])

"""`fluxhive completion`: the script that lets a shell complete our verbs, options and tasks."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from fluxhive.cli import output
from fluxhive.cli.completion_powershell import PowerShellComplete
from fluxhive.cli.fluxhive import COMPLETION_VARIABLE
from fluxhive.cli.group import lazy_group

HOW = {
    "bash": 'eval "$(fluxhive completion bash)"          in ~/.bashrc',
    "zsh": 'eval "$(fluxhive completion zsh)"           in ~/.zshrc, after compinit',
    "fish": "fluxhive completion fish | source           in ~/.config/fish/config.fish",
    "powershell": "fluxhive completion powershell | Out-String | Invoke-Expression   in $PROFILE",
}


@click.command(
    epilog="To have it in each new shell, one line in its start-up file:\n\n\b\n"
    + "\n".join(HOW.values())
)
@click.argument("shell", type=click.Choice(list(HOW)))
def command(*, shell: str) -> None:
    """Print the completion script for SHELL.

    Verbs and options come from this program; tasks and nodes from the server, kept for five
    seconds.
    """
    made = PowerShellComplete if shell == "powershell" else get_completion_class(shell)
    assert made is not None, f"click has lost its completion for {shell}"
    complete = made(lazy_group(), {}, "fluxhive", COMPLETION_VARIABLE)
    output.lines([_script(complete)])


def _script(complete: ShellComplete) -> str:
    """The script, without a check of the shell's version, which would start that shell."""
    return (complete.source_template % complete.source_vars()).strip()

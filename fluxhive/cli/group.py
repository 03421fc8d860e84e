"""Finds the verb, lets click read its options, and turns every kind of trouble into words.

Separate from the entry point because it imports click, which the overview does without.
"""

from __future__ import annotations

import difflib
import os
from importlib import import_module

import click

from fluxhive.cli import messages
from fluxhive.cli.fluxhive import (
    ALIASES,
    COMPLETION_VARIABLE,
    INTERRUPTED_EXIT,
    VERBS,
    overview,
)
from fluxhive.core.errors import FluxhiveError, InputError

#: Words of other tools, and plans of ours, with what to say to them.
_INSTEAD = {
    "sinfo": "list the nodes with `fluxhive nodes`, the GPUs with `fluxhive gpus`",
    "sacct": "list what has ended with `fluxhive ps --all-time`",
    "scontrol": "`fluxhive show`, `edit`, `hold` and `release` do that here",
    "salloc": "GPUs are given to commands: fluxhive submit -f --gpus 1 -- COMMAND",
    "start": "`fluxhive up` starts a server and an agent, `fluxhive run` an agent",
    "pause": "stopping a task on its GPU and going on later is not built yet; "
    "`fluxhive hold` keeps one that waits from starting",
    "resume": "`fluxhive release` lets a held task start; suspending one that runs comes later",
    **dict.fromkeys(
        ("attach", "exec", "forward", "cp", "cron"),
        "that is not built yet; `fluxhive --help` lists what is",
    ),
}


class LazyGroup(click.Group):
    """The group of all verbs; each verb's module is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"fluxhive.cli.{VERBS[cmd_name].module}")
        command = module.command
        assert isinstance(command, click.Command), f"{module.__name__}.command is no command"
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name.startswith("-") or name in VERBS:
            return super().resolve_command(ctx, args)
        if name in ALIASES:
            return super().resolve_command(ctx, [*ALIASES[name], *args[1:]])
        raise InputError(f"unknown verb: `{name}`", field="verb", value=name, hint=_instead(name))

    def get_help(self, ctx: click.Context) -> str:
        return overview()


def lazy_group() -> LazyGroup:
    """The command `fluxhive` as click knows it."""
    return LazyGroup(
        name="fluxhive",
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
    )


def invoke(arguments: list[str]) -> int:
    """Runs the verb that the arguments name; prints what goes wrong and gives the exit code."""
    if os.environ.get(COMPLETION_VARIABLE, "").startswith("powershell"):
        from click.shell_completion import add_completion_class

        from fluxhive.cli.completion_powershell import PowerShellComplete

        add_completion_class(PowerShellComplete)
    try:
        result = lazy_group().main(args=arguments, prog_name="fluxhive", standalone_mode=False)
    except FluxhiveError as error:
        return messages.show(error)
    except click.Abort:
        return INTERRUPTED_EXIT
    except click.ClickException as error:
        return messages.show(_in_our_words(error))
    return result if isinstance(result, int) else 0


def _in_our_words(error: click.ClickException) -> FluxhiveError:
    """click's complaint as an InputError with the closest match or the help as hint."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "fluxhive"
    see_help = f"{path} --help"
    if isinstance(error, click.NoSuchOption):
        near = closest(error.option_name, list(error.possibilities or _options(context)))
        return InputError(
            f"unknown option of `{path}`: `{error.option_name}`",
            field=error.option_name,
            hint=near or see_help,
        )
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:]
    parameter = getattr(error, "param", None)
    field = parameter.name if isinstance(parameter, click.Parameter) else None
    return InputError(text, field=field, hint=see_help)


def _options(context: click.Context | None) -> list[str]:
    if context is None:
        return []
    return [name for parameter in context.command.params for name in parameter.opts]


def _instead(name: str) -> str | None:
    if name in _INSTEAD:
        return _INSTEAD[name]
    return closest(name, [*VERBS, *ALIASES])


def closest(name: str, known: list[str]) -> str | None:
    """The hint that names what was probably meant; for a verb, where all verbs are."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if found:
        return f"did you mean `{found[0]}`"
    return None if name.startswith("-") else "see `fluxhive --help`"

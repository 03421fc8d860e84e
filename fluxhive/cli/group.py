"""Finds the verb, lets click read its options, and turns every kind of trouble into words.

Separate from the entry point because it imports click, which the overview does without.
"""

from __future__ import annotations

import os
from importlib import import_module

import click

from fluxhive.cli import messages
from fluxhive.cli.complaints import closest, in_options, in_our_words, of_token
from fluxhive.cli.fluxhive import (
    ALIASES,
    COMPLETION_VARIABLE,
    INTERRUPTED_EXIT,
    VERBS,
    overview,
)
from fluxhive.core.errors import AuthError, FluxhiveError, InputError

#: Words of other tools that mean one of our verbs.
_SAME = {
    **dict.fromkeys(("info", "inspect", "describe", "get"), "show"),
    **dict.fromkeys(("list", "jobs", "tasks"), "ps"),
    **dict.fromkeys(("log", "tail", "cat", "output"), "logs"),
    **dict.fromkeys(("delete", "del", "rm", "remove", "abort", "terminate"), "cancel"),
    **dict.fromkeys(("restart", "resubmit", "retry", "clone"), "rerun"),
    **dict.fromkeys(("update", "change", "modify"), "edit"),
    **dict.fromkeys(("explain", "reason", "eta"), "why"),
    **dict.fromkeys(("workers", "hosts", "machines"), "nodes"),
    **dict.fromkeys(("gpustat", "gpu", "nvtop"), "gpus"),
    **dict.fromkeys(("agent", "worker", "join"), "run"),
    **dict.fromkeys(("check", "verify", "debug"), "doctor"),
    **dict.fromkeys(("setup", "configure"), "init"),
    **dict.fromkeys(("launch", "enqueue"), "submit"),
    **dict.fromkeys(("dashboard", "web", "ui", "browser"), "open"),
}
#: Words of other tools, and plans of ours, with what to say to them.
_INSTEAD = {
    "sinfo": "list the nodes with `fluxhive nodes`, the GPUs with `fluxhive gpus`",
    "sacct": "list what has ended with `fluxhive ps --all-time`",
    "scontrol": "`fluxhive show`, `edit`, `hold` and `release` do that here",
    "salloc": "GPUs are given to commands: fluxhive submit -f --gpus 1 -- COMMAND",
    "status": "`fluxhive ps` lists your tasks, `fluxhive top` shows tasks and GPUs",
    "demo": "fluxhive up --demo",
    "nvidia-smi": "fluxhive gpus",
    "start": "`fluxhive up` starts a server and an agent, `fluxhive run` an agent",
    "pause": "stopping a task on its GPU and going on later is not built yet; "
    "`fluxhive hold` keeps one that waits from starting",
    "resume": "`fluxhive release` lets a held task start; suspending one that runs comes later",
    **dict.fromkeys(
        ("attach", "exec", "forward", "cp", "cron"),
        "that is not built yet; `fluxhive --help` lists what is",
    ),
}


#: Verbs whose options become the spec of a task.
_SPEC_VERBS = ("submit", "rerun", "edit", "sweep")


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
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    verb = arguments[0] if arguments and arguments[0] in VERBS else ""
    if os.environ.get(COMPLETION_VARIABLE, "").startswith("powershell"):
        from click.shell_completion import add_completion_class

        from fluxhive.cli.completion_powershell import PowerShellComplete

        add_completion_class(PowerShellComplete)
    try:
        result = lazy_group().main(args=arguments, prog_name="fluxhive", standalone_mode=False)
    except InputError as error:
        return messages.show(in_options(error) if verb in _SPEC_VERBS else error)
    except AuthError as error:
        return messages.show(error if verb == "login" else of_token(error))
    except FluxhiveError as error:
        return messages.show(error)
    except click.Abort:
        return INTERRUPTED_EXIT
    except click.UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # click 8.1 has none
            messages.say(error.format_message())
            return error.exit_code
        return messages.show(in_our_words(error, verb))
    except click.ClickException as error:
        return messages.show(in_our_words(error, verb))
    return result if isinstance(result, int) else 0


def _instead(name: str) -> str | None:
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name in _SAME:
        return f"did you mean `{_SAME[name]}`"
    return closest(name, [*VERBS, *ALIASES])

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
@click.option("--allow-root", is_flag=True, help="Start although this is root: tasks are root too.")
@click.option("--task-user", help="User as whom tasks run, where the agent is root.")
@click.option("--stop-tasks-on-exit", is_flag=True, help="When the agent ends, end its tasks.")
@options.log_level
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(
    *,
    control_url: str | None,
    label: str | None,
    allow_root: bool,
    task_user: str | None,
    stop_tasks_on_exit: bool,
    log_level: str | None,
    words: tuple[str, ...],
) -> int:
    """Start the agent: log in, register this machine as a node, and take tasks.

    It stays in the foreground. Ctrl-C ends the agent; tasks keep running, unless
    --stop-tasks-on-exit, and the next start takes them up again.
    """
    if words:
        raise InputError(
            f"run starts the agent; did you mean: fluxhive submit -- {shlex.join(words)}",
            hint="`fluxhive run` takes no command; tasks are submitted",
        )
    settings = config.load(
        {
            "control_base_url": control_url,
            "label": label,
            "agent.allow_root": True if allow_root else None,
            "agent.task_user": task_user,
        }
    )
    options.begin_logging(log_level)
    from fluxhive.agent import runner

    return runner.main(
        settings, allow_root=settings.allow_root, stop_tasks_on_exit=stop_tasks_on_exit
    )

"""`fluxhive service`: agent or server started at boot, by the system's own service manager."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from fluxhive import config, env, places
from fluxhive.agent import system
from fluxhive.cli import messages, output, service_managers
from fluxhive.cli.service_managers import Manager, Systemd
from fluxhive.cli.service_units import Part, Service
from fluxhive.core.errors import InputError

KEPT = (env.STATE_DIR, env.CONFIG, env.CONTROL_URL, env.LABEL, env.CA_FILE, env.LOG_LEVEL)
"""Variables that a service is given as they are now; what is secret is not written down."""
SECRETS = (env.USERNAME, env.PASSWORD, env.TOKEN)
INHERITED = ("PATH", "LANG")
"""Tasks inherit these from the agent, and a service manager's own are bare."""

Command = TypeVar("Command", bound=Callable[..., Any])

_part: Callable[[Command], Command] = click.argument(
    "part", type=click.Choice([part.value for part in Part]), default=Part.AGENT.value
)
_system: Callable[[Command], Command] = click.option(
    "--system", "is_system", is_flag=True, help="Of the whole machine; needs root."
)


@click.group()
def command() -> None:
    """Start the agent (or the server) at boot: install, uninstall, status, logs.

    A service of your own needs no root. Tasks outlive a restart of the agent's service.
    """


@command.command("install")
@_part
@_system
@click.option("--user", metavar="NAME", help="With --system: whom it runs as.")
@click.option("--no-start", is_flag=True, help="Write and enable it, but do not start it now.")
@click.option("--print", "only_prints", is_flag=True, help="Only show what would be written.")
def install(
    *, part: str, is_system: bool, user: str | None, no_start: bool, only_prints: bool
) -> None:
    """Write the service, enable and start it. Said again, it changes only what differs."""
    service = _service(Part(part), _user(is_system=is_system, user=user))
    if only_prints:
        manager: Manager = (
            Systemd(is_system=is_system)
            if sys.platform == "linux"
            else service_managers.manager_here(is_system=is_system)
        )
        output.lines(manager.text_of(service).decode(errors="replace").splitlines())
        return
    system.refuse_unbuilt()
    if service.part is Part.AGENT:
        _check_root(service.user)
    manager = service_managers.manager_here(is_system=is_system)
    written = manager.install(service, starts=not no_start)
    messages.say(
        f"wrote {written.path}:\n"
        if written.is_changed
        else f"{written.path} is as it should be:\n"
    )
    for line in manager.text_of(service).decode(errors="replace").splitlines():
        messages.say(f"  {line}")
    messages.say("")
    for advice in written.advice:
        messages.warn(advice)
    hidden = [each.name for each in SECRETS if env.get(each)]
    if hidden:
        messages.warn(
            f"{', '.join(hidden)}: not written into the service, which everybody may read; "
            "use `fluxhive login` or `fluxhive config` instead"
        )


@command.command("uninstall")
@_part
@_system
def uninstall(*, part: str, is_system: bool) -> None:
    """End the service and remove it. Tasks of an agent run on; state and settings stay."""
    path = service_managers.manager_here(is_system=is_system).uninstall(Part(part))
    messages.say(f"removed {path}")
    if part == Part.AGENT.value:
        messages.say("what runs on this machine runs on; the next start of an agent takes it up")


@command.command("status")
@_part
@_system
@output.json_option
def status(*, part: str, is_system: bool, is_json: bool) -> int:
    """Say how the service is. Ends with 1 when it does not run or breaks a promise."""
    state = service_managers.manager_here(is_system=is_system).state(Part(part))
    facts = [
        ("service", state.name),
        ("file", state.path or "not installed"),
        ("state", state.state),
        ("process", "-" if state.pid is None else str(state.pid)),
        ("at boot", "yes" if state.is_enabled else "no"),
        *(("problem", problem) for problem in state.problems),
    ]
    output.pairs(output.Form(is_json=is_json), facts, item=state._asdict())
    return 0 if state.path is not None and state.pid is not None and not state.problems else 1


@command.command("logs")
@_part
@_system
@click.option("-n", "--lines", "n_lines", type=click.IntRange(0), default=50, show_default=True)
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on as it comes.")
def logs(*, part: str, is_system: bool, n_lines: int, follows: bool) -> int:
    """Show what the service has said."""
    manager = service_managers.manager_here(is_system=is_system)
    words = manager.logs(Part(part), n_lines=n_lines, follows=follows)
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL).returncode
    except FileNotFoundError:
        raise InputError(f"there is no `{words[0]}` on this machine") from None


def _user(*, is_system: bool, user: str | None) -> str | None:
    if not is_system:
        if user is not None:
            raise InputError(
                "--user goes with --system alone",
                field="--user",
                value=user,
                hint="a service of your own runs as you",
            )
        return None
    chosen = user or os.environ.get("SUDO_USER")
    if not chosen:
        raise InputError(
            "whom shall the service run as?",
            field="--user",
            hint="fluxhive service install --system --user NAME",
        )
    return chosen


def _check_root(user: str | None) -> None:
    """An agent of root refuses to start, unless it is told whose its tasks shall be."""
    is_own_of_root = user is None and os.name == "posix" and os.geteuid() == 0
    if user != "root" and not is_own_of_root:
        return
    settings = config.load()
    if not settings.allow_root and settings.task_user is None:
        raise InputError(
            "an agent of root would run tasks as root, and refuses to",
            field="--user",
            value="root",
            hint="name a user of its own: fluxhive service install --system --user NAME. Or have "
            "root's agent run tasks as one: fluxhive config agent.task_user NAME. Or let them be "
            "root's: fluxhive config agent.allow_root true",
        )


def _service(part: Part, user: str | None) -> Service:
    kept = {each.name: value for each in KEPT if (value := env.get(each))}
    if user is None:
        kept[env.STATE_DIR.name] = str(places.state_root())
        directory = places.private_dir(places.state_root())
    else:
        directory = Path("/")
    inherited = {name: value for name in INHERITED if (value := os.environ.get(name))}
    return Service(
        part=part,
        command=(sys.executable, "-m", "fluxhive.cli.fluxhive", *part.words),
        environment={**inherited, **kept},
        directory=str(directory),
        log=str(service_managers.log_path(part, is_system=user is not None)),
        user=user,
    )

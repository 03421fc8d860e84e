"""What `fluxhive doctor` asks about tasks outliving the agent, and about ending whole trees."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from fluxhive import config, places
from fluxhive.agent import system
from fluxhive.cli import service_managers
from fluxhive.cli.doctor_finding import Finding, note, ok, problem, warning
from fluxhive.cli.service_units import Part, unit_name
from fluxhive.core.errors import FluxhiveError

LOGIND_FOLDERS = ("/usr/lib/systemd", "/usr/local/lib/systemd", "/run/systemd", "/etc/systemd")
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


def look(settings: config.Settings) -> Iterator[Finding]:
    """The agent that runs here, its service, what ends it, and what cgroups can do."""
    pid = agent_pid()
    if pid is None:
        yield note("agent", "no agent runs here", "start it: fluxhive service install")
    else:
        yield ok("agent", f"process {pid}")
    yield from containers()
    if system.IS_LINUX:
        yield from services(pid)
        yield from logins(pid)
        yield from cgroups()
    else:
        yield from lacks()


def lacks() -> Iterator[Finding]:
    """What of Linux's guarantees does not hold on this system (docs/systems.md)."""
    if sys.platform == "win32":
        yield problem(
            "system",
            "agents and servers do not run on Windows yet: client and SDK do",
            "run them on Linux, or in WSL 2",
        )
        return
    yield warning(
        "tree",
        f"{system.NAME}: a process that leaves its session and its parents is found by its "
        "environment only, and not if it has emptied that",
        "let tasks start no daemons, or run them on Linux",
    )
    yield warning(
        "supervisor",
        f"{system.NAME}: a task whose supervisor is killed runs on until the agent ends it",
        "do not end processes named fluxhive.agent.portable_shim by hand",
    )
    yield note("cgroup", f"{system.NAME}: host memory is not limited, and who ran out is not known")
    yield note("container", f"{system.NAME}: tasks in containers go to nodes with Linux")


def agent_pid() -> int | None:
    """The agent that holds the lock of this machine's state directory."""
    from fluxhive.agent.state_lock import holder

    return holder(places.state_root() / "agent" / places.machine_id())


def containers() -> Iterator[Finding]:
    """An agent in a container ends with it."""
    marks = [mark for mark in CONTAINER_MARKS if os.path.exists(mark)]
    if sys.platform == "linux":
        from fluxhive.agent import process

        if not process.sees_all_pids():
            marks.append("pids of its own")
    if marks:
        yield warning(
            "container",
            f"this is a container ({', '.join(marks)}): its end ends the agent and every task",
            "run the agent on the machine itself, or never restart the container while tasks run",
        )


def services(pid: int | None) -> Iterator[Finding]:
    """Whether the unit that the agent runs under would end its tasks with it."""
    unit = None if pid is None else unit_of(pid)
    if unit is None:
        unit = next((each for each in installed() if each[0] == unit_name(Part.AGENT)), None)
        if unit is None:
            if pid is not None:
                yield note("service", "the agent is no service", "fluxhive service install")
            return
    name, is_system = unit
    mode = _shown(name, "KillMode", is_system=is_system)
    if mode == "process":
        yield ok("service", f"{name} leaves tasks alone (KillMode=process)")
    else:
        yield problem(
            "service",
            f"{name} has KillMode={mode or 'unknown'}: its restart ends every task",
            "fluxhive service install writes one that does not; or add a drop-in: "
            f"systemctl edit {name}, [Service], KillMode=process",
        )
    if not is_system and service_managers.lingers() is False:
        yield problem(
            "linger",
            f"{name} is a user's service, and ends with the last login",
            f"loginctl enable-linger {_user()}",
        )


def installed() -> list[tuple[str, bool]]:
    """Units of ours that are there: (name, of the machine?)."""
    if shutil.which("systemctl") is None:
        return []
    return [
        (unit_name(part), is_system)
        for part in Part
        for is_system in (False, True)
        if service_managers.Systemd(is_system=is_system).path_of(part).exists()
    ]


def unit_of(pid: int) -> tuple[str, bool] | None:
    """The service that a process belongs to, and whether it is the machine's; by its cgroup."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "name=systemd"):
            continue
        # A user's services lie below user@1000.service, whose own unit is not theirs.
        names = re.findall(r"[^/]+\.service", path)
        own = [name for name in names if not re.fullmatch(r"user@\d+\.service", name)]
        if own:
            return own[-1], len(own) == len(names)
    return None


def logins(pid: int | None) -> Iterator[Finding]:
    """Whether logging out ends what a user started by hand (logind.conf(5))."""
    if kills_user_processes() and (pid is None or unit_of(pid) is None):
        yield problem(
            "login",
            "KillUserProcesses=yes: what was started by hand ends when you log out, tasks too",
            f"fluxhive service install, and: loginctl enable-linger {_user()}",
        )


def kills_user_processes(folders: tuple[str, ...] = LOGIND_FOLDERS) -> bool:
    """What logind's files say; the last one wins, as there."""
    paths = [Path(folder) / "logind.conf" for folder in folders]
    drop_ins = {
        path.name: path
        for folder in folders
        for path in sorted((Path(folder) / "logind.conf.d").glob("*.conf"))
    }
    value = "no"
    for path in [*paths, *(drop_ins[name] for name in sorted(drop_ins))]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        for found in re.findall(r"^\s*KillUserProcesses\s*=\s*(\S+)", text, re.MULTILINE):
            value = found
    return value.lower() in ("yes", "true", "on", "1", "y", "t")


def cgroups() -> Iterator[Finding]:
    """What the kernel lets the agent do with cgroups."""
    from fluxhive.agent import process

    root = process.cgroup_root()
    if root is None:
        yield warning(
            "cgroup",
            "no cgroup can be made: a process that leaves its parents and clears its environment "
            "is found only while its supervisor lives",
            "run the agent as a service with Delegate=yes: fluxhive service install",
        )
        return
    yield ok("cgroup", f"whole trees are ended at once, in {root}")
    if not has_memory(root):
        yield note("cgroup", "no memory controller there: host memory is not limited by cgroup")


def has_memory(root: str) -> bool:
    """Whether memory can be counted and limited by cgroup below it (cgroup v2)."""
    try:
        return "memory" in Path(root, "cgroup.controllers").read_text().split()
    except OSError:
        return False


def _shown(unit: str, key: str, *, is_system: bool) -> str:
    words = ["systemctl", *([] if is_system else ["--user"]), "show", unit, f"--property={key}"]
    try:
        done = service_managers.run(words)
    except FluxhiveError:
        return ""
    found = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
    return found.get(key, "") if done.returncode == 0 else ""


def _user() -> str:
    import getpass

    return getpass.getuser()

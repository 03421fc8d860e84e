"""The three service managers behind one face: put a service in, take it out, ask how it is.

Each writes one file that service_units.py makes and calls the system's own command for the rest.
Where that command is not there or answers with an error, the file is still written and the person
is told what to run. Nothing here needs root for a service of the user's own.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from fluxhive import places
from fluxhive.cli import service_units as units
from fluxhive.cli.service_units import Part, Service
from fluxhive.core.errors import Conflict, FluxhiveError, NotFound, RemoteError

COMMAND_S = 60.0


class Written(NamedTuple):
    """What an installation did."""

    path: Path
    is_changed: bool
    advice: tuple[str, ...] = ()
    """What is left for a person to do, most important first."""


class State(NamedTuple):
    """How a service is."""

    name: str
    path: str | None
    """None: it is not installed."""
    state: str
    pid: int | None = None
    is_enabled: bool = False
    problems: tuple[str, ...] = ()


class Manager(Protocol):
    """One service manager, for the user's own services or the machine's."""

    def path_of(self, part: Part) -> Path:
        """Where its file lies."""

    def text_of(self, service: Service) -> bytes:
        """What the file says."""

    def install(self, service: Service, *, starts: bool) -> Written:
        """Writes the file; with ``starts`` the service runs afterwards, with what it says now."""

    def uninstall(self, part: Part) -> Path:
        """Ends the service and removes its file. Raises ``NotFound``."""

    def state(self, part: Part) -> State:
        """How it is now."""

    def logs(self, part: Part, *, n_lines: int, follows: bool) -> list[str]:
        """The command that shows its log."""


def manager_here(*, is_system: bool) -> Manager:
    """The one of this machine. Raises ``FluxhiveError`` where there is none that we know."""
    if sys.platform == "darwin":
        return Launchd(is_system=is_system)
    if sys.platform == "win32":
        return TaskScheduler(is_system=is_system)
    if shutil.which("systemctl") is None:
        raise FluxhiveError(
            "there is no systemd on this machine",
            hint="start `fluxhive run` by the service manager that is here, so that its end "
            "does not end the processes below it; `fluxhive service install --print` shows a unit",
        )
    return Systemd(is_system=is_system)


class Systemd:
    """See ``Manager``; systemctl(1)."""

    def __init__(self, *, is_system: bool) -> None:
        self._is_system = is_system
        self._user = [] if is_system else ["--user"]

    def path_of(self, part: Part) -> Path:
        """Where the unit lies (systemd.unit(5))."""
        if self._is_system:
            return Path("/etc/systemd/system") / units.unit_name(part)
        home = os.environ.get("XDG_CONFIG_HOME") or ""
        base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
        return base / "systemd" / "user" / units.unit_name(part)

    def text_of(self, service: Service) -> bytes:
        """The unit."""
        return units.systemd_unit(service).encode()

    def install(self, service: Service, *, starts: bool) -> Written:
        """Writes the unit, enables it, and starts it anew if what it says has changed."""
        path = self.path_of(service.part)
        is_changed = write_if_changed(path, self.text_of(service))
        name = units.unit_name(service.part)
        advice = self._linger_advice()
        steps = [["daemon-reload"], ["enable", name]]
        if starts:
            steps.append(["restart" if is_changed else "start", name])
        for step in steps:
            words = ["systemctl", *self._user, *step]
            done = run(words)
            if done.returncode != 0:
                why = done.stderr.strip() or f"code {done.returncode}"
                rest = "; ".join(" ".join(["systemctl", *self._user, *each]) for each in steps)
                return Written(
                    path, is_changed, (f"`{' '.join(words)}` failed: {why}. Run: {rest}",)
                )
        return Written(path, is_changed, advice)

    def _linger_advice(self) -> tuple[str, ...]:
        """Without lingering a user's services end with the last login (loginctl(1))."""
        if self._is_system or lingers() is not False:
            return ()
        command = f"loginctl enable-linger {getpass.getuser()}"
        return (f"it ends with your last login, and its tasks with it, until you run: {command}",)

    def uninstall(self, part: Part) -> Path:
        """Stops and disables the unit; its tasks run on, as it says ``KillMode=process``."""
        path = _there(self.path_of(part))
        _must(["systemctl", *self._user, "disable", "--now", units.unit_name(part)])
        path.unlink()
        _must(["systemctl", *self._user, "daemon-reload"])
        return path

    def state(self, part: Part) -> State:
        """From `systemctl show`, with what breaks the promise to tasks."""
        name, path = units.unit_name(part), self.path_of(part)
        asked = "ActiveState,SubState,MainPID,UnitFileState,KillMode,Delegate"
        done = run(["systemctl", *self._user, "show", name, f"--property={asked}"])
        found = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        problems = []
        if done.returncode != 0:
            problems.append(done.stderr.strip() or "systemctl does not answer")
        elif part is Part.AGENT and path.exists() and found.get("KillMode") != "process":
            problems.append(
                f"KillMode is {found.get('KillMode') or 'not known'}, not process: tasks end "
                "with the agent"
            )
        problems += self._linger_advice() if path.exists() else ()
        pid = found.get("MainPID", "0")
        return State(
            name=name,
            path=str(path) if path.exists() else None,
            state=f"{found.get('ActiveState', 'unknown')} ({found.get('SubState', 'unknown')})",
            pid=int(pid) if pid.isdigit() and pid != "0" else None,
            is_enabled=found.get("UnitFileState") == "enabled",
            problems=tuple(problems),
        )

    def logs(self, part: Part, *, n_lines: int, follows: bool) -> list[str]:
        """journalctl(1)."""
        chosen = ["--user-unit" if not self._is_system else "--unit", units.unit_name(part)]
        return ["journalctl", *chosen, "-n", str(n_lines), *(["-f"] if follows else ["--no-pager"])]


class Launchd:
    """See ``Manager``; launchctl(1)."""

    def __init__(self, *, is_system: bool) -> None:
        self._is_system = is_system
        self._domain = "system" if is_system else f"gui/{os.getuid()}"

    def path_of(self, part: Part) -> Path:
        """Where the property list lies."""
        root = Path("/") if self._is_system else Path.home()
        folder = "LaunchDaemons" if self._is_system else "LaunchAgents"
        return root / "Library" / folder / f"{units.launchd_label(part)}.plist"

    def text_of(self, service: Service) -> bytes:
        """The property list."""
        return units.launchd_plist(service)

    def install(self, service: Service, *, starts: bool) -> Written:
        """Writes the list; loads it anew if it has changed or is not loaded."""
        path = self.path_of(service.part)
        is_changed = write_if_changed(path, self.text_of(service))
        target = f"{self._domain}/{units.launchd_label(service.part)}"
        if starts and (is_changed or run(["launchctl", "print", target]).returncode != 0):
            run(["launchctl", "bootout", target])
            _must(["launchctl", "bootstrap", self._domain, str(path)])
        return Written(path, is_changed)

    def uninstall(self, part: Part) -> Path:
        """Unloads the job and removes its file."""
        path = _there(self.path_of(part))
        run(["launchctl", "bootout", f"{self._domain}/{units.launchd_label(part)}"])
        path.unlink()
        return path

    def state(self, part: Part) -> State:
        """From `launchctl print`, whose text is not made for programs: loaded or not."""
        path = self.path_of(part)
        done = run(["launchctl", "print", f"{self._domain}/{units.launchd_label(part)}"])
        found = dict(
            line.strip().split(" = ", 1) for line in done.stdout.splitlines() if " = " in line
        )
        pid = found.get("pid", "")
        return State(
            name=units.launchd_label(part),
            path=str(path) if path.exists() else None,
            state=found.get("state", "unknown") if done.returncode == 0 else "not loaded",
            pid=int(pid) if pid.isdigit() else None,
            is_enabled=done.returncode == 0,
        )

    def logs(self, part: Part, *, n_lines: int, follows: bool) -> list[str]:
        """launchd keeps no log: the file that the job writes."""
        return _tail(log_path(part, is_system=self._is_system), n_lines=n_lines, follows=follows)


class TaskScheduler:
    """See ``Manager``; schtasks."""

    def __init__(self, *, is_system: bool) -> None:
        self._is_system = is_system

    def path_of(self, part: Part) -> Path:
        """Where we keep the XML; the scheduler has a copy of its own."""
        return places.state_root() / f"{part.value}-task.xml"

    def text_of(self, service: Service) -> bytes:
        """The XML."""
        return units.windows_task(service)

    def install(self, service: Service, *, starts: bool) -> Written:
        """Creates the task from the XML, over an earlier one."""
        path = self.path_of(service.part)
        is_changed = write_if_changed(path, self.text_of(service))
        name = units.task_name(service.part)
        _must(["schtasks", "/Create", "/F", "/TN", name, "/XML", str(path)])
        if starts:
            _must(["schtasks", "/Run", "/TN", name])
        return Written(path, is_changed)

    def uninstall(self, part: Part) -> Path:
        """Ends and deletes the task."""
        path = _there(self.path_of(part))
        run(["schtasks", "/End", "/TN", units.task_name(part)])
        _must(["schtasks", "/Delete", "/F", "/TN", units.task_name(part)])
        path.unlink()
        return path

    def state(self, part: Part) -> State:
        """From `schtasks /Query`."""
        path = self.path_of(part)
        done = run(["schtasks", "/Query", "/FO", "CSV", "/NH", "/TN", units.task_name(part)])
        words = [word.strip('"') for word in done.stdout.strip().split(",")]
        is_there = done.returncode == 0
        return State(
            name=units.task_name(part),
            path=str(path) if path.exists() else None,
            state=words[-1] if is_there and words else "not there",
            is_enabled=is_there,
        )

    def logs(self, part: Part, *, n_lines: int, follows: bool) -> list[str]:
        """The file that the task writes."""
        return _tail(log_path(part, is_system=self._is_system), n_lines=n_lines, follows=follows)


# ── files and commands ────────────────────────────────────────────────────────────────────────


def log_path(part: Part, *, is_system: bool) -> Path:
    """Where output goes where the system keeps no journal."""
    if is_system:
        return Path("/var/log") / f"fluxhive-{part.value}.log"
    return places.state_root() / f"{part.value}.log"


def lingers() -> bool | None:
    """Whether this user's services outlive the last login; None where nobody can tell."""
    try:
        done = run(["loginctl", "show-user", getpass.getuser(), "--property=Linger"])
    except (FluxhiveError, KeyError, OSError):
        return None
    word = done.stdout.strip().removeprefix("Linger=")
    if done.returncode == 0 and word in ("yes", "no"):
        return word == "yes"
    return None


def write_if_changed(path: Path, text: bytes) -> bool:
    """Writes the file as a whole; False when it says this already. Raises ``Conflict``."""
    try:
        if path.exists() and path.read_bytes() == text:
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except PermissionError as error:
        raise Conflict(
            f"cannot write `{path}`: {error.strerror}",
            hint="a service of the machine needs root: sudo fluxhive service install --system; "
            "without --system it is a service of your own",
        ) from error
    except OSError as error:
        raise Conflict(f"cannot write `{path}`: {error.strerror}") from error
    return True


def _there(path: Path) -> Path:
    if not path.exists():
        raise NotFound(
            f"no such service is installed: there is no `{path}`",
            hint="`fluxhive service install` puts it in; a service of the machine needs --system",
        )
    return path


def run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Calls a command of the system, for a limited time. Raises ``FluxhiveError`` without one."""
    try:
        return subprocess.run(
            list(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_S,
        )
    except FileNotFoundError as error:
        raise FluxhiveError(f"there is no `{words[0]}` on this machine") from error
    except subprocess.TimeoutExpired as error:
        raise RemoteError(f"`{' '.join(words)}` did not end within {COMMAND_S:.0f} s") from error


def _must(words: Sequence[str]) -> None:
    done = run(words)
    if done.returncode != 0:
        text = done.stderr.strip() or done.stdout.strip() or f"code {done.returncode}"
        raise RemoteError(f"`{' '.join(words)}` failed: {text}")


def _tail(path: Path, *, n_lines: int, follows: bool) -> list[str]:
    if sys.platform == "win32":
        wait = " -Wait" if follows else ""
        return ["powershell", "-Command", f"Get-Content -Tail {n_lines}{wait} '{path}'"]
    return ["tail", "-n", str(n_lines), *(["-F"] if follows else []), str(path)]

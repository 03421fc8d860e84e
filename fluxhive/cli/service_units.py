"""What a service looks like to systemd, launchd and the Windows Task Scheduler: texts, no I/O.

The point of each is the same: the agent is started at boot and again after it ended, and **its
tasks outlive it**. Every one of the three ends a service's processes with it unless told not to.
Called by service.py; what a text means is said in docs/guides/service.md.
"""

from __future__ import annotations

import plistlib
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple
from xml.etree import ElementTree

RESTART_S = 5
STOP_S = 30
"""The agent says goodbye and ends within a second; the server finishes its answers."""

REPAIR_EXIT_CODES = (2, 4, 6)
"""Ends that only a person can repair: a setting, a login, another agent. Not tried again."""

TASK_NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"


class Part(Enum):
    """What runs as a service."""

    AGENT = "agent"
    SERVER = "server"

    @property
    def words(self) -> tuple[str, ...]:
        """Arguments of `fluxhive`."""
        return ("run",) if self is Part.AGENT else ("server",)

    @property
    def description(self) -> str:
        """One line for lists of services."""
        if self is Part.AGENT:
            return "FlowHive agent: this machine as a node of a hive"
        return "FlowHive control server"


class Service(NamedTuple):
    """One service to be written down."""

    part: Part
    command: tuple[str, ...]
    """Absolute path first."""
    environment: Mapping[str, str]
    directory: str
    log: str
    """Where output goes, where the system keeps no journal."""
    user: str | None = None
    """Whom a service of the whole machine runs as; None: a service of the user who installs it."""

    @property
    def is_system(self) -> bool:
        """Whether it belongs to the machine and not to a user."""
        return self.user is not None


# ── systemd ───────────────────────────────────────────────────────────────────────────────────


def unit_name(part: Part) -> str:
    """The unit's name for `systemctl`."""
    return f"fluxhive-{part.value}.service"


def systemd_unit(service: Service) -> str:
    """The unit file (systemd.service(5), systemd.kill(5))."""
    network = ["Wants=network-online.target", "After=network-online.target"]
    lines = [
        "# Written by `fluxhive service install`; run it again to change it.",
        "[Unit]",
        f"Description={service.part.description}",
        *(network if service.is_system else []),
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"ExecStart={' '.join(_systemd_word(word) for word in service.command)}",
        f"WorkingDirectory={_systemd_path(service.directory)}",
        *([f"User={service.user}"] if service.user else []),
        *(f'Environment="{_systemd_value(f"{k}={v}")}"' for k, v in service.environment.items()),
        "Restart=always",
        f"RestartSec={RESTART_S}",
        f"RestartPreventExitStatus={' '.join(map(str, REPAIR_EXIT_CODES))}",
        f"TimeoutStopSec={STOP_S}",
        *(_AGENT_LINES if service.part is Part.AGENT else []),
        "",
        "[Install]",
        f"WantedBy={'multi-user.target' if service.is_system else 'default.target'}",
    ]
    return "\n".join(lines) + "\n"


_AGENT_LINES = (
    "# Tasks outlive the agent: only the agent itself is ended with the service, never its tasks.",
    "KillMode=process",
    "# A task that runs out of memory is no reason to end the agent.",
    "OOMPolicy=continue",
    "# The agent makes a cgroup for each attempt, so that nothing of a task escapes its end.",
    "Delegate=yes",
)


def _systemd_word(word: str) -> str:
    """A word of a command line: quoted, and free of what systemd would replace."""
    safe = _systemd_value(word).replace("$", "$$")
    return safe if safe and not set(safe) & set(" \t\"';") else f'"{safe}"'


def _systemd_value(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")


def _systemd_path(path: str) -> str:
    return path.replace("%", "%%")


# ── launchd ───────────────────────────────────────────────────────────────────────────────────


def launchd_label(part: Part) -> str:
    """The job's name for `launchctl`."""
    return f"org.fluxhive.{part.value}"


def launchd_plist(service: Service) -> bytes:
    """The property list (launchd.plist(5))."""
    job: dict[str, object] = {
        "Label": launchd_label(service.part),
        "ProgramArguments": list(service.command),
        "EnvironmentVariables": dict(service.environment),
        "WorkingDirectory": service.directory,
        "RunAtLoad": True,
        "KeepAlive": True,
        "ThrottleInterval": RESTART_S,
        "ExitTimeOut": STOP_S,
        # Without it launchd ends all processes of the job's group with the job.
        "AbandonProcessGroup": True,
        "ProcessType": "Background",
        "StandardOutPath": service.log,
        "StandardErrorPath": service.log,
    }
    if service.user is not None:
        job["UserName"] = service.user
    return plistlib.dumps(job)


# ── Windows ───────────────────────────────────────────────────────────────────────────────────


def task_name(part: Part) -> str:
    """The task's name for `schtasks`."""
    return f"FlowHive {part.value}"


def windows_task(service: Service) -> bytes:
    """The task's XML, in UTF-16 as `schtasks /XML` wants it (Task Scheduler schema 1.2).

    The scheduler has no environment for a task, hence the variables stand in the command. What the
    agent starts is out of the task's job: its end does not end them.
    """
    ElementTree.register_namespace("", TASK_NAMESPACE)
    root = _element("Task", version="1.2")
    information = _child(root, "RegistrationInfo")
    _child(information, "Description", service.part.description)
    triggers = _child(root, "Triggers")
    trigger = _child(triggers, "BootTrigger" if service.is_system else "LogonTrigger")
    _child(trigger, "Enabled", "true")
    principal = _child(_child(root, "Principals"), "Principal", id="Author")
    if service.user is not None:
        _child(principal, "UserId", service.user)
    _child(principal, "LogonType", "S4U" if service.is_system else "InteractiveToken")
    _child(principal, "RunLevel", "LeastPrivilege")
    settings = _child(root, "Settings")
    for name, value in _TASK_SETTINGS:
        _child(settings, name, value)
    again = _child(settings, "RestartOnFailure")
    _child(again, "Interval", "PT1M")  # the shortest there is
    _child(again, "Count", "999")
    run = _child(_child(root, "Actions", Context="Author"), "Exec")
    _child(run, "Command", "cmd.exe")
    _child(run, "Arguments", f'/d /s /c "{_windows_line(service)}"')
    _child(run, "WorkingDirectory", service.directory)
    return bytes(ElementTree.tostring(root, encoding="utf-16"))


#: In the order of the schema.
_TASK_SETTINGS = (
    ("MultipleInstancesPolicy", "IgnoreNew"),
    ("DisallowStartIfOnBatteries", "false"),
    ("StopIfGoingOnBatteries", "false"),
    ("StartWhenAvailable", "true"),
    ("Enabled", "true"),
    ("ExecutionTimeLimit", "PT0S"),  # none; the default ends it after three days
)


def _windows_line(service: Service) -> str:
    variables = " && ".join(f'set "{key}={value}"' for key, value in service.environment.items())
    line = f'{_windows_words(service.command)} >> "{service.log}" 2>&1'
    return f"{variables} && {line}" if variables else line


def _windows_words(words: Sequence[str]) -> str:
    return " ".join(
        f'"{word}"' if not word or set(word) & set(" \t&()^;,") else word for word in words
    )


def _element(name: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.Element(f"{{{TASK_NAMESPACE}}}{name}", attributes)


def _child(
    parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str
) -> ElementTree.Element:
    made = ElementTree.SubElement(parent, f"{{{TASK_NAMESPACE}}}{name}", attributes)
    made.text = text
    return made

"""A stand-in for `systemctl` that starts and ends units as systemd would: by their cgroup.

systemd does not run where the tests run. What matters of it for tasks is one thing: stopping a unit
ends every process of its cgroup, unless the unit says ``KillMode=process``. That is done here with
a real cgroup and real processes. Called as `systemctl --user VERB UNIT`; STAND_IN_STATE names a
directory for what it remembers, STAND_IN_LOG where the unit's output goes.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import time
from pathlib import Path

STOP_S = 10.0


def unit_of(name: str) -> dict[str, list[str]]:
    """The unit's settings; each may stand there several times."""
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "systemd" / "user" / name
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def cgroup_root() -> Path | None:
    """A cgroup2 mount that we may write; None: there is none."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4])
        if right.split()[0] == "cgroup2" and os.access(point, os.W_OK):
            return point
    return None


class Unit:
    """One unit: its cgroup and its main process."""

    def __init__(self, name: str) -> None:
        root = cgroup_root()
        assert root is not None, "no cgroup2 that may be written"
        self.name = name
        self.state = Path(os.environ["STAND_IN_STATE"])
        self.cgroup = root / f"stand-in-{self.state.parent.name}-{name}"
        self.pid_file = self.state / f"{name}.pid"

    @property
    def pid(self) -> int:
        """Main process; 0 when it does not run."""
        try:
            pid = int(self.pid_file.read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError):
            return 0
        return 0 if state in "ZX" else pid

    def start(self) -> None:
        """Starts the main process in the unit's cgroup."""
        if self.pid:
            return
        unit = unit_of(self.name)
        self.cgroup.mkdir(exist_ok=True)
        pid = os.fork()
        if pid:
            self.pid_file.write_text(str(pid))
            return
        os.setsid()
        (self.cgroup / "cgroup.procs").write_text(str(os.getpid()))
        os.chdir(unit["WorkingDirectory"][-1])
        environment = {"HOME": os.environ["HOME"]}
        for line in unit.get("Environment", []):
            key, _, value = shlex.split(line)[0].partition("=")
            environment[key] = value
        log = os.open(os.environ["STAND_IN_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in (1, 2):
            os.dup2(log, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        words = shlex.split(unit["ExecStart"][-1])
        os.execve(words[0], words, environment)

    def stop(self) -> None:
        """Ends what the unit's KillMode says (systemd.kill(5)): without one, everything."""
        is_gentle = unit_of(self.name).get("KillMode", ["control-group"])[-1] == "process"
        for number in (signal.SIGTERM, signal.SIGKILL):
            until = time.monotonic() + STOP_S
            pids = [self.pid] if is_gentle and self.pid else [] if is_gentle else self.pids()
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            while time.monotonic() < until and (self.pid if is_gentle else self.pids()):
                time.sleep(0.02)

    def pids(self) -> list[int]:
        """Every process of the cgroup and of those below it."""
        return [
            int(pid)
            for file in self.cgroup.glob("**/cgroup.procs")
            for pid in file.read_text().split()
        ]

    def show(self) -> None:
        """What `systemctl show` prints of it."""
        unit = unit_of(self.name)
        is_enabled = (self.state / f"{self.name}.enabled").exists()
        print(f"ActiveState={'active' if self.pid else 'inactive'}")
        print(f"SubState={'running' if self.pid else 'dead'}")
        print(f"MainPID={self.pid}")
        print(f"UnitFileState={'enabled' if is_enabled else 'disabled'}")
        print(f"KillMode={unit.get('KillMode', ['control-group'])[-1]}")
        print(f"Delegate={unit.get('Delegate', ['no'])[-1]}")


def main(words: list[str]) -> int:
    """One call of `systemctl`."""
    state = Path(os.environ["STAND_IN_STATE"])
    with (state / "calls").open("a") as calls:
        calls.write(" ".join(words) + "\n")
    verb, *names = [word for word in words if not word.startswith("--")]
    if verb == "daemon-reload":
        return 0
    unit = Unit(names[0])
    if verb == "enable":
        (state / f"{unit.name}.enabled").touch()
    elif verb == "disable":
        (state / f"{unit.name}.enabled").unlink(missing_ok=True)
        unit.stop()
    elif verb == "show":
        unit.show()
    elif verb == "start":
        unit.start()
    elif verb == "stop":
        unit.stop()
    elif verb == "restart":
        unit.stop()
        unit.start()
    else:
        print(f"Unknown command verb {verb}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

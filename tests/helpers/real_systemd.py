"""A real systemd, as process 1 of namespaces of its own, for tests of what it does to services.

It shares this machine's files and network. `/run` is empty, `/etc` is an overlay that is thrown
away, and no unit of the machine is pulled in: nothing starts but what a test installs. Wants root,
and Linux.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
#: What a unit's default dependencies and `multi-user.target` would start of this machine.
_EMPTY_TARGETS = ("sysinit", "basic", "multi-user", "network-online", "network", "shutdown")
_NAMESPACES = ("--mount", "--pid", "--mount-proc", "--ipc", "--uts")
_BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/upper /run/work /run/lock
for wants in /lib/systemd/system/*.wants; do mount -t tmpfs tmpfs "$wants"; done
mount -t overlay overlay -o lowerdir=/etc,upperdir=/run/upper,workdir=/run/work /etc
rm -rf /etc/systemd/system
mkdir -p /etc/systemd/system
for target in {targets}; do
  printf '[Unit]\\nDefaultDependencies=no\\n' > /etc/systemd/system/$target.target
done
exec {systemd} --unit=multi-user.target --log-target=console --show-status=no
"""


class CannotBoot(Exception):
    """One sentence: why there is no systemd here."""


class RealSystemd:
    """One that runs until ``close``, and with it all that it started."""

    def __init__(self, home: Path) -> None:
        """Raises ``CannotBoot``."""
        missing = [name for name in ("unshare", "nsenter", "systemctl") if not shutil.which(name)]
        if os.geteuid() != 0 or missing or not SYSTEMD.exists():
            raise CannotBoot("it wants root, and systemd and util-linux to be installed")
        script = _BOOT.format(targets=" ".join(_EMPTY_TARGETS), systemd=SYSTEMD)
        self._log = home / "systemd.log"
        with self._log.open("wb") as log:
            self._outer = subprocess.Popen(
                ["unshare", *_NAMESPACES, "--fork", "--kill-child", "sh", "-c", script],
                env={"PATH": os.environ["PATH"], "container": "other"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 60
        while self.run("systemctl", "is-system-running").stdout.strip() not in (
            "running",
            "degraded",
        ):
            if self._outer.poll() is not None or time.monotonic() > until:
                self.close()
                raise CannotBoot(f"systemd does not come up: {self._log.read_text()[-300:]}")
            time.sleep(0.2)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """A command among what systemd runs."""
        return subprocess.run(
            ["nsenter", "-t", str(self._init_pid()), "-m", "-p", "-u", "-i", *words],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **variables},
            capture_output=True,
            text=True,
        )

    def close(self) -> None:
        """Ends it; the kernel ends everything else in its namespace with it."""
        if self._outer.poll() is None:
            os.kill(self._init_pid(), signal.SIGKILL)
        self._outer.wait()

    def _init_pid(self) -> int:
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text()
        return int((children.split() or [self._outer.pid])[0])

"""A new version installed with pip under running tasks, and the old one again: nothing is lost.

    python -m tests.chaos.upgrade [--keep DIRECTORY]

Builds two wheels of this tree, one of them called a later version, and installs the first into an
environment of its own. Server and agent start from there and run tasks that bear witness of
themselves; then the other wheel is installed over it, as `pip install -U` does, and both processes
are ended and started again as a service manager would. Then the same the other way round.
What is printed last is what was lost; the exit code is 1 unless that is nothing. Needs the package
index once, for what builds wheels.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fluxhive.protocol.rest import NodePage
from tests.helpers import checked_log
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until

TREE = Path(__file__).parents[2]
#: What a wheel is built from.
SOURCES = ("fluxhive", "scripts", "pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
LATER = "1.0.0a999"
N_TASKS = 4
N_BYTES = 6_000_000
REQUEST = {"gpus": 1, "cpus": 0}


def wheel(folder: Path, version: str | None) -> Path:
    """A wheel of this tree; with a version, of one that is called so."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in SOURCES:
        if (TREE / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "dashboard")
            shutil.copytree(TREE / name, source / name, ignore=ignored)
        else:
            shutil.copy(TREE / name, source / name)
    if version is not None:
        for name, pattern in (
            ("pyproject.toml", r'^version = "[^"]+"'),
            ("fluxhive/__init__.py", r'^__version__ = "[^"]+"'),
        ):
            path = source / name
            changed, n = re.subn(
                pattern, f'{pattern[1:].split(" ")[0]} = "{version}"', path.read_text(), flags=re.M
            )
            assert n == 1, f"{name} names its version elsewhere"
            path.write_text(changed)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
    env = {**os.environ, "FLOWHIVE_SKIP_WEB": "1"}
    subprocess.run([*build, str(source)], check=True, env=env)
    (made,) = folder.glob("*.whl")
    return made


class Installed:
    """An environment with FlowHive in it, and all that it needs from the one that runs this."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        (self.site,) = folder.glob("lib/python3*/site-packages")
        # Behind its own packages on the path: what is installed here goes first.
        (self.site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.python = folder / "bin" / "python"

    def install(self, made: Path) -> None:
        """As `pip install -U` does it: the old files go, the new ones come."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.python)]
        install = [*pip, "install", "-q", "--no-deps", "--force-reinstall"]
        subprocess.run([*install, str(made)], check=True)


class UpgradedHive(AgentHive):
    """Its processes come from the installed environment."""

    def __init__(self, home: Path, python: Path) -> None:
        super().__init__(home)
        self._python = str(python)

    def _start(self, words: Sequence[str], log: str, **variables: str) -> subprocess.Popen[bytes]:
        command = [self._python, "-m", "fluxhive.cli.fluxhive", *words]
        with open(self.home / log, "ab") as file:
            process = subprocess.Popen(
                command,
                env={**self.env, **variables},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        self._others.append(process)
        return process

    def restart(self) -> None:
        """As a service manager does it, the server first."""
        self.kill_server(signal.SIGTERM)
        self.start_server()
        self.kill_agent(signal.SIGTERM)
        self.start_agent()

    def version(self) -> str:
        """What the node says that it is."""
        (node,) = self.transport().call("GET", "/api/v1/nodes", NodePage).items
        return node.agent_version


def begin(hive: AgentHive, round_name: str) -> list[tuple[str, Path]]:
    """Tasks that write, each with its witness."""
    begun = []
    for n in range(N_TASKS):
        witness = hive.home / f"witness-{round_name}-{n}"
        line = (
            f"{sys.executable} {checked_log.__file__} write --bytes {N_BYTES} --burst 20000 "
            f"--pause 0.15 --witness {witness} --code {n + 3}"
        )
        begun.append((hive.submit(line, request=REQUEST), witness))
    for _, witness in begun:
        until(witness.exists, what=f"the start of {witness.name}")
    return begun


def faults_of(hive: AgentHive, begun: list[tuple[str, Path]]) -> list[str]:
    """What became of them that should not have."""
    found = []
    for n, (task, witness) in enumerate(begun):
        end = hive.ended(task, limit_s=120)
        code = None if end.outcome is None else end.outcome.exit_code
        if code != n + 3 or len(end.attempts) != 1:
            found.append(f"{task}: exit code {code} after {len(end.attempts)} attempts")
        fault = checked_log.first_fault(hive.log(task, size=N_BYTES))
        if fault is not None:
            found.append(f"{task}: {fault}")
        beats = checked_log.read_witness(witness.read_text())
        words = [beat.word for beat in beats if beat.word != "beat"]
        if words != ["start", "end"]:
            found.append(f"{task}: its witness says {words}")
    return found


def run(folder: Path) -> list[str]:
    """Both ways; what went wrong."""
    old, new = wheel(folder / "old", None), wheel(folder / "new", LATER)
    installed = Installed(folder / "venv")
    installed.install(old)
    home = folder / "home"
    home.mkdir()
    hive = UpgradedHive(home, installed.python)
    # One for each task and one more, however few cores there are.
    hive.env["FLOWHIVE_FAKE_GPUS"] = f"{N_TASKS + 1}x80G"
    faults = []
    try:
        hive.start_server()
        hive.start_agent()
        first = hive.version()
        for name, made, wanted in (("up", new, LATER), ("down", old, first)):
            begun = begin(hive, name)
            installed.install(made)
            begun_later = hive.submit(
                "exit 9", request=REQUEST
            )  # the old processes on the new files
            hive.restart()
            if any(hive.is_final(task) for task, _ in begun):
                faults.append(f"{name}: a task had ended before the new agent was there")
            if hive.version() != wanted:
                faults.append(f"{name}: the node says {hive.version()}, not {wanted}")
            faults += faults_of(hive, begun)
            outcome = hive.ended(begun_later).outcome
            if outcome is None or outcome.exit_code != 9:
                faults.append(f"{name}: {begun_later} ended as {outcome}")
            print(f"{name}: {first} to {made.name}: {len(begun)} tasks ran on", flush=True)
    finally:
        hive.close()
    return faults


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", type=Path, help="Leave everything in this new directory.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fluxhive-upgrade-") as name:
        folder = options.keep or Path(name)
        faults = run(folder)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

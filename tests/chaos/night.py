"""The server away for a night, while tasks end, print beyond their node's bound, and are stopped.

    python -m tests.chaos.night [--minutes 1] [--keep DIRECTORY]

The night lasts so many minutes by the machine and eight hours by the wall clocks of agent and
server, which leap ahead meanwhile; once in it the agent is killed and started again. In the morning
the server comes back and everything must be there: each end with its exit code, each byte of output
or the gap that says how many are missing, what waited started, what was to be stopped was. What is
printed last is what was lost; the exit code is 1 unless that is nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from fluxhive.protocol.rest import LogStreamView, TaskView
from tests.helpers import checked_log
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until

CLOCK = Path(__file__).parents[1] / "helpers" / "native" / "clock.c"
HOURS = 8
BACKLOG_GIB = 0.01
SMALL, LARGE = 300_000, 30_000_000
FAILOVER_MS = 10_000
N_ENDING, N_FLOODING, N_STAYING, N_LIMITED, N_PARTING, N_WAITING = 16, 4, 4, 3, 3, 5


class Told(NamedTuple):
    """A task, and what must have become of it."""

    kind: str
    task: str
    witness: Path
    code: int | None
    n_bytes: int


class Night:
    """One hive, from the evening to the morning."""

    def __init__(self, home: Path, night_s: float) -> None:
        self.hive = AgentHive(home)
        self.night_s = night_s
        self.told: list[Told] = []
        self.faults: list[str] = []
        self._ahead = home / "ahead"
        library = home / "clock.so"
        compiler = shutil.which("cc")
        if compiler is None:
            sys.exit("error: no C compiler here, with which the clocks are made to leap")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, CLOCK, "-ldl"], check=True)
        self.hive.env |= {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self._ahead)}
        n_at_once = N_ENDING + N_FLOODING + N_STAYING + N_LIMITED + N_PARTING
        # One for each that runs at once, however few cores there are.
        self.hive.env["FLOWHIVE_FAKE_GPUS"] = f"{n_at_once}x80G"
        (home / "config.toml").write_text(f"[agent]\nlog_backlog_gib = {BACKLOG_GIB}\n")

    def evening(self) -> None:
        """Everything is submitted, and runs as far as there is room."""
        self.hive.start_server()
        self.hive.start_agent()
        for n in range(N_ENDING):
            self._submit("ends", SMALL, self.night_s * (n + 1) / (N_ENDING + 2), code=n)
        for n in range(N_FLOODING):
            self._submit("floods", LARGE, self.night_s / 2, code=n)
        for n in range(N_STAYING):
            self._submit("stays", SMALL, self.night_s + 30, code=n)
        limit_ms = round(self.night_s * 500)
        for _ in range(N_LIMITED):
            self._submit("limited", SMALL, self.night_s * 10, code=None, time_limit_ms=limit_ms)
        for n in range(N_PARTING):
            self._submit("parts", SMALL, self.night_s * 0.8, code=n, failover_ms=FAILOVER_MS)
        running = [each.witness for each in self.told]
        until(lambda: all(map(Path.exists, running)), limit_s=120, what="the start of all")
        for n in range(N_WAITING):
            self._submit("waits", SMALL, 0, code=n)

    def pass_by(self) -> None:
        """The server is away; the clocks leap, and the agent is killed once."""
        self.hive.kill_server()
        for hour in range(1, HOURS + 1):
            time.sleep(self.night_s / HOURS)
            self._ahead.write_text(str(hour * 3600))
            if hour == HOURS // 2:
                self.hive.kill_agent()
                self.hive.agent = self.hive._start(["run", "--allow-root"], "agent.log")

    def morning(self) -> None:
        """The server is back: everything is held against what must have become of it."""
        self.hive.start_server()
        for told in self.told:
            self._check(told, self.hive.ended(told.task, limit_s=300))
        until(lambda: not self.hive.run_directories(), what="the end of all run directories")

    def _submit(
        self, kind: str, n_bytes: int, lasts_s: float, *, code: int | None, **spec: object
    ) -> None:
        n_bursts = 100
        witness = self.hive.home / f"witness-{len(self.told)}"
        line = (
            f"exec {sys.executable} {checked_log.__file__} write --bytes {n_bytes} "
            f"--burst {n_bytes // n_bursts} --pause {lasts_s / n_bursts:.4f} --code {code or 0} "
            f"--witness {witness}"
        )
        task = self.hive.submit(line, request={"gpus": 1, "cpus": 0}, **spec)
        self.told.append(Told(kind, task, witness, code, n_bytes))

    def _check(self, told: Told, end: TaskView) -> None:
        outcome = end.outcome
        assert outcome is not None
        beats = checked_log.read_witness(told.witness.read_text())
        n_starts = sum(beat.word == "start" for beat in beats)
        if n_starts != len(end.attempts):
            self._fault(told, f"{n_starts} starts, {len(end.attempts)} attempts")
        if told.kind == "limited":
            if outcome.kind.value != "time-limit":
                self._fault(told, f"ended as {outcome}")
            return
        if told.kind == "parts":
            first = end.attempts[0].outcome
            if first is None or first.kind.value not in ("lease-expired", "node-lost"):
                self._fault(told, f"its first attempt ended as {first}")
        elif len(end.attempts) != 1:
            self._fault(told, f"{len(end.attempts)} attempts")
        if outcome.exit_code != told.code:
            self._fault(told, f"exit code {outcome.exit_code} instead of {told.code}")
        self._check_output(told)

    def _check_output(self, told: Told) -> None:
        data = self.hive.log(told.task, size=told.n_bytes)
        path = f"/api/v1/tasks/{told.task}/logs"
        views = self.hive.transport().call("GET", path, list[LogStreamView])
        newest = [view for view in views if view.stream == "stdout"][-1]
        if bool(newest.gaps) is not (told.kind == "floods"):
            self._fault(told, f"gaps: {newest.gaps}")
        at = 0
        for gap in [*newest.gaps, None]:
            end = len(data) if gap is None else gap.start
            if (fault := checked_log.first_fault(data[at:end], at)) is not None:
                self._fault(told, str(fault))
            at = end if gap is None else gap.end

    def _fault(self, told: Told, text: str) -> None:
        self.faults.append(f"{told.task} ({told.kind}): {text}")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="Leave everything in this new directory.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fluxhive-night-") as name:
        home = options.keep or Path(name)
        home.mkdir(parents=True, exist_ok=True)
        night = Night(home, options.minutes * 60)
        try:
            night.evening()
            night.pass_by()
            night.morning()
        finally:
            night.hive.close()
            _end_trees(night)
    for fault in night.faults:
        print(fault)
    print(f"{len(night.told)} tasks over a night of {HOURS} hours: {len(night.faults)} faults")
    return 1 if night.faults else 0


def _end_trees(night: Night) -> None:
    """After a failure something may still write."""
    for told in night.told:
        if told.witness.exists():
            for beat in checked_log.read_witness(told.witness.read_text()):
                if beat.word == "start":
                    _kill(beat.number, told.witness)


def _kill(pid: int, witness: Path) -> None:
    try:
        is_ours = str(witness).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return
    if is_ours:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

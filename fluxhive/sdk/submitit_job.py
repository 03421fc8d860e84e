"""The main process of a submitit job: starts its processes on this node and sees them end.

``python -m fluxhive.sdk.submitit_job FOLDER``. What they print goes to the files where submitit
looks for it, and to the task's own output. Before the time is over they are told to save
(``SUBMITIT_FLUXHIVE_SIGNAL_AFTER_S``), as Slurm does it; when a hive makes room, it tells them
itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

from submitit.core.utils import JobPaths

from .submitit_environment import (
    GLOBAL_RANK,
    LOCAL_RANK,
    N_TASKS,
    REQUEUE_EXIT_CODE,
    FluxhiveJobEnvironment,
)

PER_NODE, SIGNAL_AFTER_S = "SUBMITIT_FLUXHIVE_PER_NODE", "SUBMITIT_FLUXHIVE_SIGNAL_AFTER_S"
ONE_STREAM = "SUBMITIT_FLUXHIVE_ONE_STREAM"
POLL_S = 0.1
PIECE_BYTES = 65536


class _Process:
    """One process of the job, and the threads that pass on what it prints."""

    def __init__(self, folder: str, local_rank: int, per_node: int) -> None:
        node, n_nodes = (
            int(os.environ.get("FLUXHIVE_RANK", "0")),
            int(os.environ.get("FLUXHIVE_NODES", "1")),
        )
        rank = node * per_node + local_rank
        env = dict(os.environ)
        env[N_TASKS], env[GLOBAL_RANK] = str(n_nodes * per_node), str(rank)
        env[LOCAL_RANK] = str(local_rank)
        paths = JobPaths(folder, job_id=FluxhiveJobEnvironment().job_id, task_id=rank)
        paths.folder.mkdir(parents=True, exist_ok=True)
        is_one = bool(os.environ.get(ONE_STREAM))
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "submitit.core._submit", folder],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if is_one else subprocess.PIPE,
        )
        ends = [(self.process.stdout, str(paths.stdout), sys.stdout.buffer)]
        if not is_one:
            ends.append((self.process.stderr, str(paths.stderr), sys.stderr.buffer))
        self._threads = [threading.Thread(target=_pass_on, args=end) for end in ends]
        for thread in self._threads:
            thread.start()

    def join(self) -> int:
        """Its exit code, once all that it printed is where it belongs."""
        for thread in self._threads:
            thread.join()
        return self.process.wait()


def _pass_on(source: IO[bytes], path: str, other: IO[bytes]) -> None:
    with open(path, "ab", buffering=0) as file:
        while piece := os.read(source.fileno(), PIECE_BYTES):
            file.write(piece)
            other.write(piece)
            other.flush()


def main(arguments: Sequence[str]) -> int:
    """Runs them; the exit code of the task."""
    (folder,) = arguments
    per_node = int(os.environ.get(PER_NODE, "1"))
    signal_after_s = float(os.environ.get(SIGNAL_AFTER_S, "inf"))
    # The hive signals all processes of the task at once: this one has nothing to save.
    signal.signal(FluxhiveJobEnvironment._usr_sig(), lambda *_: None)
    processes = [_Process(folder, rank, per_node) for rank in range(per_node)]

    def stop(*_: object) -> None:
        # They pass SIGTERM over, since Slurm sends it before it preempts.
        _signal_all(processes, signal.SIGINT)

    signal.signal(signal.SIGTERM, stop)
    begun_s, untold = time.monotonic() - _age_s(), list(processes)
    while any(each.process.poll() is None for each in processes):
        time.sleep(POLL_S)
        if time.monotonic() - begun_s >= signal_after_s:
            number = FluxhiveJobEnvironment._usr_sig()
            # One that is not ready for it would die of it.
            ready = [each for each in untold if _catches(each.process.pid, number)]
            untold = [each for each in untold if each not in ready]
            _signal_all(ready, number)
    codes = [each.join() for each in processes]
    if REQUEUE_EXIT_CODE in codes:
        return REQUEUE_EXIT_CODE
    bad = next((code for code in codes if code), 0)
    return bad if bad >= 0 else 128 - bad


def _age_s() -> float:
    """How long ago this process was made, when the task's time began: before its interpreter ran.

    From proc(5), field 22 of ``stat``; 0 where there is no such file.
    """
    try:
        with open("/proc/self/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    made_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - made_s)


def _catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (proc(5), SigCgt)."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            _, _, behind = file.read().partition("SigCgt:")
    except OSError:
        return True  # it has ended, or the system does not tell
    return not behind or bool(int(behind.split()[0], 16) >> (number - 1) & 1)


def _signal_all(processes: Sequence[_Process], number: int) -> None:
    for each in processes:
        if each.process.poll() is None:
            each.process.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Starts per second and CPU per attempt of launcher and shims, beside a plain subprocess loop.

Both run ``/bin/true`` so many times, so many at once, in the same minute on the same machine. What
FlowHive adds for its share: a supervisor for each attempt that outlives the agent, an exit record
on disk, output files, time limit and lease, and the end of the whole tree.

    python benchmarks/spawn.py [ATTEMPTS] [AT_ONCE]
"""

from __future__ import annotations

import os
import resource
import secrets
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from fluxhive.agent.process import Launcher
from fluxhive.agent.run_directory import Exited, RunSpec, write_spec

COMMAND = ["/bin/true"]


def cpu_s(who: int) -> float:
    """User and system time."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def plain_loop(n_attempts: int, at_once: int) -> tuple[float, float]:
    """Wall and CPU seconds of subprocess.Popen with output to files."""
    before = cpu_s(resource.RUSAGE_SELF) + cpu_s(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    running: list[subprocess.Popen[bytes]] = []
    with open(os.devnull, "wb") as null:
        for _ in range(n_attempts):
            if len(running) == at_once:
                running.pop(0).wait()
            running.append(subprocess.Popen(COMMAND, stdout=null, stderr=null))
        for process in running:
            process.wait()
    wall_s = time.perf_counter() - began
    return wall_s, cpu_s(resource.RUSAGE_SELF) + cpu_s(resource.RUSAGE_CHILDREN) - before


def make_runs(folder: Path, n_attempts: int) -> list[str]:
    """Run directories as the agent makes them."""
    run_dirs = []
    for number in range(n_attempts):
        run_dir = folder / f"t-{number}.1"
        run_dir.mkdir(mode=0o700)
        cookie = secrets.token_hex(16)
        env = {"PATH": os.environ["PATH"], "HOME": "/", "FLUXHIVE_COOKIE": cookie}
        spec = RunSpec(
            attempt=run_dir.name, argv=COMMAND, env=env, cwd="/", cookie=cookie, reusable=True
        )
        write_spec(run_dir, spec)
        run_dirs.append(str(run_dir))
    return run_dirs


def shims(launcher: Launcher, run_dirs: list[str], at_once: int) -> float:
    """Wall seconds until each attempt's end has been told."""
    began = time.perf_counter()
    waiting = iter(run_dirs)
    launcher.request_start([run_dir for _, run_dir in zip(range(at_once), waiting, strict=False)])
    n_ended = 0
    while n_ended < len(run_dirs):
        select.select([launcher.fileno()], [], [], 10.0)
        ended = [event for event in launcher.read_events() if isinstance(event, Exited)]
        n_ended += len(ended)
        launcher.request_start([d for _, d in zip(ended, waiting, strict=False)])
    return time.perf_counter() - began


def process_cpu_s(pid: int) -> tuple[float, float]:
    """CPU of a process itself, and of its children: those that ended (proc(5)) and live ones."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    children = times.children_user + times.children_system
    for child in process.children():
        each = child.cpu_times()
        children += each.user + each.system + each.children_user + each.children_system
    return times.user + times.system, children


def memory_mib(pid: int) -> float:
    """Proportional set size."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> None:
    """Run both and print the ratio."""
    n_attempts = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    at_once = int(sys.argv[2]) if len(sys.argv) > 2 else 2 * (os.cpu_count() or 1)
    print(f"{n_attempts} x {COMMAND[0]}, {at_once} at once, load {os.getloadavg()[0]:.2f}")

    wall_s, cpu = plain_loop(n_attempts, at_once)
    plain_rate, plain_us = n_attempts / wall_s, cpu / n_attempts * 1e6
    print(f"subprocess loop   {plain_rate:6.0f}/s   {plain_us:5.0f} us CPU each, all told")

    with tempfile.TemporaryDirectory(prefix="fluxhive-spawn-") as folder:
        run_dirs = make_runs(Path(folder), n_attempts)
        launcher = Launcher(native_dir=Path(folder) / "native")
        launcher.start()
        time.sleep(0.5)
        own_before, children_before = process_cpu_s(launcher.pid)
        agent_before = cpu_s(resource.RUSAGE_SELF)
        wall_s = shims(launcher, run_dirs, at_once)
        agent_us = (cpu_s(resource.RUSAGE_SELF) - agent_before) / n_attempts * 1e6
        time.sleep(0.2)
        own, children = process_cpu_s(launcher.pid)
        launcher_us = (own - own_before) / n_attempts * 1e6
        shim_us = (children - children_before) / n_attempts * 1e6
        pss_mib = memory_mib(launcher.pid)
        launcher.close()
    rate = n_attempts / wall_s
    print(f"launcher + shims  {rate:6.0f}/s   {agent_us + launcher_us + shim_us:5.0f} us")
    print(f"  agent's side {agent_us:.0f} us, launcher {launcher_us:.0f} us ({pss_mib:.1f} MiB)")
    print(
        f"  shim and task {shim_us:.0f} us, of that the task's own share {plain_us:.0f} us or less"
    )
    print(f"ratio: {plain_rate / rate:.2f} times the subprocess loop's time per start")


if __name__ == "__main__":
    main()

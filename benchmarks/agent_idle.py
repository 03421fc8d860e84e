"""What an agent costs while nothing happens: without GPUs, and with eight and fifty tasks on them.

    python benchmarks/agent_idle.py [--seconds 30] [--tasks 50]

CPU is the process's own over the time, as a part of one core; memory is proportional (Pss), a
shim's is private. The GPUs are pretended (their readings come from files), so what the driver
itself takes is measured apart, on a real one: `scripts/gpu_faults.py`, docs/measurements.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace
from own_hive import COMMAND, OwnHive, heading, own_hive

from fluxhive import testing
from fluxhive.core.request import Request
from fluxhive.core.task import TaskSpec
from fluxhive.protocol.rest import TaskBatch, TaskPage

GPUS = "8x80G"
#: Goals: agent, launcher, each shim.
AGENT_MIB, LAUNCHER_MIB, SHIM_MIB = 60.0, 15.0, 3.0
CPU_PERCENT = 0.5
#: Holds 1 GiB of a GPU without a Python of its own for each: what is measured is the agent.
HOLDER = """
import json, os, pathlib, sys, time
root, uuid = os.environ["FLUXHIVE_FAKE_GPUS"], os.environ["FLUXHIVE_GPU_UUIDS"]
place = pathlib.Path(root, "use", uuid)
place.mkdir(parents=True, exist_ok=True)
began = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
(place / str(os.getpid())).write_text(f"1524 {began}")
os.execvp("sleep", ["sleep", os.environ.get("HOLD_S", "3600")])
"""


class Cost(NamedTuple):
    """Of one situation."""

    agent_percent: float
    server_percent: float
    agent_mib: float
    launcher_mib: float
    shim_mib: float | None


def cost(hive: OwnHive, seconds: float) -> Cost:
    """Looks on for a while."""
    before, began = hive.cpu_s(), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    after, memory = hive.cpu_s(), hive.memory_mib()
    shims = [
        shim.memory_full_info().uss / 2**20
        for launcher in hive.agent.children()
        for shim in launcher.children()
    ]
    return Cost(
        agent_percent=100 * (after["agent"] - before["agent"]) / took,
        server_percent=100 * (after["server"] - before["server"]) / took,
        agent_mib=memory["agent"],
        launcher_mib=memory["launcher"],
        shim_mib=sum(shims) / len(shims) if shims else None,
    )


def fill(hive: OwnHive, n_tasks: int) -> None:
    """Starts tasks that hold a part of a GPU each, and waits until all are seen."""
    spec = TaskSpec(
        command=(sys.executable, "-I", "-S", "-c", HOLDER),
        # More tasks than this machine has cores: they sleep.
        request=Request(cpus=0, gpus=1, gpu_memory_mib=4096),
    )
    # They keep a GPU hardly busy, and one that ends first shows it: of busy ones few share a GPU.
    directory = next(hive.home.rglob("gpu-0.json")).parent
    for index, _ in testing.read_gpus(directory):
        testing.set_gpu(directory, index, utilization_percent=4)
    first = replace(spec, env={"HOLD_S": "10"})
    submit = partial(hive.transport.call, "POST", "/api/v1/tasks/batch", TaskPage)
    task = submit(body=TaskBatch(tasks=[first])).items[0].id
    subprocess.run([*COMMAND, "wait", task], env=hive.env, check=True, capture_output=True)
    submit(body=TaskBatch(tasks=[spec] * n_tasks))
    until = time.monotonic() + 120
    while time.monotonic() < until:
        asked = subprocess.run(
            [*COMMAND, "gpus", "--json"], env=hive.env, check=True, capture_output=True
        )
        gpus = json.loads(asked.stdout)["gpus"]
        seen = sum(len(gpu["gpu"]["report"].get("attempts", [])) for gpu in gpus)
        if seen >= n_tasks:
            return
        time.sleep(0.5)
    raise SystemExit(f"only {seen} of {n_tasks} tasks are seen on the GPUs")


def show(name: str, found: Cost) -> None:
    """One line."""
    shim = "-" if found.shim_mib is None else f"{found.shim_mib:.1f}"
    print(
        f"{name:32} {found.agent_percent:6.2f} % {found.server_percent:6.2f} % "
        f"{found.agent_mib:7.1f} {found.launcher_mib:9.1f} {shim:>6}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--tasks", type=int, default=50)
    chosen = parser.parse_args()
    heading("agent at rest")
    print(f"{'':32} {'agent':>8} {'server':>8} {'agent':>7} {'launcher':>9} {'shim':>6}")
    print(f"{'':32} {'CPU':>8} {'CPU':>8} {'MiB':>7} {'MiB':>9} {'MiB':>6}")
    with own_hive() as hive:
        time.sleep(5)
        show("no GPUs, no tasks", cost(hive, chosen.seconds))
    with own_hive(FLOWHIVE_FAKE_GPUS=GPUS) as hive:
        time.sleep(5)
        show("8 GPUs, no tasks", cost(hive, chosen.seconds))
        fill(hive, chosen.tasks)
        time.sleep(5)
        busy = cost(hive, chosen.seconds)
        show(f"8 GPUs, {chosen.tasks} tasks", busy)
    goals = (
        ("agent's CPU with 8 GPUs", busy.agent_percent, CPU_PERCENT, "%"),
        ("agent's memory", busy.agent_mib, AGENT_MIB, "MiB"),
        ("launcher's memory", busy.launcher_mib, LAUNCHER_MIB, "MiB"),
        ("a shim's private memory", busy.shim_mib or 0.0, SHIM_MIB, "MiB"),
    )
    for name, value, goal, unit in goals:
        print(f"{name}: {value:.2f} {unit}, goal {goal:g}: {'met' if value <= goal else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

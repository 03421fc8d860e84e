"""What FlowHive says and does when things go wrong on a machine with a real NVIDIA GPU.

Programs of several frameworks run out of GPU memory, by themselves and because of a neighbour; the
outcome has to name it. Memory of several tasks on one GPU is compared with what each holds, under
time-slicing and under MPS. A cancelled torchrun gives its memory back, an agent that is killed
loses nothing, a process of somebody else is respected. Prints a transcript; each claim ends in
``ok`` or ``FAILED``. What the programs printed is kept in the directory that is named.

    python scripts/gpu_faults.py [DIRECTORY]
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_check import COMMAND, CONTEXT_MIB_MAX, Check, own_memory_mib, smi

import fluxhive
from fluxhive.agent.nvml import NvmlSource

PROGRAMS = Path(__file__).with_name("gpu_programs").absolute()
END_LIMIT_S = 180


class Faults(Check):
    """The same FlowHive of its own, and what was printed."""

    def __init__(self, home: str, kept: Path) -> None:
        super().__init__(home)
        self.home = home
        self.kept = kept
        for name in ("PATH", "XLA_PYTHON_CLIENT_PREALLOCATE"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def program(self, name: str, *arguments: object) -> list[str]:
        """The command line of one of our programs."""
        return [sys.executable, str(PROGRAMS / name), *map(str, arguments)]

    def ended(self, task: str, limit_s: float = END_LIMIT_S) -> dict[str, Any]:
        """The task, once it is over."""
        subprocess.run([*COMMAND, "wait", task], env=self.env, capture_output=True, timeout=limit_s)
        found: dict[str, Any] = self.ask("show", task)
        return found

    def keep(self, name: str, task: str) -> str:
        """What the task printed, kept in a file."""
        logs = subprocess.run([*COMMAND, "logs", task], env=self.env, capture_output=True)
        text = (logs.stdout + logs.stderr).decode(errors="replace")
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        (self.kept / f"{slug}.txt").write_text(text)
        return text

    def outcome(self, name: str, task: str) -> dict[str, Any]:
        """How it ended; the sentence is shown."""
        found = self.ended(task)
        self.keep(name, task)
        print(f"  {name}: {found['reason']}")
        last: dict[str, Any] = found["attempts"][-1]
        return last


def in_kind(attempt: dict[str, Any], kind: str, blame: str | None = None) -> bool:
    """Whether it ended so, and whose doing it was."""
    outcome = attempt["outcome"]
    return outcome["kind"] == kind and (outcome.get("oom") or {}).get("blame") == blame


# ── outcomes ──────────────────────────────────────────────────────────────────────────────────


def frameworks_that_run_out_are_recognised(check: Faults, total_mib: int) -> None:
    more = total_mib + 8192
    cases: list[tuple[str, list[str]]] = [
        ("PyTorch", check.program("oom_torch.py", more)),
        ("PyTorch, compiled", check.program("oom_torch.py", more, "compile")),
        ("PyTorch, cuBLAS on a full GPU", check.program("oom_torch.py", more, "cublas")),
        ("the driver through ctypes", check.program("oom_ctypes.py", more)),
    ]
    for module, name, file in (
        ("jax", "JAX", "oom_jax.py"),
        ("cupy", "CuPy", "oom_cupy.py"),
        ("numba", "Numba", "oom_numba.py"),
    ):
        if importlib.util.find_spec(module) is not None:
            cases.append((name, check.program(file, more)))
        else:
            print(f"  not installed here: {name}")
    if compiler := shutil.which("nvcc") or _existing("/usr/local/cuda/bin/nvcc"):
        binary = f"{check.home}/oom"
        subprocess.run([compiler, "-o", binary, str(PROGRAMS / "oom.cu")], check=True)
        cases.append(("CUDA C++", [binary, str(more)]))
    else:
        print("  no nvcc here")
    options = ("--gpus", "1", "--at-most-once", "--env", "XLA_PYTHON_CLIENT_PREALLOCATE=false")
    for name, command in cases:
        task = check.submit(*options, "-n", "oom", "--", *command)
        attempt = check.outcome(name, task)
        seen = attempt["outcome"]
        check.expect(
            f"{name} out of memory is recognised", in_kind(attempt, "gpu-oom", "own"), seen
        )


def what_only_looks_so_is_not(check: Faults, total_mib: int) -> None:
    more = total_mib + 8192
    caught = check.submit("--gpus", "1", "--", *check.program("oom_torch.py", more, "caught"))
    attempt = check.outcome("PyTorch, caught, then another failure", caught)
    check.expect("a caught OOM and another failure is a failure", in_kind(attempt, "failure"))
    fine = check.submit("--gpus", "1", "--", *check.program("oom_torch.py", more, "mention"))
    attempt = check.outcome("a log that mentions it", fine)
    check.expect("a log that mentions it and exits 0 is a success", in_kind(attempt, "success"))
    if os.path.exists(f"{check.home}/oom"):
        bad = check.submit("--gpus", "1", "--", f"{check.home}/oom", "1", "bad")
        attempt = check.outcome("CUDA C++ with an illegal address", bad)
        check.expect("an illegal address is the program's own failure", in_kind(attempt, "failure"))
        time.sleep(3)
        state = check.gpu()["report"].get("state", "healthy")
        check.expect("and says nothing against the GPU (Xid 31)", state == "healthy", state)


def ranks_that_run_out_are_recognised(check: Faults, total_mib: int) -> None:
    task = check.submit(
        "--gpus", "1", "--at-most-once", "--", sys.executable, "-m", "torch.distributed.run",
        "--standalone", "--nproc-per-node", "2", str(PROGRAMS / "ranks.py"), str(total_mib),
    )  # fmt: skip
    attempt = check.outcome("torchrun, rank 1", task)
    check.expect("one rank out of memory is recognised", in_kind(attempt, "gpu-oom", "own"))


def a_neighbour_is_told_from_its_victim(check: Faults, total_mib: int) -> None:
    grow, ask = f"{check.home}/grow", f"{check.home}/ask"
    reserved = "8G"
    culprit = check.submit(
        "--gpus", "1", "--gpu-mem", reserved, "--at-most-once", "-n", "culprit", "--",
        *check.program("hold.py", 1024, total_mib - 8192, grow),
    )  # fmt: skip
    victim = check.submit(
        "--gpus", "1", "--gpu-mem", reserved, "--at-most-once", "-n", "victim", "--",
        *check.program("hold.py", 1024, 6000, ask),
    )  # fmt: skip
    for task in (culprit, victim):
        check.expect(f"{task} runs", check.wait_for_output(task, "holds"))
    Path(grow).touch()
    check.wait_for_output(culprit, "grown")
    time.sleep(3)
    Path(ask).touch()
    attempt = check.outcome("PyTorch, a neighbour took its memory", victim)
    oom = attempt["outcome"].get("oom") or {}
    check.expect("the victim is told from the culprit", oom.get("blame") == "neighbour", oom)
    check.expect("the culprit is named", oom.get("culprit", "").startswith(f"{culprit}."), oom)
    check.show("show", victim)
    check.show("cancel", culprit)
    check.ended(culprit)


def a_foreign_process_is_respected(check: Faults, total_mib: int) -> None:
    held = total_mib - 12_288
    stranger = subprocess.Popen(check.program("hold.py", held), stdout=subprocess.PIPE, text=True)
    assert stranger.stdout is not None
    print("a process outside FlowHive", stranger.stdout.readline().strip(), "MiB")
    time.sleep(4)
    gpu = check.gpu()["report"]
    foreign = gpu.get("foreign_mib", 0)
    fits = held < foreign < held + CONTEXT_MIB_MAX
    check.expect("its memory counts as foreign use", fits, (held, foreign))
    whole = check.submit("--gpus", "1", "-n", "whole", "--", *check.program("numbered.py", 1, 0, 1))
    large = check.submit(
        "--gpus", "1", "--gpu-mem", "16G", "-n", "large", "--",
        *check.program("numbered.py", 1, 0, 1),
    )  # fmt: skip
    time.sleep(3)
    for task in (whole, large):
        found = check.ask("show", task)
        waits = [reason["text"] for reason in found.get("waiting", [])]
        check.expect(f"{task} waits for it", found["state"] == "queued", waits)
    stranger.kill()
    stranger.wait()
    for task in (whole, large):
        found = check.ended(task)
        code = found["attempts"][-1]["outcome"].get("exit_code")
        check.expect(f"{task} ran when it was gone", code == 7, found["reason"])


# ── memory ────────────────────────────────────────────────────────────────────────────────────


def memory_of_each_is_right(check: Faults, how: str, *options: str) -> None:
    sizes = (2048, 5120, 9216)
    tasks = [
        check.submit(
            "--gpus", "1", "--gpu-mem", "12G", *options, "-n", f"hold-{mib}", "--",
            *check.program("hold.py", mib),
        )
        for mib in sizes
    ]  # fmt: skip
    for task in tasks:
        check.expect(f"{task} holds its memory", check.wait_for_output(task, "holds"))
    time.sleep(4)
    gpu = check.gpu()
    for task, mib in zip(tasks, sizes, strict=True):
        own = own_memory_mib(gpu, task)
        fits = own is not None and mib < own < mib + CONTEXT_MIB_MAX
        check.expect(f"{how}: own memory of a task that holds {mib} MiB", fits, own)
    foreign = gpu["report"].get("foreign_mib", 0)
    check.expect(f"{how}: nothing counts as foreign", foreign < 600, foreign)
    check.show("gpus")
    for task in tasks:
        check.show("cancel", task)
    for task in tasks:
        check.ended(task)


def memory_under_mps(check: Faults) -> None:
    control = shutil.which("nvidia-cuda-mps-control")
    if control is None:
        print("  no nvidia-cuda-mps-control here: MPS is not tried")
        return
    pipes, logs = f"{check.home}/mps", f"{check.home}/mps-log"
    for path in (pipes, logs):
        os.mkdir(path)
    places = {"CUDA_MPS_PIPE_DIRECTORY": pipes, "CUDA_MPS_LOG_DIRECTORY": logs}
    subprocess.run([control, "-d"], env=os.environ | places, check=True)
    try:
        memory_of_each_is_right(check, "MPS", "--env", f"CUDA_MPS_PIPE_DIRECTORY={pipes}")
        clients = Path(logs, "control.log").read_text().count("NEW CLIENT")
        check.expect("the tasks were clients of MPS", clients >= 3, clients)
    finally:
        subprocess.run([control], input="quit\n", env=os.environ | places, text=True)


def cancel_of_torchrun_gives_memory_back(check: Faults) -> None:
    before = smi("memory.used")[0]
    task = check.submit(
        "--gpus", "1", "--gpu-mem", "16G", "--", sys.executable, "-m", "torch.distributed.run",
        "--standalone", "--nproc-per-node", "2", str(PROGRAMS / "ranks.py"),
    )  # fmt: skip
    check.expect("two ranks with data loader workers train", check.wait_for_output(task, "step 40"))
    during = smi("memory.used")[0]
    n_processes = len(_processes("ranks.py"))
    check.show("cancel", task)
    started = time.monotonic()
    check.ended(task)
    took = time.monotonic() - started
    after = smi("memory.used")[0]
    check.expect("its memory is back", after <= before + 64, f"{before} → {during} → {after} MiB")
    left = _processes("ranks.py")
    check.expect(f"none of its {n_processes} processes is left after {took:.1f} s", not left, left)


# ── the agent ─────────────────────────────────────────────────────────────────────────────────


def a_killed_agent_loses_nothing(check: Faults) -> None:
    n_steps, peak_mib = 120, 6144
    task = check.submit(
        "--gpus",
        "1",
        "--gpu-mem",
        "16G",
        "--",
        *check.program("numbered.py", n_steps, 0.1, peak_mib),
    )
    check.expect("a training runs", check.wait_for_output(task, "step 40 "))
    pid = json.loads(Path(check.home, "state", "server", "up.json").read_text())["agent_pid"]
    time.sleep(6)
    print(f"$ kill -9 {pid}   (the agent)")
    os.kill(pid, signal.SIGKILL)
    time.sleep(3)
    check.show("up", "--detach")
    found = check.ended(task)
    attempt = found["attempts"][-1]
    code = attempt["outcome"].get("exit_code")
    check.expect("its exit code is exact", code == 7, found["reason"])
    check.expect("it was started once", len(found["attempts"]) == 1)
    steps = [int(each) for each in re.findall(r"^step (\d+) ", check.keep("numbered", task), re.M)]
    check.expect("every line is there once", steps == list(range(n_steps)), len(steps))
    peaks = [peak["peak_mib"] for peak in attempt["facts"].get("gpu_peaks", [])]
    fits = len(peaks) == 1 and peak_mib < peaks[0] < peak_mib + CONTEXT_MIB_MAX
    check.expect("its peak of before the kill is known", fits, peaks)
    check.show("show", task)


def a_reading_costs_little(check: Check) -> None:
    source = NvmlSource()
    source.start()
    source.read()
    took_us = []
    for _ in range(300):
        began = time.perf_counter_ns()
        source.read()
        took_us.append((time.perf_counter_ns() - began) / 1000)
        time.sleep(0.005)
    source.close()
    median = statistics.median(took_us)
    worst = max(took_us)
    check.expect("a reading of one GPU takes less than 1 ms", median < 1000,
                 f"median {median:.0f} µs, worst {worst:.0f} µs")  # fmt: skip


def _processes(word: str) -> list[int]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = Path(entry.path, "cmdline").read_bytes()
            except OSError:
                continue
            if word.encode() in text and b"fluxhive.cli" not in text:
                found.append(int(entry.name))
    return found


def _existing(path: str) -> str | None:
    return path if os.path.exists(path) else None


def main() -> int:
    kept = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="fluxhive-gpu-"))
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fluxhive-gpu-") as home:
        check = Faults(home, kept)
        name = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
        ).stdout.strip()
        print(f"fluxhive {fluxhive.__version__}, Python {platform.python_version()}, {name}")
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        print(f"{platform.system()} {platform.release()}, {when}; outputs in {kept}")
        total_mib = smi("memory.total")[0]
        a_reading_costs_little(check)
        if check.show("up", "--detach"):
            return 1
        try:
            frameworks_that_run_out_are_recognised(check, total_mib)
            what_only_looks_so_is_not(check, total_mib)
            ranks_that_run_out_are_recognised(check, total_mib)
            a_neighbour_is_told_from_its_victim(check, total_mib)
            memory_of_each_is_right(check, "time-slicing")
            memory_under_mps(check)
            cancel_of_torchrun_gives_memory_back(check)
            a_killed_agent_loses_nothing(check)
            a_foreign_process_is_respected(check, total_mib)
            check.show("ps", "--all-time")
        finally:
            check.show("down", "--stop-tasks")
            for log in Path(home, "state").rglob("agent.log"):
                shutil.copy(log, kept / "agent-log.txt")
    print(f"{len(check.failed)} failed" + "".join(f"\n  {claim}" for claim in check.failed))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())

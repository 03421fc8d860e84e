"""What FlowHive does on a machine with a real NVIDIA GPU and PyTorch, told by its own commands.

Starts a FlowHive of its own in an empty directory, runs the PyTorch example on the GPU, looks at
``fluxhive gpus`` while tasks run, cancels one and sees its memory come back. Prints a transcript;
each check ends in ``ok`` or ``FAILED``, and the exit code says whether all were ok.

    python scripts/gpu_check.py
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fluxhive

COMMAND = [sys.executable, "-m", "fluxhive.cli.fluxhive"]
TORCH = [sys.executable, "-m", "fluxhive.examples.digits_torch"]
#: A CUDA context and the framework's own buffers, beside what a task allocates (docs: GPU memory).
CONTEXT_MIB_MAX = 1500


class Check:
    """A FlowHive of its own, and what was found."""

    def __init__(self, home: str) -> None:
        self.failed: list[str] = []
        keep = ("PATH", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")
        self.env = {name: os.environ[name] for name in keep if name in os.environ}
        self.env.update(
            HOME=home, FLOWHIVE_STATE_DIR=f"{home}/state", FLOWHIVE_CONFIG=f"{home}/config.toml"
        )

    def show(self, *arguments: str) -> int:
        """Runs a command as a person would and shows what it prints."""
        print("$ fluxhive " + " ".join(a if " " not in a else repr(a) for a in arguments))
        sys.stdout.flush()
        done = subprocess.run([*COMMAND, *arguments], env=self.env, stderr=subprocess.STDOUT)
        return done.returncode

    def ask(self, *arguments: str) -> Any:
        """The JSON that a command answers."""
        done = subprocess.run(
            [*COMMAND, *arguments, "--json"], env=self.env, check=True, capture_output=True
        )
        return json.loads(done.stdout)

    def submit(self, *arguments: str) -> str:
        """Submits and gives the task's id."""
        done = subprocess.run(
            [*COMMAND, "submit", "-q", *arguments],
            env=self.env,
            check=True,
            capture_output=True,
            text=True,
        )
        print("$ fluxhive submit " + " ".join(arguments) + f"\n{done.stdout.strip()}")
        return done.stdout.strip()

    def expect(self, claim: str, holds: bool, seen: object = "") -> None:
        """Notes whether a claim holds."""
        print(f"[{'ok' if holds else 'FAILED'}] {claim}" + (f": {seen}" if seen != "" else ""))
        if not holds:
            self.failed.append(claim)

    def gpu(self) -> dict[str, Any]:
        """The first GPU as the server shows it."""
        report: dict[str, Any] = self.ask("gpus")["gpus"][0]["gpu"]
        return report

    def wait_for_output(self, task: str, text: str, limit_s: float = 120) -> bool:
        """Whether the task prints this within the limit."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            done = subprocess.run(
                [*COMMAND, "logs", task], env=self.env, capture_output=True, text=True
            )
            if text in done.stdout:
                return True
            time.sleep(0.5)
        return False


def smi(query: str) -> list[int]:
    """What nvidia-smi says: the other witness."""
    done = subprocess.run(
        ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [int(float(part)) for part in done.stdout.splitlines()[0].split(",")]


def own_memory_mib(gpu: dict[str, Any], task: str) -> int | None:
    """What the reading says of this task's own memory."""
    for use in gpu["report"].get("attempts", []):
        if use["attempt_id"].startswith(f"{task}."):
            return int(use["used_mib"])
    return None


def a_training_uses_the_gpu(check: Check) -> None:
    code = check.show(
        "submit", "--gpus", "1", "--gpu-mem", "8G", "-n", "digits-torch", "-f", "--", *TORCH
    )
    check.expect("the PyTorch example learns on the GPU and exits 0", code == 0, f"exit {code}")


def readings_are_right_while_tasks_run(check: Check) -> tuple[str, str]:
    first = check.submit(
        "--gpus", "1", "--gpu-mem", "16G", "-n", "first", "--",
        *TORCH, "--hold-gpu-mib", "12288", "--seconds", "600",
    )  # fmt: skip
    second = check.submit(
        "--gpus", "1", "--gpu-mem", "8G", "-n", "second", "--",
        *TORCH, "--hold-gpu-mib", "4096", "--seconds", "600",
    )  # fmt: skip
    for task in (first, second):
        check.expect(f"{task} trains", check.wait_for_output(task, "loss"))
    time.sleep(5)
    check.show("gpus")
    check.show("ps")
    gpu = check.gpu()
    report = gpu["report"]
    used, temperature, power = smi("memory.used,temperature.gpu,power.draw")
    check.expect("utilization is above zero", (report.get("utilization_percent") or 0) > 0,
                 report.get("utilization_percent"))  # fmt: skip
    for name, mine, theirs, slack in (
        ("memory in use", report["used_mib"], used, 600),
        ("temperature", report["temperature_c"], temperature, 5),
        ("power", report["power_w"], power, 120),
    ):
        check.expect(f"{name} as nvidia-smi says", abs(mine - theirs) <= slack, (mine, theirs))
    for task, held in ((first, 12288), (second, 4096)):
        own = own_memory_mib(gpu, task)
        fits = own is not None and held < own < held + CONTEXT_MIB_MAX
        check.expect(f"own memory of {task}: {held} MiB held and a context", fits, own)
    check.expect("both share one GPU", len(gpu["attempts"]) == 2, gpu["attempts"])
    return first, second


def a_whole_gpu_waits(check: Check) -> str:
    third = check.submit("--gpus", "1", "-n", "whole", "--", *TORCH, "--epochs", "5")
    time.sleep(1)
    check.show("show", third)
    state = check.ask("show", third)["state"]
    check.expect("a task for the whole GPU waits with the reason", state == "queued", state)
    return third


def cancel_frees_memory(check: Check, first: str, second: str, third: str) -> None:
    before = smi("memory.used")[0]
    started = time.monotonic()
    check.show("cancel", first)
    check.show("wait", first)
    while (now := smi("memory.used")[0]) > before - 12288 and time.monotonic() < started + 60:
        time.sleep(0.05)
    took = time.monotonic() - started
    freed = before - now >= 12288
    check.expect("cancel frees the task's memory", freed, f"{before} → {now} MiB in {took:.1f} s")
    check.show("cancel", second)
    check.show("wait", second, third)
    state = check.ask("show", third)["state"]
    check.expect("then the whole-GPU task ran", state == "succeeded", state)
    check.expect("nothing is left on the GPU", smi("memory.used")[0] < 1024, smi("memory.used")[0])


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="fluxhive-gpu-") as home:
        check = Check(home)
        name = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
        ).stdout.strip()
        print(f"fluxhive {fluxhive.__version__}, Python {platform.python_version()}, {name}")
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        print(f"{platform.system()} {platform.release()}, {when}")
        if check.show("up", "--detach"):
            for log in Path(home).rglob("*.log"):
                print(log.name, log.read_text()[-3000:])
            return 1
        try:
            check.show("gpus")
            a_training_uses_the_gpu(check)
            first, second = readings_are_right_while_tasks_run(check)
            third = a_whole_gpu_waits(check)
            cancel_frees_memory(check, first, second, third)
            check.show("ps", "--all-time")
        finally:
            check.show("down", "--stop-tasks")
    print(f"{len(check.failed)} failed" + "".join(f"\n  {claim}" for claim in check.failed))
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Packing on a real GPU: eight small trainings one at a time, then together, through FlowHive.

Nobody declares any memory. Eight PyTorch trainings of four kinds run one at a time, so that their
memory is learned; then all eight are submitted at once, and the makespans are compared. Then a task
grows beyond what is known of it and pushes another out, which is tried again uncounted; one that is
too large for the GPU fails at once and says why; and a process of somebody else that holds most of
the memory is respected. Prints a transcript; each claim ends in ``ok`` or ``FAILED``.

    python scripts/gpu_packing.py [--fake] [--steps 2000] [--without-trainings]

Sizes are written for a GPU of 80 GiB and grow with a larger one.
``--fake`` pretends GPU and trainings: it shows that the script works, and measures nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gpu_check import COMMAND, Check

from fluxhive.testing import read_gpus, set_gpu

PROGRAMS = Path(__file__).with_name("gpu_programs").absolute()
KINDS = ("cnn", "transformer", "mlp", "rnn")
#: Measured by hand on an H100: with time-slicing eight small trainings take a quarter of the time.
LEAST_GAIN = 3.5
FOREIGN_GIB = 60
END_LIMIT_S = 900


class Packing(Check):
    """A FlowHive of its own, on a real GPU or a pretended one."""

    def __init__(self, home: str, *, is_fake: bool, steps: int) -> None:
        super().__init__(home)
        self.is_fake = is_fake
        self.steps = steps
        #: How much larger the GPU is than that of 80 GiB for which the sizes are written.
        self.scale = 1.0
        self.fake_gpus = Path(home, "gpus")
        if is_fake:
            from fluxhive.testing import make_gpus

            make_gpus(self.fake_gpus, "1x80G")
            self.env["FLOWHIVE_FAKE_GPUS"] = str(self.fake_gpus)
            self.env["PYTHONPATH"] = str(PROGRAMS.parent.parent)

    def training(self, number: int) -> str:
        """Submits one of the eight trainings; nothing is declared. Its id."""
        kind = KINDS[number % len(KINDS)]
        if self.is_fake:
            return self.one(kind, "pretend.py", "1", "4", "4", kind)
        return self.one(kind, "train.py", kind, str(self.steps), str(number))

    def growing(self, name: str, first: float, then: float, seconds: float) -> str:
        """Submits a task that takes so many GiB, and later so many. Its id."""
        program = "pretend.py" if self.is_fake else "grow.py"
        sizes = [f"{gib * self.scale:.1f}" for gib in (first, then)]
        return self.one(name, program, *sizes, str(seconds), name)

    def one(self, name: str, program: str, *words: str) -> str:
        """Submits a program of ours on one GPU."""
        command = [sys.executable, str(PROGRAMS / program), *words]
        options = ("--gpus", "1", "-n", name)
        return self.submit(*options, "--", *command)

    def ended(self, *tasks: str) -> list[dict[str, Any]]:
        """The tasks, once all are over."""
        wait = [*COMMAND, "wait", *tasks]
        subprocess.run(wait, env=self.env, capture_output=True, timeout=END_LIMIT_S)
        return [self.ask("show", task) for task in tasks]


def learned_memory_packs(check: Packing) -> None:
    began = time.monotonic()
    for number in range(2 * len(KINDS)):
        (task,) = check.ended(check.training(number))
        check.expect(f"training {number} succeeds alone", task["state"] == "succeeded")
    one_by_one_s = time.monotonic() - began
    began = time.monotonic()
    ids = [check.training(number) for number in range(2 * len(KINDS))]
    tasks = check.ended(*ids)
    together_s = time.monotonic() - began
    for task in tasks:
        estimate = task["attempts"][-1].get("estimate") or {}
        check.expect(
            f"{task['name']} is placed by what was learned and succeeds",
            task["state"] == "succeeded" and estimate.get("source") == "learned",
            task["attempts"][-1].get("estimate_text"),
        )
    gain = one_by_one_s / together_s
    seen = f"{one_by_one_s:.1f} s one by one, {together_s:.1f} s together: {gain:.2f}x"
    check.expect(
        f"eight together take at most 1/{LEAST_GAIN} of the time", gain >= LEAST_GAIN, seen
    )


def a_victim_is_repaired(check: Packing) -> None:
    """Both are known to take 20 GiB and share the GPU; then one takes 60, and one has to go."""
    hold_s = 6 if check.is_fake else 30
    for name in ("quiet", "greedy"):
        check.ended(check.growing(name, 20, 20, 1))
    greedy = check.growing("greedy", 20, 75, hold_s)
    quiet = check.growing("quiet", 15, 20, hold_s)
    tasks = check.ended(greedy, quiet)
    for task in tasks:
        kinds = [attempt["outcome"]["kind"] for attempt in task["attempts"]]
        check.expect(f"{task['name']} ends well in the end", task["state"] == "succeeded", kinds)
    ooms = [a for task in tasks for a in task["attempts"] if a["outcome"]["kind"] == "gpu-oom"]
    check.expect("somebody ran out of memory on the way", bool(ooms), len(ooms))


def what_no_gpu_holds_fails_at_once(check: Packing) -> None:
    began = time.monotonic()
    (task,) = check.ended(check.growing("too-large", 20, 200, 1))
    reason = task["reason"]
    check.expect("a task too large for the GPU fails", task["state"] == "failed", reason)
    check.expect("it says how large the largest GPU is", "largest GPU here has" in reason)
    check.expect("without trying again and again", len(task["attempts"]) <= 3)
    print(f"  after {time.monotonic() - began:.1f} s")


def foreign_memory_is_respected(check: Packing) -> None:
    if check.is_fake:
        set_gpu(check.fake_gpus, 0, foreign_mib=FOREIGN_GIB * 1024)
        other = None
    else:
        size = f"{FOREIGN_GIB * check.scale:.1f}"
        hold = [sys.executable, str(PROGRAMS / "grow.py"), size, size, "60"]
        other = subprocess.Popen(hold, env=os.environ.copy(), stdout=subprocess.PIPE)
        assert other.stdout is not None
        other.stdout.readline()
    time.sleep(5)
    half = f"{40 * check.scale:.0f}G"
    waiting = check.submit(
        "--gpus", "1", "--gpu-mem", half, "--strict", "-n", "waits", "--", "true"
    )
    time.sleep(5)
    word = check.ask("show", waiting)["word"]
    check.expect(
        f"{half} are not placed beside a stranger's three quarters", word == "queued", word
    )
    small = check.submit("--gpus", "1", "--gpu-mem", "8G", "--strict", "-n", "fits", "--", "true")
    (task,) = check.ended(small)
    check.expect("8 GiB are", task["state"] == "succeeded")
    if other is None:
        set_gpu(check.fake_gpus, 0, foreign_mib=0)
    else:
        other.terminate()
        other.wait()
    (task,) = check.ended(waiting)
    check.expect("the other starts once the memory is back", task["state"] == "succeeded")


def main() -> int:
    """Everything in turn; 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fake", action="store_true")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--without-trainings", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fluxhive-packing-") as home:
        check = Packing(home, is_fake=given.fake, steps=given.steps)
        up = subprocess.Popen([*COMMAND, "up"], env=check.env, cwd=home)
        try:
            time.sleep(5)
            print("GPUs:", read_gpus(check.fake_gpus) if given.fake else check.gpu()["report"])
            if not given.fake:
                check.scale = check.gpu()["report"]["total_mib"] / (80 * 1024)
            if not given.without_trainings:
                learned_memory_packs(check)
            a_victim_is_repaired(check)
            what_no_gpu_holds_fails_at_once(check)
            foreign_memory_is_respected(check)
        finally:
            up.terminate()
            up.wait(60)
    print("all claims hold" if not check.failed else f"FAILED: {', '.join(check.failed)}")
    return bool(check.failed)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Takes the pictures of docs/screenshots from a real hive with real tasks.

    ./dev web && python scripts/screenshots.py

A server, an agent with eight pretended GPUs, tasks that print, fail and wait, a stranger's process,
and a GPU that is not well; then Debian's Chromium looks at each page, light and dark, at a phone's
width, and at sixty-four GPUs once more agents have joined. Needs the development packages, chromium
and a built dashboard.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser  # noqa: E402  # after the path to our own tests

from fluxhive import testing  # noqa: E402
from fluxhive.protocol.rest import NodePage  # noqa: E402
from tests.helpers.browser import Visit, browser  # noqa: E402
from tests.helpers.cli_hive import CliHive, until  # noqa: E402
from tests.helpers.two_agents import SecondAgent  # noqa: E402

OUT = ROOT / "docs/screenshots"
#: A page is looked at when nothing of it moves any more.
SETTLE_S = 2.0
#: So long the hive works before it is looked at, so that curves and logs show something.
WORK_S = 25.0
PHONE = {"width": 390, "height": 844}
#: With the first they have sixty-four GPUs.
MORE_NODES = ("gpu-a2", "gpu-a3", "gpu-a4", "gpu-b1", "gpu-b2", "gpu-b3", "gpu-b4")

#: Somebody's own process on a GPU.
NOTEBOOK = """
import sys, time
from fluxhive.testing import allocate
allocate(sys.argv[1], 9_300)
time.sleep(3600)
"""

#: Holds memory of its GPUs and tells how it learns, as a training does.
TRAIN = """
import math, os, random, sys, time
import fluxhive
from fluxhive.testing import allocate

n_gpus = len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))
for gpu in range(n_gpus):
    allocate(gpu, int(sys.argv[1]) * 1024)
print("run https://wandb.ai/lab/vision/runs/3f9k2c", flush=True)
for step in range(10_000):
    loss = 2.3 * math.exp(-step / 60) + 0.1 + random.random() / 20
    fluxhive.log(step=step, loss=loss, accuracy=1 - loss / 2.6)
    print(f"\\033[36mstep {step}\\033[0m  loss {loss:.4f}  lr 1e-4", flush=True)
    if step % 9 == 8:
        print("warning: gradient norm is high", file=sys.stderr, flush=True)
    time.sleep(0.2)
"""


def submit(hive: CliHive, name: str, line: str, *flags: str) -> str:
    """The id of a new task."""
    return hive.ok("submit", "-q", "--name", name, *flags, "--", *line.split()).strip()


def work(hive: CliHive) -> dict[str, str]:
    """What a lab does on an afternoon; ids of the tasks that are looked at."""
    (hive.home / "train.py").write_text(TRAIN)
    (hive.home / "evaluate.py").write_text("raise FileNotFoundError('val.csv: no such file')")
    failed = submit(hive, "eval-imagenet", "python evaluate.py --split val")
    submit(hive, "smoke", "python --version")
    hive.run("wait", failed)
    whole = ("--gpus", "1", "--project", "vision")
    running = submit(hive, "vit-large", "python train.py 38", *whole, "--gpu-mem", "44G")
    submit(hive, "vit-probe", "python train.py 12", *whole, "--gpu-mem", "20G")
    submit(hive, "llama-finetune", "python train.py 61", "--gpus", "4", "--project", "language")
    submit(hive, "sweep-lr", "sleep 3", "--array", "lr=1e-2,1e-3,1e-4", "--gpus", "1")
    waiting = submit(
        hive, "diffusion-xl", "python train.py 70", "--gpus", "8", "--priority", "high"
    )
    return {"task": running, "failed": failed, "waiting": waiting}


def shoot(opened: Browser, hive: CliHive, ids: dict[str, str], scheme: str) -> None:
    """Every page in one colour scheme."""
    visit = Visit(opened, hive, color_scheme=scheme)
    visit.sign_in()
    pages = {
        "overview": "/",
        "tasks": "/tasks",
        "task": f"/t/{ids['task']}",
        "failed": f"/t/{ids['failed']}",
        "waiting": f"/t/{ids['waiting']}",
        "log": f"/t/{ids['task']}/log",
        "submit": "/submit",
        "nodes": "/nodes",
        "node": "/nodes/gpu-a1",
        "gpu": "/nodes/gpu-a1?gpu=7",
        "tokens": "/tokens",
    }
    for name, path in pages.items():
        visit.page.goto(path)
        take(visit, f"{name}-{scheme}")
    visit.page.set_viewport_size(PHONE)
    for name, path in (("phone", "/"), ("phone-gpu", "/nodes/gpu-a1?gpu=6")):
        visit.page.goto(path)
        take(visit, f"{name}-{scheme}")
    visit.close()


def shoot_many(opened: Browser, hive: CliHive, scheme: str) -> None:
    """The overview with sixty-four GPUs."""
    visit = Visit(opened, hive, color_scheme=scheme)
    visit.sign_in()
    visit.page.goto("/")
    take(visit, f"gpus-64-{scheme}")
    visit.close()


@contextmanager
def trouble(hive: CliHive) -> Iterator[None]:
    """A GPU that has failed, one that is slowed, and a stranger on a third."""
    directory = next((hive.state / "agent").glob("*/fake-gpus"))
    program = hive.home / "notebook.py"
    program.write_text(NOTEBOOK)
    uuid = json.loads((directory / "gpu-7.json").read_text())["uuid"]
    env = os.environ | {"FLUXHIVE_FAKE_GPUS": str(directory)}
    stranger = subprocess.Popen(["python", program.name, uuid], env=env, cwd=hive.home)
    testing.set_gpu(directory, 0, slowed_by=("power cap",), ecc_corrected=12)
    testing.set_gpu(directory, 6, xids=(31, 79), ecc_uncorrected=1)
    try:
        yield
    finally:
        stranger.kill()
        stranger.wait()


@contextmanager
def more_nodes(hive: CliHive) -> Iterator[None]:
    """Seven more agents, with eight GPUs each."""
    agents = [SecondAgent(hive, label, fake_gpus="8x80G") for label in MORE_NODES]
    try:
        for agent in agents:
            agent.start()
        wanted = len(agents) + 1

        def are_there() -> bool:
            page = hive.transport.call("GET", "/api/v1/nodes", NodePage)
            return len(page.items) == wanted and all(node.gpus for node in page.items)

        until(are_there, limit_s=120, what="all nodes being there")
        yield
    finally:
        # What runs there would outlive its agent.
        live = [task["id"] for task in hive.json("ps", "-a")["tasks"]]
        hive.run("cancel", *live)
        hive.run("wait", *live)
        for agent in agents:
            agent.close()


def take(visit: Visit, name: str) -> None:
    """One picture, once the page stands still."""
    time.sleep(SETTLE_S)
    visit.page.screenshot(path=OUT / f"{name}.png")
    print(f"docs/screenshots/{name}.png")


def main() -> int:
    """Takes all of them."""
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, browser() as opened:
        # For all that is started from here: tasks say `python` and mean this one.
        os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        hive = CliHive(Path(home), FLOWHIVE_FAKE_GPUS="8x80G", FLOWHIVE_LABEL="gpu-a1")
        hive.up()
        try:
            with trouble(hive):
                ids = work(hive)
                time.sleep(WORK_S)
                for scheme in ("light", "dark"):
                    shoot(opened, hive, ids, scheme)
                with more_nodes(hive):
                    sweep = ("--array", "0-11", "--gpus", "2", "--project", "language")
                    submit(hive, "sweep-depth", "python train.py 52", *sweep)
                    submit(hive, "pretrain-base", "python train.py 70", "--gpus", "8")
                    time.sleep(WORK_S)
                    for scheme in ("light", "dark"):
                        shoot_many(opened, hive, scheme)
        finally:
            hive.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())

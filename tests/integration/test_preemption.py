"""Preemption with real processes: a task saves when it is told to, makes room, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.cli_hive import CliHive

TRAINING = """
import os, pathlib, signal, sys, time
saved = pathlib.Path("saved")
step = int(saved.read_text()) if saved.exists() else 0
print("begins at", step, flush=True)
def save(*_):
    saved.write_text(str(step))
    print("saved at", step, flush=True)
    sys.exit(0)
signal.signal(signal.SIGUSR1, save)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while step < 1000 and not pathlib.Path("enough").exists():
    step += 1
    time.sleep(0.02)
"""


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[CliHive]:
    hive = CliHive(tmp_path, FLOWHIVE_FAKE_GPUS="1x80G")
    hive.ok("config", "server.preemption", "true")
    hive.up()
    yield hive
    hive.down()


def test_a_task_saves_makes_room_and_resumes(hive: CliHive) -> None:
    (hive.home / "train.py").write_text(TRAINING)
    line = "--gpus 1 --preemptible --min-run 0s --checkpoint-signal USR1 --grace 20s"
    long = hive.submit(*line.split(), "--", "python3", "train.py")
    hive.when(long, "running")
    urgent = hive.submit("--gpus", "1", "-p", "urgent", "--", "sleep 1; touch enough")
    hive.when(urgent, "succeeded", limit_s=60)
    done = hive.when(long, "succeeded", limit_s=60)
    first, second = done["attempts"]
    assert first["outcome"]["kind"] == "preempted"
    assert first["facts"]["stopped_by"] == "preempt"
    step = (hive.home / "saved").read_text()
    assert hive.ok("logs", long, "--attempt", "1").endswith(f"saved at {step}\n")
    assert hive.ok("logs", long, "--attempt", "2") == f"begins at {step}\n"
    assert second["outcome"]["kind"] == "success"
    assert "retry" in hive.ok("show", long)

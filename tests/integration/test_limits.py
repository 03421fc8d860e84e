"""What administrators limit and book, with real processes: who waits for it, why, and how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_hive import CliHive, until

#: So many GPUs use a tenth of a GPU-hour, the least that is shown, in six seconds.
N_GPUS = 64


@pytest.fixture
def hive_of(tmp_path: Path) -> Iterator[Callable[[str], CliHive]]:
    hives: list[CliHive] = []

    def up(gpus: str) -> CliHive:
        hives.append(CliHive(tmp_path, FLOWHIVE_FAKE_GPUS=gpus))
        hives[0].up()
        return hives[0]

    yield up
    for hive in hives:
        hive.down()


def why(hive: CliHive, task_id: str) -> Any:
    """The first reason why it waits, once there is one."""

    def told() -> Any:
        reasons = hive.json("why", task_id)["reasons"]
        return reasons[0] if reasons else None

    return until(told, what=f"a reason for {task_id}")


def test_a_booking_keeps_others_off_until_it_is_removed(
    hive_of: Callable[[str], CliHive],
) -> None:
    hive = hive_of("1x80G")
    booked = hive.run("booking", "add", "--project", "vision", "--gpus", "1", "--for", "8h")
    assert booked.returncode == 0, booked.stderr
    other = hive.submit("--gpus", "1", "--", "true")
    meant = hive.submit("--gpus", "1", "--project", "vision", "--", "true")
    hive.when(meant, "succeeded", limit_s=90)
    reason = why(hive, other)
    assert reason["code"] == "BOOKED", reason
    assert "booked for project vision (b-1)" in reason["text"]
    assert hive.task(other)["word"] == "queued"
    hive.ok("booking", "rm", "b-1")
    assert hive.ok("booking", "ls", "-q") == ""
    hive.when(other, "succeeded", limit_s=90)


def test_gpu_hours_of_the_week_hold_a_task_until_the_limit_is_raised(
    hive_of: Callable[[str], CliHive],
) -> None:
    hive = hive_of(f"{N_GPUS}x80G")
    user = hive.json("whoami")["username"]
    hive.ok("quota", "set", "user", user, "--weekly-gpu-hours", "1")
    spender = hive.submit("--gpus", str(N_GPUS - 1), "--", "sleep 3600")
    hive.when(spender, "running", limit_s=90)

    def is_counted() -> bool:
        (quota,) = hive.json("quota", "ls")["quotas"]
        return bool(quota["use"].get("weekly_gpu_hours", 0) >= 0.1)

    until(is_counted, limit_s=120, what="use of the week")
    hive.ok("quota", "set", "user", user, "--weekly-gpu-hours", "0")
    late = hive.submit("--gpus", "1", "--", "true")
    hive.when(hive.submit("--", "true"), "succeeded", limit_s=90)
    reason = why(hive, late)
    assert reason["code"] == "QUOTA_USER", reason
    assert "GPU-hours" in reason["text"]
    assert hive.task(spender)["word"] == "running", "what runs runs on"
    hive.ok("quota", "set", "user", user, "--weekly-gpu-hours", "none")
    hive.when(late, "succeeded", limit_s=90)

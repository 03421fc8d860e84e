"""Gangs with real processes: a server and two agents on this machine, each member a shell line."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.cli_hive import CliHive, until
from tests.helpers.two_agents import SecondAgent


@pytest.fixture(scope="module")
def second(hive: CliHive) -> Iterator[SecondAgent]:
    """Another node."""
    agent = SecondAgent(hive)
    agent.start()
    yield agent
    agent.close()


def members(hive: CliHive, task: str) -> list[dict[str, Any]]:
    """The members of a task's last attempt."""
    found: list[dict[str, Any]] = hive.task(task)["attempts"][-1]["members"]
    return found


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def running(hive: CliHive, line: str) -> tuple[str, list[int]]:
    """A gang of that line, all of it running, and the process of each member."""
    task = hive.submit("--nodes", "2", "--", line)
    hive.when(task, "running")
    pids = [member["pid"] for member in members(hive, task)]
    assert not any(is_gone(pid) for pid in pids)
    return task, pids


def test_each_member_knows_its_rank_and_has_its_own_output(
    hive: CliHive, second: SecondAgent
) -> None:
    line = "echo $FLUXHIVE_RANK of $FLUXHIVE_NODES on $FLUXHIVE_NODE at $MASTER_ADDR:$MASTER_PORT"
    task = hive.submit("--nodes", "2", "--", line)
    assert hive.run("wait", task).returncode == 0
    first, other = (hive.ok("logs", "--rank", str(rank), task).strip() for rank in (0, 1))
    assert first.startswith("0 of 2 on ")
    assert other.startswith("1 of 2 on ")
    assert {first.split()[4], other.split()[4]} == {m["node_label"] for m in members(hive, task)}
    assert first.rpartition(" at ")[2] == other.rpartition(" at ")[2]
    both = hive.ok("logs", task).strip().splitlines()
    assert sorted(both) == [f"[rank 0] {first}", f"[rank 1] {other}"]
    # With -f the code is the task's own, and 125 where following fails.
    for follow, code in (((), 3), (("-f",), 125)):
        missing = hive.run("logs", *follow, "--rank", "2", task)
        assert missing.returncode == code
        assert "has no rank 2" in missing.stderr
    shown = hive.ok("show", task)
    assert "2 nodes of 1 CPU" in shown
    assert "rank 1" in shown


def test_following_a_member_gives_all_it_prints(hive: CliHive, second: SecondAgent) -> None:
    line = "for i in 1 2 3; do echo $FLUXHIVE_RANK-$i; sleep 0.2; done"
    task = hive.submit("--nodes", "2", "--", line)
    assert hive.ok("logs", "-f", "--rank", "1", task).split() == ["1-1", "1-2", "1-3"]


def test_a_member_that_fails_ends_the_others_and_is_named(
    hive: CliHive, second: SecondAgent, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    line = (
        f'while [ ! -e {gate} ]; do sleep 0.05; done; [ "$FLUXHIVE_RANK" = 1 ] && exit 3; sleep 600'
    )
    task, pids = running(hive, line)
    gate.touch()
    assert hive.run("wait", task).returncode == 3
    assert all(is_gone(pid) for pid in pids)
    label = members(hive, task)[1]["node_label"]
    assert hive.task(task)["reason"] == f"exit code 3 (rank 1 on {label})"
    assert hive.task(task)["attempts"][0]["cause_rank"] == 1
    assert members(hive, task)[0]["outcome"]["kind"] == "cancelled"


def test_a_member_that_is_killed_ends_the_others_and_is_named(
    hive: CliHive, second: SecondAgent
) -> None:
    task, pids = running(hive, "sleep 600; true")
    os.kill(pids[1], signal.SIGKILL)
    assert hive.run("wait", task).returncode == 128 + 9
    assert all(is_gone(pid) for pid in pids)
    assert "signal 9 (SIGKILL) (rank 1 on " in hive.task(task)["reason"]


def test_cancel_ends_every_member(hive: CliHive, second: SecondAgent) -> None:
    task, pids = running(hive, "sleep 600; true")
    hive.ok("cancel", task)
    hive.when(task, "cancelled")
    assert all(is_gone(pid) for pid in pids)


def test_a_member_outlives_its_agent_and_is_adopted(
    hive: CliHive, second: SecondAgent, tmp_path: Path
) -> None:
    """Goal: killing an agent under a gang costs nothing. Method: each member writes down that it
    began and waits for a gate; the second agent dies and comes back in between."""
    began, gate = tmp_path / "began", tmp_path / "go"
    line = f"echo $FLUXHIVE_RANK >> {began}; while [ ! -e {gate} ]; do sleep 0.05; done; echo done"
    task, pids = running(hive, line)
    second.kill()
    until(lambda: not second.is_ready(), what="the loss of the second node")
    assert hive.task(task)["word"] == "adrift"
    second.start()
    assert not any(is_gone(pid) for pid in pids)
    gate.touch()
    assert hive.run("wait", task).returncode == 0
    assert sorted(began.read_text().split()) == ["0", "1"]
    for rank in (0, 1):
        assert hive.ok("logs", "--rank", str(rank), task) == "done\n"


def test_what_asks_for_more_nodes_than_there_are_waits_and_says_so(
    hive: CliHive, second: SecondAgent
) -> None:
    done = hive.run("submit", "-q", "--nodes", "3", "--", "true")
    assert "only 2 could hold their part of it" in done.stderr
    task = done.stdout.strip()
    assert hive.task(task)["waiting"][0]["code"] == "NEVER"
    hive.ok("cancel", task)

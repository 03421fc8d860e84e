"""torchrun with real PyTorch on CPUs: on one node, several at once, and as a gang on two nodes."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from fluxhive import Client
from tests.helpers.cli_hive import CliHive, until
from tests.helpers.two_agents import SecondAgent

assert torch.distributed.is_gloo_available()

TRAIN = ("-m", "fluxhive.examples.digits_ddp")
#: Starting PyTorch in several processes takes its time on a busy machine.
LIMIT_S = 600.0

#: Bytes that are no text, a progress bar, a line without an end, and a child that writes as well.
SPEAKS = """\
import os, subprocess, sys
rank = os.environ["RANK"]
print("rank", rank, flush=True)
sys.stdout.buffer.write(b"\\xff\\x00" + b"\\r 10%\\r 20%\\n")
sys.stdout.flush()
subprocess.run([sys.executable, "-c", f"print('child of {rank}', end='')"], check=True)
sys.stderr.write("\\rerrors of " + rank)
"""

pytestmark = pytest.mark.timeout(2 * LIMIT_S)


@pytest.fixture(scope="module")
def second(hive: CliHive) -> Iterator[SecondAgent]:
    """Another node."""
    agent = SecondAgent(hive)
    agent.start()
    yield agent
    agent.close()


def submit(hive: CliHive, *words: str, epochs: int = 3, pause_s: float = 0.0) -> str:
    options = ("--epochs", str(epochs), "--pause", str(pause_s))
    return hive.submit("--torchrun", "--python", sys.executable, *words, "--", *TRAIN, *options)


def spoken(rank: int) -> bytes:
    return b"rank %d\n\xff\x00\r 10%%\r 20%%\nchild of %d" % (rank, rank)


def losses(hive: CliHive, task: str, rank: int = 0) -> list[str]:
    return re.findall(r"loss (\S+)", hive.ok("logs", "--rank", str(rank), task))


def succeeded(hive: CliHive, task: str) -> None:
    done = hive.run("wait", task, limit_s=LIMIT_S)
    if done.returncode != 0:
        # Why torch failed stands in its errors.
        written = hive.run("logs", task)
        pytest.fail(f"{hive.task(task)}\n{written.stdout}\n{written.stderr}")


def training(hive: CliHive, *words: str) -> tuple[str, list[psutil.Process]]:
    """A gang of two nodes in its training, with the whole tree of each member."""
    task = submit(hive, "--nodes", "2", *words, epochs=1000, pause_s=0.2)
    until(lambda: losses(hive, task), limit_s=LIMIT_S, what="the first epoch")
    members: list[dict[str, Any]] = hive.task(task)["attempts"][0]["members"]
    trees = []
    for member in members:
        main = psutil.Process(member["pid"])
        trees += [main, *main.children(recursive=True)]
    assert len(trees) >= 4
    return task, trees


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != "zombie" for one in processes)


def taken_before_a_free_one() -> socket.socket:
    """Listens at a port whose next one is free."""
    while True:
        taken = socket.create_server(("127.0.0.1", 0))
        try:
            socket.create_server(("127.0.0.1", taken.getsockname()[1] + 1)).close()
        except (OSError, OverflowError):
            taken.close()
        else:
            return taken


def test_one_process_two_processes_and_two_nodes_compute_the_same_losses(
    hive: CliHive, second: SecondAgent
) -> None:
    alone = submit(hive, "--nproc-per-node", "1")
    succeeded(hive, alone)
    together = submit(hive, "--nproc-per-node", "2")
    succeeded(hive, together)
    gang = submit(hive, "--nodes", "2")
    succeeded(hive, gang)
    marked = submit(hive, "--nproc-per-node", "2", "--prefix-ranks", epochs=1)
    succeeded(hive, marked)
    assert len(losses(hive, alone)) == 3
    assert losses(hive, alone) == losses(hive, together) == losses(hive, gang)
    assert losses(hive, gang, rank=1) == []
    assert "rank 1 of 2 on " in hive.ok("logs", "--rank", "1", gang)
    lines = sorted(line[:15] for line in hive.ok("logs", marked).splitlines())
    assert lines == ["[rank 0] epoch ", "[rank 0] rank 0", "[rank 1] rank 1"]


def ranks_of(hive: CliHive, task: str, *words: str) -> dict[str, list[str]]:
    """What each process wrote, by the mark in front of its lines."""
    found: dict[str, list[str]] = {}
    for line in hive.ok("logs", *words, task).splitlines():
        mark, text = re.fullmatch(r"(\[rank \d+\] )?(.*)", line).groups()  # type: ignore[union-attr]
        found.setdefault((mark or "").strip(), []).append(text)
    return found


def test_each_process_is_read_alone_byte_for_byte_and_all_of_them_together(
    hive: CliHive, second: SecondAgent, tmp_path: Path
) -> None:
    """Goal: output by rank, on one node and on two. Method: bytes that no line could carry."""
    script = tmp_path / "speak.py"
    script.write_text(SPEAKS)
    python = ("--torchrun", "--python", sys.executable, "--nproc-per-node", "2")
    for nodes, n_ranks in ((1, 2), (2, 4)):
        task = hive.submit(*python, "--nodes", str(nodes), "--", str(script))
        succeeded(hive, task)
        for rank in range(n_ranks):
            output, errors = hive.written("logs", "--rank", str(rank), task)
            assert (output, errors) == (spoken(rank), b"\rerrors of %d" % rank)
        handle = Client(transport=hive.transport).task(task)
        assert b"".join(handle.logs(rank=1)) == spoken(1)
        assert len(b"".join(handle.logs())) >= len(spoken(0)) + len(spoken(1))
        together = ranks_of(hive, task)
        assert {f"[rank {rank}]" for rank in range(n_ranks)} <= together.keys()
        assert all(together[f"[rank {rank}]"][0] == f"rank {rank}" for rank in range(n_ranks))
        assert "has no process of rank" in hive.run("logs", "--rank", "9", task).stderr


def test_several_at_once_do_not_meet_by_mistake(hive: CliHive, second: SecondAgent) -> None:
    """Four on one machine, in ports of two nodes that know nothing of each other."""
    tasks = [submit(hive, "--nproc-per-node", "2", epochs=2) for _ in range(4)]
    for task in tasks:
        succeeded(hive, task)
        assert len(losses(hive, task)) == 2
        assert hive.ok("logs", task).count("of 2 on") == 2
    found = [losses(hive, task) for task in tasks]
    assert all(each == found[0] for each in found)


def test_a_process_that_is_killed_ends_the_gang_and_its_member_is_named(
    hive: CliHive, second: SecondAgent
) -> None:
    task, trees = training(hive)
    members = hive.task(task)["attempts"][0]["members"]
    (worker, *_) = psutil.Process(members[1]["pid"]).children()
    os.kill(worker.pid, signal.SIGKILL)
    hive.when(task, "failed", limit_s=LIMIT_S)
    assert all_gone(trees)
    label = members[1]["node_label"]
    reason = hive.task(task)["reason"]
    assert reason == f"its process of rank 1 ended by signal 9 (rank 1 on {label})", reason


def test_cancel_ends_every_process_of_every_member(hive: CliHive, second: SecondAgent) -> None:
    task, trees = training(hive)
    hive.ok("cancel", task)
    hive.when(task, "cancelled", limit_s=LIMIT_S)
    assert all_gone(trees)


def test_a_training_outlives_an_agent_that_is_killed(
    hive: CliHive, second: SecondAgent, tmp_path: Path
) -> None:
    task = submit(hive, "--nodes", "2", epochs=40, pause_s=0.2)
    until(lambda: losses(hive, task), limit_s=LIMIT_S, what="the first epoch")
    second.kill()
    second.start()
    succeeded(hive, task)
    assert len(losses(hive, task)) == 40
    assert len(hive.task(task)["attempts"]) == 1


def test_a_port_that_somebody_else_holds_is_passed_over(hive: CliHive, second: SecondAgent) -> None:
    """Goal: a port in use costs no retry. Method: a node with two ports, one of which is ours."""
    with taken_before_a_free_one() as taken:
        port = taken.getsockname()[1]
        narrow = SecondAgent(hive, "narrow", rendezvous_ports=f"{port}-{port + 1}")
        others = [node["label"] for node in hive.json("nodes")["nodes"]]
        for label in others:
            hive.ok("node", "drain", label)
        narrow.start()
        try:
            tasks = [submit(hive, epochs=1) for _ in range(2)]
            for task in tasks:
                succeeded(hive, task)
        finally:
            narrow.close()
            for label in others:
                hive.ok("node", "undrain", label)
    ended = [
        attempt["outcome"]
        for task in tasks
        for attempt in hive.task(task)["attempts"]
        if attempt["outcome"]["kind"] != "success"
    ]
    assert ended
    assert {outcome["kind"] for outcome in ended} == {"launch-failed"}
    assert all(outcome["detail"].startswith(f"EADDRINUSE: port {port}") for outcome in ended)

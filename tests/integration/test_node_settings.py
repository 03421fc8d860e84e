"""What a node says of itself and what a server is told to decide by, set with `fluxhive config`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.cli_hive import CliHive

SHARE = ("--gpus", "1", "--gpu-mem", "8G")


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[CliHive]:
    """Not started yet; one GPU."""
    hive = CliHive(tmp_path, FLOWHIVE_FAKE_GPUS="1x80G")
    yield hive
    hive.down()


def test_a_node_has_tags_that_tasks_can_ask_for_and_shares_no_gpu(hive: CliHive) -> None:
    hive.ok("config", "agent.tags", "a100, nvme,a100")
    hive.ok("config", "agent.sharing", "off")
    hive.up()
    assert "tags a100, nvme; GPUs not shared" in hive.ok("nodes")
    (node,) = hive.json("nodes")["nodes"]
    assert (node["tags"], node["tasks_per_gpu_max"]) == (["a100", "nvme"], 1)
    assert "here" in hive.ok("submit", "-f", "--tag", "nvme", "--", "echo here")
    elsewhere = hive.submit("--tag", "h100", "--", "true")
    assert "it asks the tags h100" in hive.ok("why", elsewhere)
    first = hive.submit(*SHARE, "--", "while ! test -e go; do sleep 0.05; done")
    hive.when(first, "running")
    second = hive.submit(*SHARE, "--", "true")
    assert hive.task(second)["state"] == "queued", "it would fit, and nothing is shared here"
    (hive.home / "go").touch()
    assert hive.run("wait", first, second).returncode == 0


def test_variables_go_before_the_file(hive: CliHive) -> None:
    hive.ok("config", "agent.tags", "file")
    hive.env |= {"FLOWHIVE_TAGS": "variable", "FLOWHIVE_SHARING": "2"}
    hive.up()
    assert "tags variable; at most 2 tasks on a GPU" in hive.ok("nodes")


def test_a_server_decides_by_the_policy_that_it_is_told(hive: CliHive) -> None:
    hive.ok("config", "server.policy", "fifo")
    hive.up()
    first = hive.submit(*SHARE, "--", "while ! test -e go; do sleep 0.05; done")
    attempt = hive.when(first, "running")["attempts"][0]
    assert attempt["reservation"]["exclusive"], "the whole GPU, whatever is asked"
    (hive.home / "go").touch()
    assert hive.run("wait", first).returncode == 0

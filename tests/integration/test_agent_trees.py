"""The whole tree ends: what ran away, what cannot be killed, and what that means for its GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.node import GpuReport, GpuState
from fluxhive.core.request import Request
from fluxhive.protocol.rest import NodePage, NodeView
from tests.chaos.trees import cancel_trees
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until

N_TREES = 50


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    yield hive
    hive.close()


@pytest.mark.slow
def test_fifty_trees_of_escapees_are_cancelled_and_nothing_survives(hive: AgentHive) -> None:
    """`python -m tests.chaos.trees` does it with a thousand."""
    hive.start_agent(FLOWHIVE_FAKE_GPUS="8x80G")
    tally = cancel_trees(hive, N_TREES)
    print(tally)
    assert tally.n_survivors == 0
    assert tally.n == N_TREES


@pytest.fixture
def freezer() -> Iterator[Path]:
    """A cgroup whose processes SIGKILL cannot end while it is frozen (state D)."""
    path = Path("/sys/fs/cgroup/freezer", f"fluxhive-tree-{os.getpid()}")
    try:
        path.mkdir()
    except OSError:
        pytest.skip("needs a v1 freezer cgroup and the right to make one")
    yield path
    (path / "freezer.state").write_text("THAWED")
    until(lambda: not (path / "cgroup.procs").read_text(), what="an empty freezer")
    path.rmdir()


@pytest.mark.slow
def test_what_cannot_be_killed_keeps_its_gpu_out_of_use_until_it_is_gone(
    hive: AgentHive, tmp_path: Path, freezer: Path
) -> None:
    hive.start_agent(FLOWHIVE_FAKE_GPUS="1x80G")
    whole = Request(gpus=1)
    hold = "import fluxhive.testing as t, os, time\nt.allocate(0, 20_000)\n"
    hold += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    (tmp_path / "hold.py").write_text(hold)
    python = hive.run_words([], "-c", "import sys; print(sys.executable)").strip()
    stuck = hive.submit(f"exec {python} {tmp_path}/hold.py", request=whole, grace_ms=100)
    pid = until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    (freezer / "cgroup.procs").write_text(pid)
    (freezer / "freezer.state").write_text("FROZEN")
    hive.cancel(stuck)
    gpu = until(lambda: gpu_if(hive, GpuState.DIRTY), limit_s=90, what="a dirty GPU")
    assert gpu.state_reason
    next_one = hive.submit("true", request=whole)
    waiting = until(lambda: hive.task(next_one).waiting, what="why it waits")
    assert f"GPU 0 of {node_of(hive).label} is dirty: memory of " in waiting[0].text
    assert hive.task(next_one).word == "queued"
    (freezer / "freezer.state").write_text("THAWED")
    assert hive.ended(next_one).state.value == "succeeded"
    assert gpu_if(hive, GpuState.HEALTHY) is not None
    assert hive.ended(stuck).state.value == "cancelled"


def node_of(hive: AgentHive) -> NodeView:
    (found,) = hive.transport().call("GET", "/api/v1/nodes", NodePage).items
    return found


def gpu_if(hive: AgentHive, state: GpuState) -> GpuReport | None:
    report = node_of(hive).gpus[0].report
    return report if report.state is state else None

"""The kernel ends an agent for lack of memory: its tasks run on and are adopted.

Method: a cgroup with a memory limit holds the agent alone; its launcher, shims and tasks are
outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.outcome import OutcomeKind
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until

MEMORY = Path("/sys/fs/cgroup/memory")
#: Moving into a cgroup charges nothing: the agent is killed once it has taken this much anew.
LIMIT_BYTES = 1 << 20
SIGKILLED = -9


@pytest.fixture
def tight() -> Iterator[Path]:
    """A cgroup in which nothing that takes memory lives for long."""
    group = MEMORY / f"fluxhive-test-agent-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError:
        pytest.skip("needs to make memory cgroups (v1, as root)")
    yield group
    (group / "memory.force_empty").write_text("0")
    group.rmdir()


def score(pid: int) -> int:
    """What the kernel adds to how much memory it has: the highest is ended first (proc(5))."""
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


def test_an_agent_out_of_memory_leaves_its_tasks_running(tmp_path: Path, tight: Path) -> None:
    hive = AgentHive(tmp_path)
    try:
        hive.start_server()
        hive.start_agent()
        mark, go = tmp_path / "began", tmp_path / "go"
        task = hive.submit(f"echo $$ >> {mark}; while [ ! -e {go} ]; do sleep 0.02; done; exit 7")
        until(lambda: hive.task(task).word == "running")
        agent, pid = hive.agent, int(mark.read_text())
        assert agent is not None
        (tight / "cgroup.procs").write_text(str(agent.pid))
        # Work takes memory: submissions until it has had its fill.
        until(lambda: agent.poll() is not None or not load(hive), what="the end of the agent")
        assert agent.returncode == SIGKILLED
        assert killed_in(tight) >= 1
        assert Path(f"/proc/{pid}").exists()
        hive.start_agent()
        go.touch()
        end = hive.ended(task)
        assert end.outcome is not None
        assert (end.outcome.kind, end.outcome.exit_code) == (OutcomeKind.FAILURE, 7)
        assert len(end.attempts) == 1
        assert len(mark.read_text().split()) == 1
    finally:
        hive.close()


def test_the_agent_is_ended_after_its_tasks(tmp_path: Path) -> None:
    """Nobody needs to be root for that: a score may always be raised, and the tasks' is."""
    hive = AgentHive(tmp_path)
    try:
        hive.start_server()
        hive.start_agent()
        mark, go = tmp_path / "began", tmp_path / "go"
        task = hive.submit(f"echo $$ $PPID > {mark}; while [ ! -e {go} ]; do sleep 0.02; done")
        until(lambda: hive.task(task).word == "running")
        main, shim = map(int, mark.read_text().split())
        assert hive.agent is not None
        assert score(main) == score(hive.agent.pid) + 300
        assert score(shim) == score(hive.agent.pid)
        go.touch()
        hive.ended(task)
    finally:
        hive.close()


def load(hive: AgentHive) -> bool:
    """Something for the agent to do."""
    return bool(hive.submit("head -c 2000000 /dev/zero | tr '\\0' x"))


def killed_in(group: Path) -> int:
    """How many processes of the cgroup the kernel has ended."""
    fields = dict(line.split() for line in (group / "memory.oom_control").read_text().splitlines())
    return int(fields["oom_kill"])

"""An agent whose disk is full, read-only or slow: what runs runs on, nothing new starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.node import NodeState
from fluxhive.protocol.rest import NodePage, NodeView
from tests.helpers import power_cut
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until


class DiskHive(AgentHive):
    """Its agent's journal lies on a disk that does what a file says."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.word = home / "word"
        self.library = power_cut.library(home)
        self.start_server()

    def start_on_failing_disk(self) -> None:
        journal = str(self.state / "agent") + "/"
        own = {"LD_PRELOAD": str(self.library), "DISK_FAULT": str(self.word)}
        # Run directories lie below it too: shims have no preload, only the agent's own disk fails.
        self.start_agent(**own, DISK_DIR=journal)

    def node(self) -> NodeView:
        (found,) = self.transport().call("GET", "/api/v1/nodes", NodePage).items
        return found

    def problem(self) -> str:
        return self.node().problem

    def waiting_task(self, name: str) -> str:
        mark = self.home / f"began-{name}"
        task = self.submit(
            f"touch {mark}; while [ ! -e {self.home}/go ]; do sleep 0.02; done; exit 7"
        )
        until(mark.exists, what="the start")
        until(lambda: self.task(task).word == "running", what="the start being known")
        return task


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[DiskHive]:
    hive = DiskHive(tmp_path)
    yield hive
    hive.word.unlink(missing_ok=True)
    hive.close()


@pytest.mark.parametrize("word", ["EROFS", "ENOSPC", "EIO-fsync"])
def test_while_the_journal_takes_nothing_nothing_new_starts_and_what_runs_ends_exactly(
    hive: DiskHive, word: str
) -> None:
    hive.start_on_failing_disk()
    task = hive.waiting_task("first")
    hive.word.write_text(word)
    second = hive.submit(f"touch {hive.home}/second")
    until(hive.problem, what="the problem being shown")
    assert hive.task(task).word == "running"
    assert not (hive.home / "second").exists()
    hive.word.unlink()
    assert hive.ended(second).state.value == "succeeded"
    (hive.home / "go").touch()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    assert len(end.attempts) == 1
    until(lambda: not hive.problem(), what="the problem being over")


def test_a_slow_disk_costs_no_heartbeat(hive: DiskHive) -> None:
    """Each sync takes longer than a node may be silent; contact stays all the same."""
    hive.start_on_failing_disk()
    hive.word.write_text("slow 7000")
    task = hive.submit("exit 7")
    ages = []
    until(lambda: hive.task(task).word != "queued", what="the placement")
    while not hive.is_final(task):
        assert hive.node().state is NodeState.READY
        ages.append(hive.node().last_contact_age_ms or 0)
    assert max(ages) < 6_000
    assert hive.n_sessions() == 1
    end = hive.task(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small disk: needs root")
def test_a_full_disk_costs_no_exit_code_and_the_agent_may_be_killed_on_it(hive: DiskHive) -> None:
    disk = hive.state / "agent"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "none", str(disk)], check=True)
    try:
        disk.chmod(0o700)
        hive.start_agent()
        task = hive.waiting_task("first")
        hive.kill_agent()
        filler = disk / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4k"], capture_output=True)
        assert shutil.disk_usage(disk).free == 0
        # The exit record was allocated before the start.
        (hive.home / "go").touch()
        directory = hive.run_directory(hive.task(task).attempts[0].id)
        until((directory / "exit").exists, what="the exit record")
        refused = hive.run_agent("--allow-root")
        assert refused.returncode == 6
        assert "hint:" in refused.stderr
        filler.unlink()
        hive.start_agent()
        end = hive.ended(task)
        assert end.outcome is not None
        assert end.outcome.exit_code == 7
        assert len(end.attempts) == 1
        hive.kill_agent()
    finally:
        hive.close()
        subprocess.run(["umount", "-l", str(disk)], check=True)

"""What tasks print while the node's disk is small, full, or tampered with by the task itself.

Goal: exit codes are exact, what is stored is what was written, and what is missing is shown with
its place. Method: a real server and agent; each line of the output carries its own offset.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.protocol.rest import LogStreamView
from tests.helpers import checked_log
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import COMMAND, until

MIB = 1 << 20
WRITER = f"{sys.executable} {checked_log.__file__} write"


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    yield hive
    hive.close()


def stdout_of(hive: AgentHive, task: str) -> LogStreamView:
    views = hive.transport().call("GET", f"/api/v1/tasks/{task}/logs", list[LogStreamView])
    (view,) = [view for view in views if view.stream == "stdout"]
    return view


def disk_bytes(directory: Path) -> int:
    return sum(os.stat(path).st_blocks * 512 for path in directory.rglob("std*") if path.is_file())


def test_a_task_that_prints_much_holds_little_of_the_nodes_disk(hive: AgentHive) -> None:
    hive.start_agent()
    size = 60 * MIB
    task = hive.submit(f"{WRITER} --bytes {size} --burst 300000 --pause 0.01")
    (directory,) = until(hive.run_directories, what="the run directory")
    most = 0
    while not hive.is_final(task):
        most = max(most, disk_bytes(directory))
    checked_log.assert_whole(hive.log(task, size=size), size)
    assert stdout_of(hive, task).gaps == ()
    # What two seconds brought, a step, and what is kept for the last lines.
    assert 0 < most < size * 2 // 3


def test_output_of_a_night_without_a_server_is_bounded_and_the_gap_has_its_place(
    hive: AgentHive,
) -> None:
    (hive.home / "config.toml").write_text("[agent]\nlog_backlog_gib = 0.01\n")
    hive.start_agent()
    size = 40 * MIB
    task = hive.submit(f"sleep 1; {WRITER} --bytes {size} --burst 400000 --pause 0.08; exit 7")
    (directory,) = until(hive.run_directories, what="the run directory")
    hive.kill_server()
    until(lambda: (directory / "exit").exists(), limit_s=60, what="the task's end")
    hive.start_server()
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 7
    data = hive.log(task, size=size)
    (gap,) = stdout_of(hive, task).gaps
    assert "backlog" in gap.reason
    assert len(data) == size
    assert gap.end - gap.start > 5 * MIB
    for start, until_ in ((0, gap.start), (gap.end, size)):
        assert checked_log.first_fault(data[start:until_], start) is None
    shown = subprocess.run(
        [*COMMAND, "logs", task], env=hive.env, capture_output=True, text=True, timeout=60
    )
    n_bytes = gap.end - gap.start
    assert f"{n_bytes} bytes are missing from byte {gap.start} on ({task}.1, stdout)" in (
        shown.stderr
    )
    assert "\0" not in shown.stdout
    assert len(shown.stdout) == size - n_bytes


def test_a_server_that_keeps_only_so_much_says_from_where_on(hive: AgentHive) -> None:
    hive.kill_server()
    (hive.home / "config.toml").write_text("[server]\nlog_quota_gib = 0.002\n")
    hive.start_server()
    hive.start_agent()
    size, quota = 12 * MIB, round(0.002 * 1024**3)
    task = hive.submit(f"{WRITER} --bytes {size} --burst 300000 --pause 0.02; exit 3")
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 3
    until(lambda: stdout_of(hive, task).complete, what="the end of the log")
    (gap,) = stdout_of(hive, task).gaps
    assert (gap.start, gap.end) == (quota, size)
    assert "quota" in gap.reason
    data = hive.log(task)
    assert checked_log.first_fault(data[:quota]) is None
    until(lambda: not hive.run_directories(), what="the end of the run directory")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_under_the_run_directories_loses_no_exit_code(hive: AgentHive) -> None:
    """The task's own writes fail, as the system tells it; everything else is as always."""
    hive.start_agent()
    task = hive.submit("sleep 0.5; true")
    hive.ended(task)
    (runs,) = hive.state.glob("agent/*/runs")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", runs], check=True)
    try:
        task = hive.submit(f"{WRITER} --bytes {8 * MIB} --burst 65536 2>/dev/null; exit 9")
        end = hive.ended(task)
        assert end.outcome is not None
        assert end.outcome.exit_code == 9
        data = hive.log(task)
        assert checked_log.first_fault(data) is None
        until(lambda: stdout_of(hive, task).gaps, what="the mark where output may be missing")
        assert [gap.reason for gap in stdout_of(hive, task).gaps] == ["the node's disk was full"]
    finally:
        subprocess.run(["umount", "-l", runs], check=True)


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        ("rm -f $LOG", "deleted or replaced"),
        (": > $LOG", "cut short"),
        ("rm -f $LOG; echo impostor > $LOG", "deleted or replaced"),
        ("rm -f $LOG; ln -s /etc/passwd $LOG", "deleted or replaced"),
    ],
    ids=["deleted", "cut", "replaced", "linked"],
)
def test_a_task_that_harms_its_own_log_is_flagged_and_ends_as_it_did(
    hive: AgentHive, harm: str, word: str
) -> None:
    hive.start_agent()
    line = f"LOG={hive.state}/agent/*/runs/*/stdout; LOG=$(echo $LOG); echo before; sleep 1; "
    task = hive.submit(f"{line} {harm}; sleep 0.5; echo after; exit 4")
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 4
    until(lambda: stdout_of(hive, task).gaps, what="the flag")
    assert any(word in gap.reason for gap in stdout_of(hive, task).gaps)
    assert hive.log(task, size=len(b"before\nafter\n")) == b"before\nafter\n"
    until(lambda: not hive.run_directories(), what="the end of the run directory")

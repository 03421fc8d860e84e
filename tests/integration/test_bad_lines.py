"""Lines that are slow, long, cut, one-way, or say things twice.

Goal: how a task stands comes before what it printed, the node stays ready as long as anything
passes, and every byte arrives once. Method: a real server and agent with a proxy of ours between.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.protocol.rest import LogStreamView, NodePage
from tests.helpers import checked_log
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import COMMAND, until
from tests.helpers.slow_line import SlowLine, slow_line

WRITER = f"{sys.executable} {checked_log.__file__} write"


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    yield hive
    hive.close()


def node_state(hive: AgentHive) -> str:
    (node,) = hive.transport().call("GET", "/api/v1/nodes", NodePage).items
    return node.state.value


def n_stored(hive: AgentHive, task: str) -> int:
    """Bytes of its output that the server has; a read would wait for the rest of an ended one."""
    views = hive.transport().call("GET", f"/api/v1/tasks/{task}/logs", list[LogStreamView])
    return sum(view.size for view in views)


def through(hive: AgentHive, line: SlowLine) -> dict[str, str]:
    """Variables for who shall reach the server by this line."""
    token = (hive.state / "server" / "admin-token").read_text().strip()
    return {"FLOWHIVE_CONTROL_URL": f"http://127.0.0.1:{line.port}", "FLOWHIVE_TOKEN": token}


@pytest.mark.timeout(300)
def test_on_64_kbit_and_two_seconds_the_end_comes_before_the_output(hive: AgentHive) -> None:
    """Two seconds each way, 8,000 bytes a second: a modem by way of a satellite."""
    size = 800_000  # a tenth of that on the line, since it packs well
    with slow_line(hive.port) as (_proxy, line):
        hive.start_agent(**through(hive, line))  # registers, and is known from now on
        hive.kill_agent()
        line.bytes_per_s, line.latency_s = 8_000, 2.0
        hive.start_agent(**through(hive, line))
        task = hive.submit(f"{WRITER} --bytes {size} --burst 50000 --code 5")
        states: set[str] = set()
        stored_at_end = None
        while stored_at_end is None or n_stored(hive, task) < size:
            states.add(node_state(hive))
            if stored_at_end is None and hive.is_final(task):
                stored_at_end = n_stored(hive, task)
            time.sleep(0.2)
        end = hive.task(task)
        assert end.outcome is not None
        assert end.outcome.exit_code == 5
        assert stored_at_end < size
        assert states == {"ready"}
        checked_log.assert_whole(hive.log(task), size)
        until(lambda: not hive.run_directories(), what="the end of the run directory")
    assert hive.n_sessions() == 2


def test_frames_cut_repeated_and_stopped_one_way_lose_and_double_nothing(hive: AgentHive) -> None:
    size = 8_000_000
    witness = hive.home / "witness"
    with slow_line(hive.port) as (proxy, line):
        hive.start_agent(**through(hive, line))
        task = hive.submit(
            f"{WRITER} --bytes {size} --burst 20000 --pause 0.02 --both --witness {witness}"
        )
        until(lambda: len(hive.log(task)) > 100_000, what="the first output")
        for harm in ("in-frame", "repeat", "reset", "repeat", "in-frame"):
            before = len(hive.log(task))
            if harm == "repeat":
                line.n_repeats = 50
            else:
                proxy.cut(0, in_frame=harm == "in-frame")
            until(
                lambda before=before: len(hive.log(task)) > before or hive.is_final(task),
                what=f"output after {harm}",
            )
        # Half open: the agent's words arrive, and it hears nothing any more.
        proxy.block(0, "down")
        n_sessions = hive.n_sessions()
        time.sleep(8)  # three heartbeats and a little, until it gives the line up
        proxy.open(0)
        until(lambda: hive.n_sessions() > n_sessions, what="another session")
        end = hive.ended(task, limit_s=90)
        assert end.outcome is not None
        assert (end.outcome.exit_code, len(end.attempts)) == (0, 1)
        for stream in ("stdout", "stderr"):
            checked_log.assert_whole(hive.log(task, stream, size=size), size)
    beats = checked_log.read_witness(witness.read_text())
    assert [beat.word for beat in beats if beat.word != "beat"] == ["start", "end"]


def test_following_survives_cuts_and_a_new_server_without_a_lost_or_doubled_byte(
    hive: AgentHive,
) -> None:
    size = 6_000_000
    hive.start_agent()
    task = hive.submit(f"{WRITER} --bytes {size} --burst 15000 --pause 0.02 --code 3")
    with slow_line(hive.port) as (proxy, line), open(hive.home / "followed", "wb") as out:
        follower = subprocess.Popen(
            [*COMMAND, "logs", "-f", task],
            env={**hive.env, **through(hive, line)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
        )
        try:
            followed = hive.home / "followed"
            for harm in ("reset", "in-frame", "server", "in-frame", "reset"):
                before = followed.stat().st_size
                until(lambda before=before: followed.stat().st_size > before + 100_000)
                if harm == "server":
                    hive.kill_server()
                    hive.start_server()
                else:
                    proxy.cut(0, in_frame=harm == "in-frame")
            _, said = follower.communicate(timeout=90)
        finally:
            follower.kill()
    assert follower.returncode == 3, said
    assert b"the server is back" in said
    checked_log.assert_whole(followed.read_bytes(), size)

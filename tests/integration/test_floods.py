"""Readers that stop reading, and tasks that print without end: everybody else goes on.

Method: a real server and agent. The server runs with a shorter patience than it has, so that nobody
waits a minute here.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fluxhive.protocol.rest import LogStreamView, NodePage
from tests.helpers import checked_log
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import COMMAND, until

WRITER = f"{sys.executable} {checked_log.__file__} write"
#: About 100 MB/s on both streams together, until it is cancelled.
FLOOD = "while :; do head -c 2000000 /dev/zero | tr '\\0' x | tee /dev/stderr; sleep 0.04; done"
N_READERS = 40
IMPATIENT = (
    "import sys; from fluxhive.server import http_protocol; http_protocol.UNREAD_S = 2.0; "
    "from fluxhive.cli.fluxhive import main; sys.exit(main())"
)


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    yield hive
    hive.close()


def follow(hive: AgentHive, task: str) -> socket.socket:
    """Asks for a task's output as it comes, and has read nothing of it."""
    token = (hive.state / "server" / "admin-token").read_text().strip()
    head = (
        f"GET /api/v1/tasks/{task}/logs/follow HTTP/1.1\r\nHost: 127.0.0.1:{hive.port}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    )
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    line.settimeout(30)
    line.connect(("127.0.0.1", hive.port))
    line.sendall(head.encode())
    return line


def n_stored(hive: AgentHive, task: str) -> int:
    """Bytes that the server has; to read what grows so fast would take for ever."""
    views = hive.transport().call("GET", f"/api/v1/tasks/{task}/logs", list[LogStreamView])
    return sum(view.size for view in views)


def rest_of(line: socket.socket) -> int:
    """How much comes of it until the server ends it."""
    n_bytes = 0
    with line, contextlib.suppress(ConnectionResetError):
        while data := line.recv(1 << 16):
            n_bytes += len(data)
    return n_bytes


def test_readers_that_never_read_are_left_behind_and_cost_nobody_a_byte(hive: AgentHive) -> None:
    hive.server = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT, "server", "--port", str(hive.port)], env=hive.env
    )
    until(hive._is_up, what="the server")
    hive.start_agent()
    size = 40_000_000
    first = hive.submit("echo first")
    hive.ended(first)
    server = psutil.Process(hive.server.pid)
    task = hive.submit(f"{WRITER} --bytes {size} --burst 400000 --pause 0.02")
    until(lambda: len(hive.log(task)) > 100_000, what="the first output")
    before = server.memory_info().rss
    stuck = [follow(hive, task) for _ in range(N_READERS)]
    reading = subprocess.run(
        [*COMMAND, "logs", "-f", task], env=hive.env, capture_output=True, timeout=100, check=True
    )
    checked_log.assert_whole(reading.stdout, size)
    # All of it would be 1.6 GB.
    assert server.memory_info().rss - before < 100_000_000
    until(
        lambda: not [each for each in server.net_connections() if each.status == "ESTABLISHED"][2:],
        what="the end of those who do not read",
    )
    rests = [rest_of(line) for line in stuck]
    assert max(rests) < 2_000_000
    assert hive.n_sessions() == 1


def test_a_task_that_prints_without_end_keeps_nobody_waiting(hive: AgentHive) -> None:
    hive.start_server()
    hive.start_agent()
    flood = hive.submit(FLOOD)
    until(lambda: n_stored(hive, flood) > 8_000_000, what="the flood")
    size = 2_000_000
    for _ in range(3):
        task = hive.submit(f"{WRITER} --bytes {size} --burst 100000")
        assert hive.ended(task).state.value == "succeeded"
        checked_log.assert_whole(hive.log(task, size=size), size)
        (node,) = hive.transport().call("GET", "/api/v1/nodes", NodePage).items
        assert node.state.value == "ready"
    assert hive.task(flood).word == "running"
    assert hive.n_sessions() == 1
    hive.cancel(flood)
    assert hive.ended(flood).state.value == "cancelled"

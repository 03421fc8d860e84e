"""A server whose disk is full, broken, or locked for a while, and works again.

Goal: nothing is acknowledged that is not stored, callers hear 503, nodes stay,
and the server goes on by itself. Method: a preloaded disk that fails while a file says so
(tests/helpers/native/disk.c); another program that holds SQLite's write lock.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.errors import FluxhiveError
from tests.helpers import checked_log, power_cut
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until

WRITER = f"{sys.executable} {checked_log.__file__} write"


class FailingHive(AgentHive):
    """A hive whose server's disk does what ``word`` says."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._library = power_cut.library(home)
        self.word = home / "word"

    def start_server(self) -> None:
        names = ("LD_PRELOAD", "DISK_DIR", "DISK_FAULT")
        own = power_cut.failing(self._library, self.state / "server", self.word)
        words = ["server", "--port", str(self.port)]
        self.server = self._start(words, "server.log", **{name: own[name] for name in names})
        until(self._is_up, what="the server")


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[FailingHive]:
    hive = FailingHive(tmp_path)
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()


def locked(other: sqlite3.Connection) -> bool:
    """Whether another program has the write lock of the server's database now."""
    try:
        other.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    return True


def refused(hive: AgentHive) -> str:
    """What a submission is answered with; empty when it was taken."""
    try:
        hive.submit("true")
    except FluxhiveError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("word", ["ENOSPC", "EIO", "EIO-fsync"])
def test_a_disk_that_fails_is_said_and_nothing_accepted_is_lost(
    hive: FailingHive, word: str
) -> None:
    size = 6_000_000
    before = hive.submit("echo before")
    running = hive.submit(f"{WRITER} --bytes {size} --burst 40000 --pause 0.05 --code 4")
    until(lambda: len(hive.log(running)) > 100_000, what="the first output")
    hive.word.write_text(word)
    reason = until(lambda: refused(hive), what="the refusal")
    assert "cannot store anything now" in reason
    time.sleep(3)
    assert hive.server is not None
    assert hive.server.poll() is None
    hive.word.unlink()
    until(lambda: not refused(hive), what="the recovery")
    end = hive.ended(running, limit_s=90)
    assert end.outcome is not None
    assert (end.outcome.exit_code, len(end.attempts)) == (4, 1)
    checked_log.assert_whole(hive.log(running, size=size), size)
    assert hive.ended(before).state.value == "succeeded"
    # What was acknowledged is there after a crash, too.
    hive.kill_server()
    hive.start_server()
    assert hive.task(running).state.value == "failed"
    assert hive.task(before).state.value == "succeeded"


def test_a_database_that_another_program_locks_for_half_a_minute_is_waited_for(
    hive: FailingHive, tmp_path: Path
) -> None:
    """What ends meanwhile is told afterwards, once, with all that it printed."""
    line = f"touch {tmp_path}/began; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; seq 99"
    running = hive.submit(f"{line}; exit 5")
    until((tmp_path / "began").exists)
    other = sqlite3.connect(hive.state / "server" / "hive.db", isolation_level=None)
    until(lambda: locked(other), what="the lock")
    began_s = time.monotonic()
    (tmp_path / "go").touch()
    reason = until(lambda: refused(hive), what="the refusal")
    assert "locked by another program" in reason
    while time.monotonic() - began_s < 30:
        assert hive._is_up()  # reads are answered meanwhile
        time.sleep(1)
    other.execute("ROLLBACK")
    other.close()
    until(lambda: not refused(hive), what="the recovery")
    assert hive.ended(hive.submit("true")).state.value == "succeeded"
    end = hive.ended(running)
    assert end.outcome is not None
    assert (end.outcome.exit_code, len(end.attempts)) == (5, 1)
    whole = b"".join(b"%d\n" % n for n in range(1, 100))
    assert hive.log(running, size=len(whole)) == whole
    assert os.path.exists(hive.state)

"""The lock of a state directory: one agent at a time, told by its process, also on a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fluxhive.agent.state_lock import StateLock, holder
from fluxhive.core.errors import Conflict


def test_the_second_agent_is_told_which_process_is_the_first(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    assert holder(tmp_path) == os.getpid()
    with pytest.raises(Conflict, match=f"process {os.getpid()}"):
        StateLock(tmp_path)
    lock.release()
    assert holder(tmp_path) is None
    StateLock(tmp_path).release()


def test_a_full_disk_keeps_nobody_from_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    lock = StateLock(tmp_path)
    assert holder(tmp_path) is None
    with pytest.raises(Conflict, match="process unknown"):
        StateLock(tmp_path)
    lock.release()

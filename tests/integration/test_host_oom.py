"""A real task that the kernel kills for lack of host memory, in a cgroup with a limit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.agent.host_memory import HostMemory
from fluxhive.core.outcome import OutcomeKind
from tests.helpers.agent_hive import AgentHive

MEMORY = Path("/sys/fs/cgroup/memory")
LIMIT_BYTES = 60 << 20


@pytest.fixture
def limited() -> Iterator[Path]:
    """A cgroup whose processes may have 60 MiB together, and kills in which are counted."""
    group = MEMORY / f"fluxhive-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
    except OSError:
        pytest.skip("needs to make memory cgroups (v1, as root)")
    if not HostMemory()._counters:
        pytest.skip("the kernel's counters cannot be read here")
    yield group
    (group / "memory.force_empty").write_text("0")
    group.rmdir()


def test_a_kill_by_the_kernel_is_host_oom_and_a_limit_of_its_own_is_a_failure(
    tmp_path: Path, limited: Path
) -> None:
    hive = AgentHive(tmp_path)
    try:
        hive.start_server()
        hive.start_agent()
        take = f"{sys.executable} -c 'x = bytearray(1 << 28)'"
        refused = hive.submit(f"ulimit -v 200000; exec {take}")
        outcome = hive.ended(refused).attempts[-1].outcome
        assert outcome is not None
        assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FAILURE, 1)
        assert "`MemoryError`" in outcome.detail
        killed = hive.submit(f"echo $$ > {limited}/cgroup.procs; exec {take}")
        outcome = hive.ended(killed).attempts[-1].outcome
        assert outcome is not None
        assert (outcome.kind, outcome.signal) == (OutcomeKind.HOST_OOM, 9)
        assert outcome.detail.startswith("the kernel killed a process of it")
    finally:
        hive.close()

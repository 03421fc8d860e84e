"""What attempts take of the machine: all processes below a shim, by one pass over ``/proc``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.agent import process, system
from fluxhive.agent.container_usage import ContainerUsage
from fluxhive.agent.host_use import HostUse, higher
from fluxhive.agent.run_directory import Started
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import HostSample

ATTEMPT = AttemptId("t-1.1")
#: A parent that sleeps over a child that holds 64 MiB and computes until it is told to end.
TREE = """
import subprocess, sys
child = "held = bytearray(64 << 20)\\nprint('ready', flush=True)\\nwhile True: pass"
subprocess.run([sys.executable, "-c", child])
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


@pytest.fixture
def shim() -> Iterator[subprocess.Popen[str]]:
    """Stands for a shim: what is below it is the attempt."""
    started = subprocess.Popen(
        [sys.executable, "-c", TREE], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert started.stdout is not None
    started.stdout.readline()
    yield started
    os.killpg(started.pid, 9)
    started.wait()
    started.stdout.close()


def started_by(shim_pid: int) -> dict[AttemptId, Started]:
    found = Started(
        format=1,
        attempt=ATTEMPT,
        shim_pid=shim_pid,
        shim_start=0,
        pid=0,
        pid_start=0,
        boot_id=process.boot_id(),
        at_boottime_ms=0,
    )
    return {ATTEMPT: found}


def test_memory_and_cpu_of_all_below_a_shim_are_told(
    shim: subprocess.Popen[str], tmp_path: Path
) -> None:
    use = HostUse(dict, lambda attempt_id: str(tmp_path))
    (first,), _ = use.look(started_by(shim.pid))
    assert first.memory_mib >= 64
    assert first.cpu_percent is None  # nothing to compare with yet
    for _ in range(600):
        time.sleep(0.1)
        (then,), _ = use.look(started_by(shim.pid))
        if then.cpu_percent:
            break
    assert then.cpu_percent
    assert then.at_ms > first.at_ms


def test_an_attempt_in_a_container_is_not_known_rather_than_small(
    shim: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "container-id").write_text("0123")
    use = HostUse(dict, lambda attempt_id: str(tmp_path))
    samples, _ = use.look(started_by(shim.pid))
    assert samples == ()
    # Its leader has seen it: what counts is the container, and not who is below the shim.
    stat, cpu = tmp_path / "memory.stat", tmp_path / "cpu.stat"
    stat.write_text(f"anon {900 << 20}\nfile 1\n")
    cpu.write_text("usage_usec 1000000\n")
    ContainerUsage((str(stat), str(cpu), None)).note(str(tmp_path))
    (first,), _ = use.look(started_by(shim.pid))
    cpu.write_text("usage_usec 900000000\n")
    (then,), _ = use.look(started_by(shim.pid))
    assert (first.memory_mib, first.cpu_percent) == (900, None)
    assert then.cpu_percent
    stat.unlink()
    assert use.look(started_by(shim.pid))[0] == (), "it is over"


def test_two_looks_become_one_that_hides_no_peak() -> None:
    def sample(at_ms: int, memory_mib: int, cpu_percent: int | None) -> HostSample:
        return HostSample(
            at_ms=at_ms, attempt_id=ATTEMPT, memory_mib=memory_mib, cpu_percent=cpu_percent
        )

    assert higher(sample(1, 900, 300), sample(2, 100, 100)) == sample(2, 900, 200)
    assert higher(sample(1, 10, None), sample(2, 20, 50)).cpu_percent == 50


def test_without_linux_psutil_tells_the_same(
    shim: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "IS_LINUX", False)
    use = HostUse(dict, lambda attempt_id: str(tmp_path))
    (sample,), _ = use.look(started_by(shim.pid))
    assert 64 <= sample.memory_mib < 1_000

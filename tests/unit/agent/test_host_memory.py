"""The kernel's counts of whom it killed for lack of memory, read around the end of an attempt."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fluxhive.agent import host_memory
from fluxhive.agent.host_memory import HostMemory
from fluxhive.agent.kernel_log import KernelLog

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's own files")


class Counter:
    """A file of the kernel's, as ``memory.events`` is."""

    def __init__(self, path: Path, n_kills: int = 0) -> None:
        self.path = path
        self.counts(n_kills)

    def counts(self, n_kills: int) -> None:
        self.path.write_text(f"low 0\nhigh 7\nmax 3\noom 9\noom_kill {n_kills}\noom_group_kill 0\n")


def test_kills_since_the_last_looks_are_counted_and_older_ones_are_not(tmp_path: Path) -> None:
    counter = Counter(tmp_path / "memory.events", 3)
    host = HostMemory([str(counter.path)])
    assert host.scene(None).node_kills == 0
    counter.counts(5)
    assert host.scene(None).node_kills == 2


def test_a_kill_of_long_ago_does_not_explain_an_end_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1_000.0
    monkeypatch.setattr(host_memory.time, "monotonic", lambda: now_s)
    counter = Counter(tmp_path / "memory.events")
    host = HostMemory([str(counter.path)])
    counter.counts(1)
    for _ in range(10):
        now_s += 5.0
        host.look()
    assert host.scene(None).node_kills == 0


def test_one_kill_that_stands_in_two_counters_is_one(tmp_path: Path) -> None:
    first, second = Counter(tmp_path / "a"), Counter(tmp_path / "b")
    host = HostMemory([str(first.path), str(second.path)])
    first.counts(1)
    second.counts(1)
    assert host.scene(None).node_kills == 1


def test_of_the_kernels_log_only_what_the_machine_was_short_of_counts(tmp_path: Path) -> None:
    """As the kernel words it; the memory of a container that was at its limit is its own affair."""
    path = tmp_path / "kmsg"
    kill = "Killed process 4711 (python) total-vm:207068kB, anon-rss:64896kB, UID:0\n"
    path.write_text(f"3,8,25256493461,-;Out of memory: {kill}")
    host = HostMemory([], KernelLog(str(path)))
    assert host.scene(None).node_kills == 0, "before the agent began"
    with path.open("a") as log:
        log.write(f"3,9,25256494099,-;Memory cgroup out of memory: {kill}")
        log.write("6,10,25256494051,-;oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)\n")
    assert host.scene(None).node_kills == 0
    # It names whom it kills, and that one was not killed by a person.
    assert [host.scene(None, pid=pid).own_kills for pid in (4711, 4712)] == [1, None]
    with path.open("a") as log:
        log.write(f"3,11,25261242713,-;Out of memory: {kill} SUBSYSTEM=memory\n")
        log.write(f"3,12,25261242714,-;Out of memory (oom_kill_allocating_task): {kill}")
    assert host.scene(None).node_kills == 2


def test_a_kernels_log_that_cannot_be_read_is_done_without(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        KernelLog(str(tmp_path / "none"))


@pytest.mark.parametrize(
    "line",
    [
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
        "oom_memcg=/libpod_parent/libpod-{id},task_memcg=/libpod_parent/libpod-{id},task=dd,pid=7",
        "Task in /machine/libpod-{id} killed as a result of limit of /machine/libpod-{id}",
    ],
    ids=["of now", "before 4.19"],
)
def test_whose_limit_it_was_is_told_of_a_container(tmp_path: Path, line: str) -> None:
    path = tmp_path / "kmsg"
    path.write_bytes(b"")
    host = HostMemory([], KernelLog(str(path)))
    one, other = "1f" * 32, "2f" * 32
    with path.open("a") as log:
        log.write(f"6,10,25256494051,-;{line.format(id=one)}\n")
        log.write("3,9,25256494099,-;Memory cgroup out of memory: Killed process 7 (dd)\n")
    assert host.scene(None, one).own_kills == 1
    assert host.scene(None, other).own_kills is None
    # Who leads it is nobody's victim.
    assert host.scene(None, other, pid=7).own_kills is None
    assert HostMemory([]).scene(None, one).own_kills is None, "no log to read"


def test_an_attempts_own_cgroup_tells_of_its_own(tmp_path: Path) -> None:
    host = HostMemory([])
    assert host.scene(str(tmp_path)).own_kills is None, "no memory controller there"
    Counter(tmp_path / "memory.events", 1)
    assert host.scene(str(tmp_path)).own_kills == 1


def test_counters_that_are_gone_or_hold_anything_else_claim_nothing(tmp_path: Path) -> None:
    (tmp_path / "odd").write_text("oom_kill many\n")
    host = HostMemory([str(tmp_path / "none"), str(tmp_path / "odd")])
    host.look()
    assert host.scene(str(tmp_path / "none")).node_kills == 0


def test_what_is_left_of_this_machines_memory_is_known() -> None:
    available_mib = HostMemory([]).scene(None).available_mib
    assert available_mib is not None
    assert available_mib > 0


def test_the_counters_of_this_machine_can_be_read() -> None:
    assert HostMemory().scene(None).node_kills >= 0

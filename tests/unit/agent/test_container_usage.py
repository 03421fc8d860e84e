"""What a container takes of the host, by its cgroup."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fluxhive.agent import container_usage
from fluxhive.agent.container_usage import ContainerUsage, files_of, noted_usage, read_usage

MIB = 1 << 20


def cgroup_of_me(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    real = container_usage._read

    def read(path: str) -> bytes:
        return text.encode() if path == f"/proc/{os.getpid()}/cgroup" else real(path)

    monkeypatch.setattr(container_usage, "_read", read)


def test_with_cgroup_v2_the_highest_of_what_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroup_of_me(monkeypatch, "0::/docker/x\n")
    group = tmp_path / "docker" / "x"
    group.mkdir(parents=True)
    (group / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    usage = ContainerUsage(files_of(os.getpid(), str(tmp_path)))
    for anon in (100, 300, 200):
        (group / "memory.stat").write_text(f"anon {anon * MIB}\nfile {900 * MIB}\nshmem {MIB}\n")
        usage.look()
    usage.write(str(tmp_path))
    assert read_usage(str(tmp_path)) == (301 * 1024, 1500)


def test_with_cgroup_v1_the_same_of_two_hierarchies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroup_of_me(monkeypatch, "9:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n0::/\n")
    for name in ("memory", "cpu,cpuacct"):
        (tmp_path / name / "docker" / "x").mkdir(parents=True)
    (tmp_path / "memory/docker/x/memory.stat").write_text(f"rss 1\ntotal_rss {7 * MIB}\n")
    (tmp_path / "cpu,cpuacct/docker/x/cpuacct.usage").write_text("2000000000\n")
    usage = ContainerUsage(files_of(os.getpid(), str(tmp_path)))
    usage.look()
    usage.write(str(tmp_path))
    assert read_usage(str(tmp_path)) == (7 * 1024, 2000)
    # An agent that comes later looks at the same counters.
    assert noted_usage(str(tmp_path)) is None
    usage.note(str(tmp_path))
    again = noted_usage(str(tmp_path))
    assert again is not None
    again.look()
    assert (again.held_bytes, again.cpu_ms) == (7 * MIB, 2000)


def test_what_has_gone_keeps_what_was_seen_and_nothing_seen_is_not_known(tmp_path: Path) -> None:
    assert read_usage(str(tmp_path)) == (0, 0)
    usage = ContainerUsage(files_of(os.getpid(), str(tmp_path / "no-cgroups")))
    usage.look()
    usage.write(str(tmp_path))
    assert read_usage(str(tmp_path)) == (0, 0)

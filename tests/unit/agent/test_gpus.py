"""Whose process is whose, where this machine's pids are its own and where they are not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import anyio
import pytest

from fluxhive.agent import gpus as module
from fluxhive.agent import process
from fluxhive.agent.containers import containers_of
from fluxhive.core.events import NodeEvent, ReadingTaken
from fluxhive.core.gpu_monitor import ProcessUse, Reading, Readings
from fluxhive.core.values import AttemptId, GpuUuid

UUID = GpuUuid("GPU-a")
CONTAINER = "0123456789abcdef" * 4


class OneProcess:
    """A card on which one process of this machine's numbering holds 4,000 MiB."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = os.getpid() if pid is None else pid

    def read(self) -> Readings:
        use = ProcessUse(pid=self._pid, used_mib=4000)
        reading = Reading(
            uuid=UUID, index=0, total_mib=81_920, used_mib=4000, reserved_mib=500, processes=(use,)
        )
        return Readings(gpus=(reading,), driver="580")


@pytest.mark.parametrize(
    ("sees_all_pids", "foreign_mib", "attempt_mib"), [(True, 4000, []), (False, 0, [3936])]
)
def test_a_pid_of_the_hosts_numbering_is_not_taken_for_a_process_of_ours(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sees_all_pids: bool,
    foreign_mib: int,
    attempt_mib: list[int],
) -> None:
    """Goal: in a container, memory goes to the only attempt on the GPU although the listed pid
    happens to exist here too."""
    monkeypatch.setattr(module, "open_gpu_source", lambda *_, **__: OneProcess())
    monkeypatch.setattr(module.process, "sees_all_pids", lambda: sees_all_pids)
    taken: list[NodeEvent] = []
    gpus = module.Gpus(
        state_dir=tmp_path,
        cookies={},
        holders=lambda: {UUID: (AttemptId("t-1.1"),)},
        put=taken.append,
        directory_of=lambda attempt_id: str(tmp_path),
    )
    anyio.run(gpus.read_once)
    (event,) = taken
    assert isinstance(event, ReadingTaken)
    (report,) = event.gpus
    assert report.foreign_mib == foreign_mib
    assert [use.used_mib for use in report.attempts] == attempt_mib


@pytest.mark.parametrize(
    "line",
    [
        f"0::/docker/{CONTAINER}\n",
        f"0::/system.slice/docker-{CONTAINER}.scope\n",
        f"12:memory:/docker/{CONTAINER}\n0::/\n",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{CONTAINER}.scope/x\n",
    ],
)
def test_a_container_is_known_by_the_cgroup_of_its_processes(line: str) -> None:
    assert CONTAINER in containers_of(line)
    assert containers_of(line.replace(CONTAINER, CONTAINER + "0")) == []


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_a_process_without_our_cookie_takes_in_our_container_is_the_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_ours: bool
) -> None:
    """Goal: a program that was started in a container with an environment of its own is known.
    Method: a real process in a cgroup with the name that docker gives it."""
    root = process.cgroup_root() or pytest.skip("no cgroups can be made here")
    cgroup = Path(root, f"docker-{CONTAINER}.scope")
    cgroup.mkdir()
    sleeper = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
    try:
        (cgroup / "cgroup.procs").write_text(str(sleeper.pid))
        (tmp_path / "container-id").write_text(CONTAINER if is_ours else CONTAINER[::-1])
        monkeypatch.setattr(module, "open_gpu_source", lambda *_, **__: OneProcess(sleeper.pid))
        monkeypatch.setattr(module.process, "sees_all_pids", lambda: True)
        taken: list[NodeEvent] = []
        gpus = module.Gpus(
            state_dir=tmp_path,
            cookies={"a-cookie": "t-1.1"},
            holders=lambda: {UUID: (AttemptId("t-1.1"),)},
            put=taken.append,
            directory_of=lambda attempt_id: str(tmp_path),
        )
        anyio.run(gpus.read_once)
    finally:
        sleeper.kill()
        sleeper.wait()
        cgroup.rmdir()
    (event,) = taken
    assert isinstance(event, ReadingTaken)
    (report,) = event.gpus
    assert report.foreign_mib == (0 if is_ours else 4000)
    assert [use.attempt_id for use in report.attempts] == (["t-1.1"] if is_ours else [])

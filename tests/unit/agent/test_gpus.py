"""Whose process is whose, where this machine's pids are its own and where they are not."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from fluxhive.agent import gpus as module
from fluxhive.core.events import NodeEvent, ReadingTaken
from fluxhive.core.gpu_monitor import ProcessUse, Reading, Readings
from fluxhive.core.values import AttemptId, GpuUuid

UUID = GpuUuid("GPU-a")


class OneProcess:
    """A card on which one process of this machine's numbering holds 4,000 MiB."""

    def read(self) -> Readings:
        use = ProcessUse(pid=os.getpid(), used_mib=4000)
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

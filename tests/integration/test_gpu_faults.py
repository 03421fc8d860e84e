"""Faults of GPUs under real tasks: pretended cards that a test breaks, real processes on them.

Faults 44 to 50 of the catalogue; the driver library itself is broken in tests/unit/agent/
test_nvml.py, and what runs out on a real card is told by scripts/gpu_faults.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive import testing
from fluxhive.core.node import GpuState, NodeState
from fluxhive.core.outcome import Blame, OutcomeKind
from fluxhive.core.request import Request
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import GpuView, NodePage, TaskView
from fluxhive.protocol.usage import AttemptUsageView, GpuUsage
from tests.helpers.agent_hive import AgentHive, kill_tree_of
from tests.helpers.cli_hive import until

#: ``hold SIZE [SECONDS]``: takes GPU memory and keeps it.
HOLD = f"{sys.executable} -m fluxhive.testing"
SHARED = Request(gpus=1, gpu_memory_mib=8_192)
WHOLE = Request(gpus=1)
ON_CPU = Request(cpus=1)


class GpuHive(AgentHive):
    """One node with two cards of 80 GiB, in a directory."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.cards = home / "cards"
        self.cards.mkdir()
        self.uuids = [gpu.uuid for gpu in testing.make_gpus(self.cards, "2x80G")]
        self.env["FLOWHIVE_FAKE_GPUS"] = str(self.cards)
        self.start_server()
        self.start_agent()

    def breaks(self, index: int, **changes: object) -> None:
        """A card is from now on so."""
        testing.set_gpu(self.cards, index, **changes)

    def gpus(self) -> dict[str, GpuView]:
        """The cards as the server shows them, by UUID."""
        (node,) = self.transport().call("GET", "/api/v1/nodes", NodePage).items
        return {gpu.report.uuid: gpu for gpu in node.gpus}

    def uses(self, task: str, mib: int = 1) -> TaskView:
        """The task once the readings show so much of it."""

        def found() -> TaskView | None:
            view = self.task(task)
            used = view.attempts[-1].gpu_memory_used_mib if view.attempts else None
            return view if used is not None and used >= mib else None

        view: TaskView = until(found, limit_s=60, what=f"GPU memory of {task}")
        return view

    def waits(self, task: str, word: str) -> str:
        """Why the task waits, once the reason has this word."""

        def reason() -> str | None:
            told = [each.text for each in self.task(task).waiting]
            return next((text for text in told if word in text), None)

        found: str = until(reason, limit_s=60, what=f"{task} to wait because of `{word}`")
        return found


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[GpuHive]:
    hive = GpuHive(tmp_path)
    yield hive
    hive.close()


def test_a_lost_gpu_is_named_and_its_task_goes_elsewhere_uncounted(hive: GpuHive) -> None:
    """Fault 44."""
    task = hive.submit(f"{HOLD} 4G 60; exit 3", request=SHARED)
    first = hive.uses(task).attempts[0].reservation.gpus[0]
    hive.breaks(hive.uuids.index(first.uuid), state="lost")
    until(
        lambda: hive.gpus()[first.uuid].report.state is GpuState.FAULTY, what="the GPU to be faulty"
    )
    # What a driver does to the program of a lost card.
    kill_tree_of(hive.run_directory(f"{task}.1") / "started")
    view = until(
        lambda: ((v := hive.task(task)) and len(v.attempts) == 2 and v) or None,
        limit_s=60,
        what="a second attempt",
    )
    ended, second = view.attempts
    assert ended.outcome is not None
    assert ended.outcome.kind is OutcomeKind.GPU_FAULT
    assert "GPU is lost" in ended.outcome.detail
    assert second.reservation.gpus[0].uuid != first.uuid, "the other card is of use"
    assert hive.gpus()[first.uuid].report.state is GpuState.FAULTY
    hive.cancel(task)


def test_a_driver_that_does_not_answer_admits_nothing_and_comes_back(hive: GpuHive) -> None:
    """Fault 46."""
    hive.breaks(0, state="slow")
    until(lambda: all(gpu.report.stale for gpu in hive.gpus().values()), what="stale readings")
    on_gpu = hive.submit("exit 0", request=WHOLE)
    # Longer than a node may be silent: heartbeats go on while the driver's thread hangs.
    on_cpu = hive.submit("sleep 7", request=ON_CPU)
    assert hive.ended(on_cpu).state is TaskState.SUCCEEDED
    (node,) = hive.transport().call("GET", "/api/v1/nodes", NodePage).items
    assert node.state is NodeState.READY
    assert all(gpu.report.stale for gpu in node.gpus)
    assert hive.n_sessions() == 1
    assert hive.task(on_gpu).state is TaskState.QUEUED
    hive.breaks(0, state="ok")
    assert hive.ended(on_gpu).state is TaskState.SUCCEEDED


def test_an_index_that_moved_is_looked_up_when_a_task_is_launched(hive: GpuHive) -> None:
    """Fault 47: the first card goes, and the second one is then number 0."""
    hive.breaks(0, state="gone")
    until(
        lambda: hive.gpus()[hive.uuids[0]].report.state is GpuState.FAULTY,
        what="the card to be gone",
    )
    task = hive.submit(
        "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $FLUXHIVE_GPU_UUIDS", request=WHOLE
    )
    assert hive.ended(task).state is TaskState.SUCCEEDED
    assert hive.log(task, size=1).decode().split() == ["0", "PCI_BUS_ID", hive.uuids[1]]


def test_memory_of_strangers_is_respected_until_it_is_gone(hive: GpuHive) -> None:
    """Fault 48."""
    for index in (0, 1):
        hive.breaks(index, foreign_mib=78_000)
    until(
        lambda: all(gpu.report.foreign_mib > 70_000 for gpu in hive.gpus().values()),
        what="foreign use",
    )
    task = hive.submit("exit 0", request=SHARED)
    hive.waits(task, "GPU memory")
    hive.breaks(1, foreign_mib=0)
    view = hive.ended(task)
    assert view.state is TaskState.SUCCEEDED
    assert view.attempts[0].reservation.gpus[0].uuid == hive.uuids[1]


def test_who_goes_beyond_its_reservation_runs_out_by_its_own_doing(hive: GpuHive) -> None:
    task = hive.submit(f"{HOLD} 100G", request=SHARED, at_most_once=True)
    outcome = hive.ended(task).attempts[-1].outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.GPU_OOM
    assert outcome.oom is not None
    assert (outcome.oom.blame, outcome.oom.requested_mib) == (Blame.OWN, 102_400)


def test_a_victim_is_told_from_the_neighbour_that_took_its_memory(hive: GpuHive) -> None:
    hive.breaks(1, state="gone")
    gone = hive.uuids[1]
    until(lambda: hive.gpus()[gone].report.state is GpuState.FAULTY, what="one GPU is left")
    asks = hive.home / "asks"
    victim = hive.submit(
        f"{HOLD} 1G; while [ ! -e {asks} ]; do sleep 0.1; done; {HOLD} 6G",
        request=SHARED,
        at_most_once=True,
    )
    culprit = hive.submit(f"{HOLD} 74G 600", request=SHARED)
    hive.uses(culprit, 75_000)
    asks.touch()
    view = hive.ended(victim)
    outcome = view.attempts[-1].outcome
    assert outcome is not None
    assert outcome.kind is OutcomeKind.GPU_OOM
    assert outcome.oom is not None
    assert (outcome.oom.blame, outcome.oom.culprit) == (Blame.NEIGHBOUR, f"{culprit}.1")
    assert f"{culprit}.1 used 74.5 GiB with 8.0 GiB reserved" in view.reason
    hive.cancel(culprit)


def test_exit_1_after_words_about_memory_is_a_failure_and_so_is_a_kill(hive: GpuHive) -> None:
    """Fault 50."""
    lines = "for i in $(seq 60); do echo epoch $i loss 0.3 >&2; done"
    oom = "echo 'torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.' >&2"
    old = hive.submit(f"{oom}; {lines}; exit 1", request=SHARED)
    mentioned = hive.submit(
        "echo 'WARNING: CUDA out of memory, retrying' >&2; exit 1", request=SHARED
    )
    killed = hive.submit("kill -9 $$", request=SHARED)
    real = hive.submit(f"{oom}; exit 1", request=SHARED, at_most_once=True)
    kinds = []
    for task in (old, mentioned, killed, real):
        outcome = hive.ended(task).attempts[-1].outcome
        assert outcome is not None
        kinds.append(outcome.kind.value)
    assert kinds == ["failure", "failure", "failure", "gpu-oom"]


def test_a_peak_survives_the_agent_and_the_curve_the_server(hive: GpuHive) -> None:
    """The agent is killed after a peak, the server after that: both are there at the end."""
    drop, go = hive.home / "drop", hive.home / "go"
    task = hive.submit(
        f"{HOLD} 6G 600 & while [ ! -e {drop} ]; do sleep 0.1; done; kill $!; wait; {HOLD} 1G 2;"
        f" while [ ! -e {go} ]; do sleep 0.1; done",
        request=SHARED,
    )
    gpu = hive.uses(task, 6_500).attempts[0].reservation.gpus[0].uuid
    tallies = hive.run_directory(f"{task}.1") / "gpu-use"
    until(tallies.exists, what="the peak to be written down")
    hive.kill_agent()
    drop.touch()
    # The next agent sees nothing of it any more.
    until(lambda: sum(testing.uses(hive.cards, gpu).values()) < 2_000, what="the memory to go")
    hive.start_agent()
    path = f"/api/v1/attempts/{task}.1/usage"
    until(
        lambda: any(_peaks(hive.transport().call("GET", path, AttemptUsageView))),
        what="points of the curve",
    )
    assert hive.server is not None
    hive.server.terminate()
    hive.server.wait(30)
    hive.start_server()
    go.touch()
    view = hive.ended(task)
    facts = view.attempts[-1].facts
    assert facts is not None
    (peak,) = facts.gpu_peaks
    assert peak.peak_mib == 6_144 + testing.CONTEXT_MIB
    assert peak.mean_mib is not None
    curve = hive.transport().call("GET", path, AttemptUsageView)
    assert max(_peaks(curve)) == peak.peak_mib, "of before the server was ended"
    node = view.attempts[-1].node_id
    history = hive.transport().call(
        "GET", f"/api/v1/nodes/{node}/gpus/{peak.uuid}/history", GpuUsage
    )
    assert max(point.peak_mib for point in history.points) >= peak.peak_mib


def test_a_node_without_a_driver_says_why_and_runs_what_needs_no_gpu(tmp_path: Path) -> None:
    """Fault 45."""
    hive = AgentHive(tmp_path)
    try:
        hive.start_server()
        hive.start_agent(LD_LIBRARY_PATH=str(tmp_path))
        task = hive.submit("exit 0", request=ON_CPU)
        assert hive.ended(task).state is TaskState.SUCCEEDED
        (node,) = hive.transport().call("GET", "/api/v1/nodes", NodePage).items
        assert node.driver.startswith("no NVIDIA GPUs: ")
    finally:
        hive.close()


def _peaks(view: AttemptUsageView) -> list[int]:
    return [point.peak_mib for gpu in view.gpus for point in gpu.points]

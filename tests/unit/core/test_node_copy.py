"""Copies of nodes are the same nodes, and playing with them leaves the hive as it is."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fluxhive.core.node import GpuState, HeldAttempt, HeldPhase, Node, NodeState
from fluxhive.core.node_copy import copy_of, copy_unpromised
from fluxhive.core.node_record import GpuRecord, NodeRecord
from fluxhive.core.policy import HIVE
from fluxhive.core.request import GpuShare, Reservation
from fluxhive.core.room_index import RoomIndex
from fluxhive.core.values import AttemptId, GpuUuid, NodeId, TaskId
from tests.helpers import factories
from tests.helpers.factories import mib

A, B = AttemptId("a.1"), AttemptId("b.1")


def share_of(gpu: str, size: str) -> Reservation:
    share = GpuShare(
        uuid=GpuUuid(gpu), index=0, gpu_memory_mib=mib(size) or 0, utilization_percent=30
    )
    return Reservation(node_id=NodeId("n1"), gpus=(share,), cpus=2)


def busy_node() -> NodeRecord:
    """Two GPUs: one in use, the other promised; and something of everything else."""
    inventory = factories.inventory(
        factories.gpu("g0", 0, uses={A: "12G"}), factories.gpu("g1", 1), cpus=8
    )
    record = NodeRecord(
        Node(id=NodeId("n1"), label="n1", state=NodeState.READY, inventory=inventory)
    )
    record.set_open(True)
    record.hold(A, share_of("g0", "10G"))
    record.expect_end(A, 5_000)
    record.gpus[GpuUuid("g1")].promised = TaskId("gang"), 9_000
    record.blocked_tasks[TaskId("t")] = None
    record.unknown[B] = HeldAttempt(attempt_id=B, epoch=1, phase=HeldPhase.RUNNING)
    return record


def fields(record: NodeRecord | GpuRecord) -> dict[str, Any]:
    """All that it knows, GPUs by what they know, and not where it names itself."""
    found = {
        name: getattr(record, name) for name in type(record).__slots__ if name not in ("touched",)
    }
    if isinstance(record, NodeRecord):
        found["gpus"] = {uuid: fields(gpu) for uuid, gpu in record.gpus.items()}
        found["changed"] = [gpu.report.uuid for gpu in record.changed]
    return deepcopy(found)


def test_a_copy_takes_what_the_node_takes() -> None:
    record = busy_node()
    copied = copy_of(record, {})
    theirs, ours = fields(copied), fields(record)
    for own in ("blocked_tasks", "unknown", "changed", "is_kind_new"):
        del theirs[own], ours[own]
    assert theirs == ours
    assert not copied.blocked_tasks
    assert not copied.unknown


def test_whatever_is_done_to_a_copy_leaves_the_node_as_it_is() -> None:
    record = busy_node()
    before, touched = fields(record), dict(record.touched)
    copied = copy_of(record, {})
    copied.hold(B, share_of("g0", "20G"))
    copied.expect_end(B, 70_000)
    copied.clear_usage(A)
    copied.let_go(A)
    copied.blocked_tasks[TaskId("other")] = None
    copied.unknown.clear()
    copied.mark_dirty((GpuUuid("g1"),), "as if")
    copied.gpus[GpuUuid("g0")].promised = TaskId("t"), 1
    copied.set_open(False)
    assert fields(record) == before
    assert record.touched == touched
    assert record.gpus[GpuUuid("g1")].report.state is GpuState.HEALTHY


def test_a_copy_is_found_by_the_index_it_was_made_for_and_by_no_other() -> None:
    record = busy_node()
    theirs = RoomIndex(HIVE)
    record.touched = theirs.touched
    theirs.touched.clear()
    ours = RoomIndex(HIVE)
    copied = copy_of(record, ours.touched)
    assert ours.n_taking == 1
    copied.let_go(A)
    assert ours.touched == {NodeId("n1"): copied}
    assert not theirs.touched


def test_a_copy_without_promises_keeps_those_of_the_node() -> None:
    record = busy_node()
    copied = copy_unpromised(record)
    assert [gpu.promised for gpu in copied.gpus.values()] == [None, None]
    assert record.gpus[GpuUuid("g1")].promised == ("gang", 9_000)
    copied.let_go(A)
    assert list(record.holders) == [A]

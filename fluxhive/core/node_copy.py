"""Copies of nodes to play with: what is held, promised and booked on them, nothing else of a hive.

Called by rollout.py and preemption.py, which change the copies and ask placement about them.
"""

from __future__ import annotations

from typing import TypeVar

from .node_record import GpuRecord, NodeRecord
from .values import NodeId

_T = TypeVar("_T", GpuRecord, NodeRecord)


def copy_of(record: NodeRecord, touched: dict[NodeId, NodeRecord]) -> NodeRecord:
    """The same node with the same reservations, which names itself there when it changes."""
    copied = _same(record)
    copied.gpus = {uuid: _gpu(gpu) for uuid, gpu in record.gpus.items()}
    copied.holders, copied.ends = dict(record.holders), dict(record.ends)
    copied.blocked_tasks, copied.unknown, copied.changed = {}, {}, {}
    copied.is_kind_new = True
    copied.touched = touched
    touched[record.node.id] = copied
    return copied


def copy_unpromised(record: NodeRecord) -> NodeRecord:
    """The same as if nothing of it were promised to anybody."""
    copied = copy_of(record, {})
    for gpu in copied.gpus.values():
        gpu.promised = None
    return copied


def _gpu(gpu: GpuRecord) -> GpuRecord:
    copied = _same(gpu)
    copied.shares, copied.utilizations = dict(gpu.shares), dict(gpu.utilizations)
    return copied


def _same(record: _T) -> _T:
    """Another record whose every field is the same thing."""
    kind = type(record)
    copied = kind.__new__(kind)
    for field in kind.__slots__:
        setattr(copied, field, getattr(record, field))
    return copied

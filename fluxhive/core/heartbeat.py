"""What a heartbeat means: contact, and the GPUs as they are.

Most say that all is as it was, but for figures that nobody decides by: ``is_news`` tells them from
the others, so that a shell may hand them in together. Called by node_contact.py and, to look, by
task_manager.py. Not here: what a reading makes of a node's room (node_record.py).
"""

from __future__ import annotations

from msgspec.structs import replace

from . import nodes_off, use_watch
from .events import NodeReported
from .hive_state import HiveState
from .node import GpuReport, NodeState
from .node_record import NodeRecord
from .timers import TimerKind
from .values import GpuUuid


def reported(hive: HiveState, event: NodeReported) -> None:
    """A heartbeat of the present session."""
    record = hive.nodes[event.node_id]
    record.contact_at_ms = hive.now_ms
    if not _is_news(hive, record, event.gpus):
        for report in event.gpus:
            record.gpus[report.uuid].report = report
        return
    before = {uuid: gpu.report for uuid, gpu in record.gpus.items()}
    grew, differs = record.read(event.gpus)
    if record.node.state is not NodeState.READY:
        hive.put_node(replace(record.live(), state=NodeState.READY), "heard again")
        hive.timers.set(
            TimerKind.SILENCE, record.node.id, hive.now_ms + hive.settings.silent_after_ms
        )
    if changes := _changes(record, before):
        hive.put_node(record.live(), "; ".join(changes))
    if grew:
        hive.roomy[record.node.id] = record
    use_watch.noted(hive, record)
    if differs:
        nodes_off.unblock_all(hive, record)
    elif record.blocked_tasks:
        for task_id in list(record.blocked_tasks):
            if not hive.tasks[task_id].spec.request.gpus:
                nodes_off.unblock(hive, task_id, record.node.id)


def is_news(hive: HiveState, event: NodeReported) -> bool:
    """Whether anything but the time of the last contact, and figures, would change by it."""
    record = hive.nodes.get(event.node_id)
    return record is not None and _is_news(hive, record, event.gpus)


def _is_news(hive: HiveState, record: NodeRecord, reports: tuple[GpuReport, ...]) -> bool:
    if record.node.state is not NodeState.READY or record.blocked_tasks:
        return True
    if not reports:
        return False
    known = record.gpus
    if len(reports) != len(known):
        return True
    # In the order of the hello, as agents say them; another order is looked at in full.
    for report, gpu in zip(reports, known.values(), strict=True):
        if _differs(gpu.report, report):
            return True
        if report.attempts and use_watch.has_grown(hive, gpu, report):
            return True
    return False


def _differs(before: GpuReport, report: GpuReport) -> bool:
    """In anything that placement goes by."""
    return (
        report.uuid != before.uuid
        or report.state is not before.state
        or report.foreign_mib != before.foreign_mib
        or report.stale is not before.stale
        or report.total_mib != before.total_mib
        or report.model != before.model
        or report.attempts != before.attempts
    )


def _changes(record: NodeRecord, before: dict[GpuUuid, GpuReport]) -> list[str]:
    """Which GPUs are in another state now, or are read though no hello named them, for people."""
    reports = [gpu.report for gpu in record.gpus.values()]
    return [
        f"GPU {report.index} is {report.state.value}"
        + (f": {report.state_reason}" if report.state_reason else "")
        for report in sorted(reports, key=lambda report: (report.index, report.uuid))
        if report.uuid in before and _is_new(before[report.uuid], report)
    ]


def _is_new(before: GpuReport, report: GpuReport) -> bool:
    # Of a GPU that attempts hold and that the node does not name any more nothing is known (0 MiB);
    # once it is read the hive has it again.
    return before.state is not report.state or bool(before.total_mib) is not bool(report.total_mib)

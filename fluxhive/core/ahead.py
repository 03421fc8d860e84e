"""Sends short tasks to a node ahead of the place that they take, so that it starts them itself.

Between the end of one attempt and the start of the next lie two journals and the way there and
back: for a task of a few milliseconds that is most of the time. A task that is short by all that is
known may therefore be sent while another short one still runs: *after* it, into its place. Until
its turn it holds nothing, so that no law about room changes; when the attempt before it has ended
(turns.py) it holds what it asked for, which is no more than that one held. What runs on all the
same is waited for ``TURN_MS`` (task.py); then the node hands the waiting one back, uncounted.

Called by placement_pass.py when nothing fits any more.
"""

from __future__ import annotations

from typing import NamedTuple

from .arrays import next_member
from .capability import AHEAD, missing
from .hive_state import HiveState
from .lines import Line
from .node_record import NodeRecord
from .placement import capacity_misfit
from .policy import Backfill
from .request import Request, Reservation
from .task import AttemptState, Turn
from .turns import Row, lasts_ms
from .values import Ms, TaskId

#: All that wait in one row: how many, and for how long together.
ROW_MAX = 16
ROW_MS: Ms = 1_000
#: Rows that are looked at for one task, and shapes of the queue, the best first.
ROWS_MAX = 64
_SHAPES_MAX = 16
_GOING_ON = (AttemptState.RESERVED, AttemptState.STARTING, AttemptState.RUNNING)


class Ahead(NamedTuple):
    """Who is sent ahead, and into whose place."""

    line: Line
    task_id: TaskId
    turn: Turn


def next_ahead(hive: HiveState) -> Ahead | None:
    """Who is to be sent ahead next; None: nobody."""
    if not hive.turns.rows or hive.urgent or hive.policy.backfill is Backfill.NONE:
        return None
    for line, task_id in _heads(hive):
        task = hive.tasks[task_id]
        if task.spec.array is not None:
            task = next_member(hive, task)
        if lasts_ms(hive, task) is None:
            continue
        for row in hive.turns.some_rows(ROWS_MAX):
            turn = _turn_in(hive, row, line)
            if turn is not None:
                return Ahead(line, task_id, turn)
    return None


def nothing_on(turn: Turn) -> Reservation:
    """What an attempt holds of its node until its turn."""
    return Reservation(node_id=turn.reservation.node_id, cpus=0, memory_mib=0)


def _heads(hive: HiveState) -> list[tuple[Line, TaskId]]:
    """The best of each shape that asks for no GPU, in the order of the queue."""
    found: list[tuple[int, int, Line]] = []
    for shape in hive.queue.shapes.values():
        request = shape.key.request
        entry = None if request.gpus or request.nodes > 1 else shape.best()
        if entry is not None:
            found.append((entry[0], entry[1], entry[3]))
    found.sort(key=lambda each: each[:2])
    heads = [(line, line.head) for _, _, line in found[:_SHAPES_MAX]]
    return [(line, head.task_id) for line, head in heads if head is not None]


def _turn_in(hive: HiveState, row: Row, line: Line) -> Turn | None:
    """The place at the end of a row, if a line's head may take it."""
    after = hive.attempts[row.last]
    is_lost = after.fenced_at_ms is not None
    if row.over_ms + ROW_MS < hive.now_ms or after.state not in _GOING_ON or is_lost:
        # It runs on for longer than was thought, is being stopped, or its node does not know it any
        # more: nobody waits for that.
        del hive.turns.rows[row.first]
        return None
    if row.n_waiting >= ROW_MAX or row.over_ms > hive.now_ms + ROW_MS:
        return None
    held = after.reservation if after.turn is None else after.turn.reservation
    request = line.shape.key.request
    mine = Reservation(
        node_id=after.node_id,
        cpus=request.cpus,
        memory_mib=request.memory_mib or 0,
        learned_memory_mib=line.need.learned_memory_mib,
    )
    is_large = mine.counted_memory_mib > held.counted_memory_mib or mine.cpus > held.cpus
    if is_large or not _takes(hive.nodes[after.node_id], line, request):
        return None
    return Turn(after=after.id, reservation=mine)


def _takes(record: NodeRecord, line: Line, request: Request) -> bool:
    """Whether a node would take the line's head if it had room."""
    node = record.node
    if not record.takes or not record.serves(line.key.owner) or node.id in line.key.excluded:
        return False
    if missing((*line.need.capabilities, AHEAD), node.capabilities):
        return False
    if request.on_nodes and node.label not in request.on_nodes:
        return False
    return capacity_misfit(request, node.id, node.inventory) is None

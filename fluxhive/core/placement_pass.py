"""One pass over the queue: whoever is first and fits starts.

A pass looks only where something changed: classes of tasks that are new are tried on every node,
all others on nodes where room may have appeared. Nobody blocks those behind: whatever fits starts.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace

from msgspec.structs import replace

from . import arrays
from .gang import new_members
from .hive_state import HiveState
from .ids import attempt_id
from .placement import find
from .rendezvous import meets, rendezvous_port
from .request import Reservation
from .task import Attempt, AttemptState, TaskState
from .task_queue import QueueClass
from .values import TaskId


def place_waiting(hive: HiveState) -> None:
    """Start every waiting task that fits, in order of priority and submission."""
    queue, roomy = hive.queue, hive.roomy
    if roomy:
        lines = list(queue.classes.values())
        hive.roomy = {}
    elif queue.unproven:
        lines = [queue.classes[key] for key in queue.unproven]
    else:
        return
    heads: list[tuple[int, int, TaskId, QueueClass]] = []
    for line in lines:
        head = line.head()
        assert head is not None, "a line of the queue is empty"
        heads.append((*head, line))
    heapify(heads)
    while heads:
        *known, line = heads[0]
        head = line.head()
        if head is None:
            heappop(heads)
            continue
        if head != tuple(known):
            # Whoever was first went out of line: enough members of its array run.
            heapreplace(heads, (*head, line))
            continue
        # A gang may need room that was there before beside room that appeared.
        alone = line.request.nodes == 1
        nodes = roomy if line.is_proven and alone else hive.nodes
        fit = find(line.request, line.owner, line.excluded, nodes.values())
        if fit is None:
            # Nobody in this line fits: it is out of the pass.
            heappop(heads)
            continue
        _start(hive, head[2], fit)
    queue.mark_proven()


def _start(hive: HiveState, task_id: TaskId, reservations: tuple[Reservation, ...]) -> None:
    old = hive.tasks[task_id]
    if old.spec.array is not None:
        old = arrays.next_member(hive, old)
        task_id = old.id
    number, epoch, channel = old.attempts + 1, old.epoch + 1, hive.last_channel + 1
    on = ", ".join(hive.nodes[reservation.node_id].node.label for reservation in reservations)
    first = reservations[0]
    attempt = Attempt(
        id=attempt_id(task_id, number),
        task_id=task_id,
        number=number,
        epoch=epoch,
        channel=channel,
        state=AttemptState.RESERVED,
        node_id=first.node_id,
        reservation=first,
        reserved_at_ms=hive.now_ms,
        gang=new_members(reservations),
        rendezvous_port=rendezvous_port(hive, first.node_id, channel) if meets(old.spec) else 0,
    )
    hive.put_task(
        replace(
            old,
            state=TaskState.ACTIVE,
            attempts=number,
            epoch=epoch,
            not_before_ms=0,
            reason=f"attempt {number} on {on}",
        )
    )
    hive.put_attempt(attempt, f"placed on {on}")
    for member in attempt.members:
        hive.say_dispatch(attempt, member)
    arrays.started(hive, old)

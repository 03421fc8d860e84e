"""The laws of the hive, written once: what must hold after every event.

``check`` looks at a manager as it stands; ``StepLaws`` looks at one step, its effects against what
was before. Both raise ``AssertionError`` naming the law. They run after every event in tests and
in the simulator, and once when a hive is restored. The numbers are those used all over the code:

 1 a task is active if and only if exactly one attempt of it has not ended
 2 ended tasks and attempts never change (a late report is kept beside an attempt's end)
 3 every reservation belongs to exactly one live attempt; sums agree, GPU by GPU
 4 nothing is reserved beyond what a GPU or a node has; exclusive means alone; no GPU is offered
   by two nodes
 5 at placement, reservations, foreign use and headroom stay within the GPU
 6 a gang holds all or nothing: it is dispatched whole, keeps every part until the last has ended,
   its state follows from its members', and once one has failed all others are being stopped
 7 nothing new is dispatched to a node that is silent, lost or draining, or to a GPU out of use
 8 a dispatch carries the node's session; epochs grow within a task
 9 a task's next attempt comes after the end of the one before; an end without the node's word
   comes after the fence, or with a person's word or the node's return
10 attempts stay within retries, restarts, preemptions, the few that a neighbour's use of the GPU
   ended (free of charge, oom_repair.py) and those that were handed back
12 held tasks have a holder (a person, a start time, other tasks), others none; what a task waits
   for has not ended, and it is freed only by an end as wanted; members wait for what their array
   waits for
13 whoever is placed had nobody before them that fits
14 ``next_wakeup()`` is later than now, or None
15 every change of a record has exactly one save, and one publish right after it
17 an event that is handled twice starts nothing new
18 every queued task has a reason to wait
19 unknown ids, old sessions and wrong epochs change nothing
21 what could be placed is placed
24 of an array each member waits, lives or has ended, once; no more run than may at once; it is
   active when none waits to be made, and ended when none is left
25 nobody is placed beyond a quota of its user or project, and who stands in line would not be
26 whoever was sent ahead holds nothing until its turn, waits for a live attempt on its own node,
   each for another, and will hold no more than that one
27 nobody is placed on a GPU that is booked for others, unless expected to be done before; two
   bookings never have one GPU at once
28 what users and projects are charged is what their live attempts cost, and what the hive has is
   what its nodes have

Law 11 speaks of repair after running out of memory, 20, 22 and 23 of what comes in the end (tests);
16 (restore behaves the same), 17 and 19 need two runs and stand in tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .array_laws import check_array
from .arrays import find_task
from .booking_laws import check_bookings
from .explain import explain
from .gang import lingers
from .line_up import line_key, place_of, terms_of
from .node import NodeState
from .node_record import NodeRecord
from .oom_repair import VICTIM_FREE_MAX
from .outcome import OutcomeKind
from .placement import find
from .policy import Backfill
from .quota_laws import check_quotas
from .retry import is_uncounted
from .share_laws import check_shares
from .task import Attempt, AttemptState, Task, TaskState
from .timers import TimerKind
from .turn_laws import check_turns
from .values import AttemptId, Mib, NodeId

if TYPE_CHECKING:
    from .task_manager import TaskManager


_ENDING = (AttemptState.STOPPING, AttemptState.ENDED)
#: Where a task may be once somebody wants it cancelled.
_AFTER_CANCEL = (TaskState.ACTIVE, TaskState.CANCELLED)


def check(manager: TaskManager, *, full: bool) -> None:
    """The laws that speak of a hive as it stands; ``full`` also those that cost a scan of all."""
    hive = manager.hive
    wakeup_ms = manager.next_wakeup()
    if not full:
        assert wakeup_ms is None or wakeup_ms > hive.now_ms, f"law 14: due at {wakeup_ms} already"
        return
    for task in hive.tasks.values():
        _check_task(manager, task)
    owners: dict[str, str] = {}
    for record in hive.nodes.values():
        _check_node(manager, record)
        if record.node.state is NodeState.READY:
            for report in record.node.inventory.gpus:
                owner = owners.setdefault(report.uuid, record.node.id)
                assert owner == record.node.id, f"law 4: {report.uuid} is in two ready nodes"
    holders_of: dict[AttemptId, set[NodeId]] = {}
    for record in hive.nodes.values():
        for attempt_id in record.holders:
            holders_of.setdefault(attempt_id, set()).add(record.node.id)
    for attempt in hive.attempts.values():
        alive = attempt.state is not AttemptState.ENDED
        due = {reservation.node_id for reservation in attempt.reservations} if alive else set()
        real = holders_of.get(attempt.id, set())
        assert real == due, f"law 3 and 6: {attempt.id} {attempt.state} holds on {real}, not {due}"
        _check_gang(manager, attempt)
    check_turns(hive)
    for array in hive.arrays.values():
        check_array(hive, array)
    check_quotas(hive)
    check_bookings(hive)
    check_shares(hive)
    _check_queue(manager)


def _check_gang(manager: TaskManager, attempt: Attempt) -> None:
    members, n_nodes = attempt.members, manager.hive.spec_of(attempt).request.nodes
    if attempt.state is AttemptState.ENDED:
        # An edit after its end may ask for more nodes or fewer.
        n_nodes = len(members)
    assert len(members) == n_nodes, f"law 6: {attempt.id} has {len(members)} of {n_nodes} members"
    if not attempt.gang:
        return
    ranks = [member.rank for member in members]
    assert ranks == list(range(n_nodes)), f"law 6: ranks of {attempt.id}: {ranks}"
    n_places = len({member.node_id for member in members})
    assert n_places == n_nodes, f"law 6: {attempt.id} is twice on a node"
    ended = [member for member in members if member.state is AttemptState.ENDED]
    is_over = attempt.state is AttemptState.ENDED
    assert is_over == (len(ended) == n_nodes), f"law 6: {attempt.id} is {attempt.state}: {members}"
    kinds = {member.outcome.kind for member in ended if member.outcome is not None}
    if kinds - {OutcomeKind.SUCCESS}:
        going_on = [m.rank for m in members if m.state not in _ENDING]
        assert not going_on, f"law 6: ranks {going_on} of {attempt.id} go on though one has failed"
    until_ms = manager.hive.timers.at_ms(TimerKind.LINGER, attempt.id)
    assert (until_ms is not None) == lingers(attempt), f"law 6: {attempt.id} waits to {until_ms}"
    if attempt.outcome is not None and attempt.outcome.kind is OutcomeKind.SUCCESS:
        assert kinds == {OutcomeKind.SUCCESS}, f"law 6: {attempt.id} succeeded with {kinds}"


def _check_task(manager: TaskManager, task: Task) -> None:
    hive = manager.hive
    attempts = manager.attempts_of(task.id)
    live = [attempt for attempt in attempts if attempt.state is not AttemptState.ENDED]
    is_active = task.state is TaskState.ACTIVE and task.spec.array is None
    assert len(live) == is_active, f"law 1: {task.id} is {task.state} with {len(live)} live"
    assert hive.live_of.get(task.id) == (live[0].id if live else None), f"law 1: {task.id}"
    held_well = task.is_held == (task.state is TaskState.HELD)
    assert held_well, f"law 12: {task.id} is {task.state}, held by {task.held_by}"
    for dependency in task.waits_for:
        other = find_task(hive, dependency.task_id)
        waits = other is not None and not other.state.is_final
        assert waits, f"law 12: {task.id} waits for {dependency.task_id}, which has ended"
    epochs = [attempt.epoch for attempt in attempts]
    assert epochs == sorted(set(epochs)), f"law 8: epochs of {task.id}: {epochs}"
    assert not epochs or task.epoch >= epochs[-1], f"law 8: {task.id} forgot its epoch"
    n_counted = sum(
        attempt.outcome is None or not is_uncounted(attempt.outcome) for attempt in attempts
    )
    free = task.preemptions + task.neighbour_ooms
    allowed = 1 + task.retries_used + task.restarts_used + free
    assert n_counted <= allowed, f"law 10: {task.id} had {n_counted} attempts of {allowed}"
    spec = task.spec
    assert task.retries_used <= spec.retry, f"law 10: {task.id} retried {task.retries_used} times"
    assert task.restarts_used <= spec.restarts, f"law 10: {task.id} restarted too often"
    n_victim = task.neighbour_ooms
    assert n_victim <= VICTIM_FREE_MAX, f"law 10: {task.id} was {n_victim} times a free victim"
    once = task.retries_used + task.restarts_used + n_victim
    assert not (spec.at_most_once and once), f"law 10: {task.id} was to start at most once"
    wanted = task.cancelled_by is None
    assert wanted or task.state in _AFTER_CANCEL, f"cancel is final: {task.id} is {task.state}"
    if task.state is not TaskState.QUEUED:
        assert task.id not in hive.queue, f"{task.id} is {task.state} and in line"


def _check_node(manager: TaskManager, record: NodeRecord) -> None:
    hive, node = manager.hive, record.node
    sums: dict[str, Mib] = {}
    alone: dict[str, AttemptId] = {}
    for attempt_id, held in record.holders.items():
        attempt = hive.attempts.get(attempt_id)
        known = attempt is not None and attempt.state is not AttemptState.ENDED
        assert known, f"law 3: {attempt_id} holds on {node.label} and does not live"
        is_its = attempt is None or held in attempt.reservations
        assert is_its, f"law 3: {attempt_id} on {node.id}"
        assert held.node_id == node.id, f"law 3: {attempt_id} holds {held.node_id} on {node.id}"
        for share in held.gpus:
            sums[share.uuid] = sums.get(share.uuid, 0) + share.gpu_memory_mib
            if held.exclusive:
                alone[share.uuid] = attempt_id
    for uuid, gpu in record.gpus.items():
        total = gpu.report.total_mib
        assert gpu.reserved == sums.pop(uuid, 0), f"law 3: sum of {uuid}: {gpu.reserved}"
        assert gpu.reserved == sum(gpu.shares.values()), f"law 3: shares of {uuid}"
        # Live use may have raised a reservation past what there is: then nothing more is placed.
        within = 0 <= gpu.reserved <= total or total == 0 or gpu.free_mib < 0
        assert within, f"law 4: {gpu.reserved} of {total} MiB reserved on {uuid}"
        assert uuid not in alone or len(gpu.shares) == 1, f"law 4: {alone[uuid]} is not alone"
        assert gpu.exclusive == alone.get(uuid), f"law 4: {uuid} thinks {gpu.exclusive}"
    assert not sums, f"law 3: reserved on GPUs that {node.label} does not have: {sums}"
    unknown = record.unknown.values()
    cpus = sum(held.cpus for held in record.holders.values())
    cpus += sum(claim.cpus for claim in unknown)
    assert record.free_cpus == node.inventory.cpus - cpus, f"law 3: CPUs of {node.label}"
    memory = sum(held.counted_memory_mib for held in record.holders.values())
    memory += sum(claim.memory_mib for claim in unknown)
    left = node.inventory.memory_mib - memory
    assert record.free_memory_mib == left, f"law 3: memory of {node.label}"
    takes = record.is_open and node.state is NodeState.READY and not node.draining
    assert record.takes == takes, f"law 7: {node.label} takes {record.takes}"
    n_whole = sum(gpu.is_whole for gpu in record.gpus.values())
    assert record.n_whole_gpus == n_whole, f"law 4: {node.label} has {n_whole} whole GPUs"


def _check_queue(manager: TaskManager) -> None:
    hive = manager.hive
    first = min(
        (entry[:2] for each in hive.queue.shapes.values() if (entry := each.best())), default=None
    )
    for key, line in hive.queue.lines.items():
        head, shape = line.head, line.shape
        assert head is not None, "a line of the queue is empty"
        assert line in shape.lines, f"the line of {head.task_id} stands in no shape"
        assert shape.best() is not None, f"the shape of {head.task_id} has no best"
        asks = shape.key
        terms = terms_of(hive, line, head.task_id)
        fit = find(asks.request, asks.owner, asks.excluded, hive.nodes.values(), terms)
        indexed = hive.room.find(asks.request, asks.owner, asks.excluded, terms)
        assert indexed == fit, f"law 21: {head.task_id} fits {fit}, by the index {indexed}"
        passes = hive.policy.backfill is not Backfill.NONE or (line.rank, head.number) == first
        assert fit is None or not passes, f"law 21: {head.task_id} would fit: {fit}"
        for place in line.in_order():
            task_id = place.task_id
            task = hive.tasks[task_id]
            assert task.state is TaskState.QUEUED, f"{task_id} is in line and {task.state}"
            assert line_key(hive, task) == key, f"{task_id} stands in the wrong line"
            is_there = place == place_of(hive, task) == line.place_of(task_id)
            assert is_there, f"law 13: {task_id} stands in the wrong place"
        # Cheap for one, but the laws are asked after every event: the head speaks for all.
        assert explain(hive, head.task_id), f"law 18: nothing explains why {head.task_id} waits"
    for task in hive.tasks.values():
        if task.state is TaskState.QUEUED and task.id not in hive.queue:
            waits = task.not_before_ms > hive.now_ms or hive.is_kept_out(task)
            assert waits, f"law 21: {task.id} is queued, in no line and in no pause"
            assert explain(hive, task.id), f"law 18: nothing explains why {task.id} waits"

"""Room for urgent work and for overdue promises: which running tasks give way, if any may.

An urgent task that fits nowhere is given the room of tasks of lower priority that allow it, have
had the run time that they were guaranteed, and were not preempted too often lately. So is a gang
whose promise is an hour late, when all that is still on its GPUs may give way. They get their
checkpoint signal and their grace, and go back to where they stood in the queue; that counts neither
as a retry nor as a restart. One round at a time: while tasks give way, no others do. Called by
task_manager.py after placement. Suspending a task in place would be another way to carry out what
is decided here.
"""

from __future__ import annotations

from . import nodes_off, promises
from .attempt_end import stop_attempt
from .capability import needed
from .hive_state import HiveState
from .node import NodeState
from .node_copy import copy_unpromised
from .node_record import NodeRecord
from .outcome import StopCause
from .placement import Terms, find
from .request import Request
from .spec import Priority
from .task import Attempt, AttemptState, Task
from .values import AttemptId, Ms, NodeId

#: Within so long a task is preempted no more often than the settings say.
DAY_MS: Ms = 86_400_000


def make_room(hive: HiveState) -> None:
    """Stop what has to give way to urgent tasks that wait; nothing where preemption is off."""
    if not hive.settings.preemption or not hive.preemptible:
        return
    overdue = promises.overdue(hive)
    if not hive.urgent and not overdue:
        return
    if any(_gives_way(hive, hive.attempts[attempt_id]) for attempt_id in hive.preemptible):
        return
    # In an order that a restored hive has, too.
    for task_id in sorted(hive.urgent, key=lambda each: hive.tasks[each].number):
        task = hive.tasks[task_id]
        if task_id not in hive.queue or task.spec.request.nodes > 1:
            continue
        victims = _victims(hive, task)
        if victims:
            for attempt in victims:
                why = f"makes room for {task_id}, which is urgent"
                stop_attempt(hive, attempt, StopCause.PREEMPT, why)
            return
    for task_id in overdue:
        late = _late(hive, hive.tasks[task_id])
        if late:
            for attempt in late:
                why = f"makes room for {task_id}, whose promise is overdue"
                stop_attempt(hive, attempt, StopCause.PREEMPT, why)
            return


def may_give_way(hive: HiveState, attempt: Attempt) -> bool:
    """Whether an attempt may be stopped to make room now."""
    task = hive.tasks[attempt.task_id]
    if attempt.state is not AttemptState.RUNNING or attempt.started_at_ms is None:
        return False
    if not task.spec.preemptible or task.priority is Priority.URGENT:
        return False
    if task.cancelled_by is not None or hive.now_ms < attempt.started_at_ms + task.spec.min_run_ms:
        return False
    lately = [at_ms for at_ms in task.preempted_at_ms if at_ms > hive.now_ms - DAY_MS]
    return len(lately) < hive.settings.preemptions_per_day


def _gives_way(hive: HiveState, attempt: Attempt) -> bool:
    """Whether it is being stopped to make room, by a node that can be expected to do so."""
    node = hive.nodes[attempt.node_id].node
    is_stopping = attempt.state is AttemptState.STOPPING
    return is_stopping and attempt.stop_cause is StopCause.PREEMPT and node.state is NodeState.READY


def _late(hive: HiveState, holder: Task) -> list[Attempt]:
    """Who is still on the GPUs that a gang was promised; empty when one of them has to stay."""
    assert holder.promise is not None, f"{holder.id} holds no promise"
    found: dict[AttemptId, Attempt] = {}
    for _, gpu in promises.gpus_of(hive, holder.promise):
        for attempt_id in gpu.shares:
            attempt = hive.attempts[attempt_id]
            is_above = hive.tasks[attempt.task_id].priority.rank < holder.priority.rank
            if is_above or not may_give_way(hive, attempt):
                return []
            found[attempt_id] = attempt
    return list(found.values())


def _victims(hive: HiveState, task: Task) -> list[Attempt]:
    """The fewest attempts of one node whose room would do, lowest priority and newest first."""
    by_node: dict[NodeId, list[Attempt]] = {}
    for attempt_id in hive.preemptible:
        attempt = hive.attempts[attempt_id]
        if may_give_way(hive, attempt):
            for member in attempt.members:
                by_node.setdefault(member.node_id, []).append(attempt)
    best: list[Attempt] = []
    best_key: tuple[int, int, str] | None = None
    for node_id, attempts in by_node.items():
        if nodes_off.is_excluded(hive, task.id, node_id):
            continue
        chosen = _fewest(hive, task, hive.nodes[node_id], attempts)
        if not chosen:
            continue
        highest = min(hive.tasks[attempt.task_id].priority.rank for attempt in chosen)
        key = (len(chosen), -highest, node_id)
        if best_key is None or key < best_key:
            best, best_key = chosen, key
    return best


def _fewest(
    hive: HiveState, task: Task, record: NodeRecord, attempts: list[Attempt]
) -> list[Attempt]:
    """Of a node's attempts those that have to go so that the task fits; empty: it never would."""

    def order(attempt: Attempt) -> tuple[int, int, str]:
        rank = hive.tasks[attempt.task_id].priority.rank
        return -rank, -(attempt.started_at_ms or 0), attempt.id

    # What it needs by what was learned, as placement will ask.
    line = hive.queue.line_of(task.id)
    request = task.spec.request if line is None else line.need.request
    memory_mib = 0 if line is None else line.need.learned_memory_mib
    terms = Terms(capabilities=needed(task.spec), learned_memory_mib=memory_mib)
    copied, gone = copy_unpromised(record), list[Attempt]()
    for attempt in sorted(attempts, key=order):
        if _fits(request, task, copied, terms):
            break
        copied.clear_usage(attempt.id)
        copied.let_go(attempt.id)
        gone.append(attempt)
    if not _fits(request, task, copied, terms):
        return []
    # Of those that went, some may stay: the last ones gave the room that was missing.
    for attempt in list(gone[:-1]):
        fewer = [each for each in gone if each is not attempt]
        copied = copy_unpromised(record)
        for each in fewer:
            copied.clear_usage(each.id)
            copied.let_go(each.id)
        if _fits(request, task, copied, terms):
            gone = fewer
    return gone


def _fits(request: Request, task: Task, record: NodeRecord, terms: Terms) -> bool:
    return find(request, task.owner, (), [record], terms) is not None

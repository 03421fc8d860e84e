"""What becomes of arrays: members made from them, their end, and what people want of the whole.

An array is one task with one entry in the queue. It is queued (or held) while members of it wait
to be made, active while only members live, and ends after its last member. A member becomes a task
of its own when it first leaves the queue: placed, cancelled or held by itself. From then on it is
a task like any other, with its own attempts and retries.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from .array import member_id, split_member
from .array_record import ArrayRecord
from .hive_state import HiveState
from .outcome import Outcome, OutcomeKind
from .signature import signature
from .task import TASK_MOVES, Task, TaskSpec, TaskState
from .values import TaskId


def find_task(hive: HiveState, task_id: TaskId) -> Task | None:
    """A task; for a member that is none yet, the task that it would become now. None: unknown."""
    task = hive.tasks.get(task_id)
    if task is not None:
        return task
    parts = split_member(task_id)
    if parts is None:
        return None
    record = hive.arrays.get(TaskId(parts[0]))
    if record is None or not record.is_waiting(parts[1]):
        return None
    return member_of(hive.tasks[record.id], parts[1])


def next_member(hive: HiveState, array: Task) -> Task:
    """The first member of a queued array that is no task yet; nothing is stored."""
    member = member_of(array, hive.arrays[array.id].next_index)
    assert member.id not in hive.tasks, f"law 24: {member.id} is a task of its own already"
    return member


def last_number(task: Task) -> int:
    """The highest number that is kept for a task and its members."""
    return task.number + (0 if task.spec.array is None else task.spec.array.count)


def member_of(array: Task, index: int) -> Task:
    """The task that a member of the array becomes, waiting as the array does.

    Whatever holds the array holds it too, from then on by itself.
    """
    assert array.spec.array is not None, f"{array.id} is no array"
    spec = member_spec(array, index)
    return Task(
        id=member_id(array.id, index),
        number=array.number + 1 + index - array.spec.array.first,
        owner=array.owner,
        spec=spec,
        signature=signature(spec, array.owner),
        state=TaskState.HELD if array.is_held else TaskState.QUEUED,
        priority=array.priority,
        # Ahead where a backup was restored: its first attempt may have been given before.
        epoch=array.epoch,
        submitted_at_ms=array.submitted_at_ms,
        held_by=array.held_by,
        begin_at_ms=array.begin_at_ms,
        waits_for=array.waits_for,
        array_id=array.id,
        member_index=index,
        reason=array.reason,
    )


def member_spec(array: Task, index: int) -> TaskSpec:
    """What one member runs: its variables in the command (``{lr}``) and in its environment."""
    spec = array.spec
    assert spec.array is not None, f"{array.id} is no array"
    values = spec.array.values_of(index)
    ours = {
        "FLUXHIVE_ARRAY_ID": array.id,
        "FLUXHIVE_ARRAY_INDEX": str(index),
        "FLUXHIVE_ARRAY_COUNT": str(spec.array.count),
    }
    return replace(
        spec,
        command=tuple(fill(word, {**values, "index": str(index)}) for word in spec.command),
        env={**spec.env, **values, **ours},
        array=None,
        begin_at_ms=None,
        after=(),
    )


def fill(text: str, values: dict[str, str]) -> str:
    """The text with values for their names in braces; every other brace stays as it is."""
    names = "|".join(re.escape(name) for name in values)
    return re.sub(r"\{(" + names + r")\}", lambda match: values[match[1]], text)


def started(hive: HiveState, member: Task) -> None:
    """A member was placed: the array leaves the queue with its last one, or when it is full."""
    record = hive.arrays.get(member.array_id) if member.array_id is not None else None
    if record is None:
        return
    array = hive.tasks[record.id]
    if array.state is TaskState.QUEUED and not record.n_waiting:
        hive.put_task(
            replace(array, state=TaskState.ACTIVE, reason="every member has left the queue")
        )
    if record.is_full:
        take_out(hive, record)


def settle_arrays(hive: HiveState) -> None:
    """Follow what became of members in this step: arrays end, or have room for another."""
    while hive.touched_arrays:
        array_id, _ = hive.touched_arrays.popitem()
        record = hive.arrays.get(array_id)
        if record is None:
            continue
        if not record.n_waiting:
            _settle(hive, record)
        if record.at_most is not None and not record.is_full:
            put_back(hive, record)


def take_out(hive: HiveState, record: ArrayRecord) -> None:
    """Take an array and its members out of line: enough of them run."""
    for task_id in (record.id, *record.queued):
        hive.dequeue(task_id)


def put_back(hive: HiveState, record: ArrayRecord) -> None:
    """Put an array that has room for another member in line again, and its members."""
    for task_id in (record.id, *record.queued):
        task = hive.tasks[task_id]
        if task.state is TaskState.QUEUED and task_id not in hive.queue:
            hive.enqueue(task)


def orphans(hive: HiveState, array: Task) -> list[Task]:
    """Members that somebody waits for and that will never be tasks: as if cancelled by now."""
    found: list[Task] = []
    for task_id in hive.dependents:
        parts = split_member(task_id)
        if parts is not None and parts[0] == array.id and find_task(hive, task_id) is None:
            member = member_of(array, parts[1])
            why = array.reason.removeprefix("being ")
            found.append(replace(member, state=TaskState.CANCELLED, reason=why))
    return found


def _settle(hive: HiveState, record: ArrayRecord) -> None:
    """No member is left to be made: the array is active or over."""
    array = hive.tasks[record.id]
    state = _state(array, record)
    if array.state is state:
        return
    array = replace(array, held_by=None, begin_at_ms=None, waits_for=(), not_before_ms=0)
    if not state.is_final or (array.state, state) not in TASK_MOVES:
        array = replace(array, state=TaskState.ACTIVE, reason="every member has left the queue")
        hive.put_task(array)
    if not state.is_final:
        return
    hive.put_task(
        replace(
            array,
            state=state,
            ended_at_ms=hive.now_ms,
            outcome=_outcome(state, record),
            members=record.counts,
            reason=f"cancelled by {array.cancelled_by}: {record.counts}"
            if array.cancelled_by is not None
            else str(record.counts),
        )
    )


def _state(array: Task, record: ArrayRecord) -> TaskState:
    if record.live:
        return TaskState.ACTIVE
    if array.cancelled_by is not None:
        return TaskState.CANCELLED
    for state in (TaskState.FAILED, TaskState.CANCELLED):
        if record.n_ended[state]:
            return state
    return TaskState.SUCCEEDED


def _outcome(state: TaskState, record: ArrayRecord) -> Outcome:
    if state is TaskState.SUCCEEDED:
        return Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)
    if state is TaskState.CANCELLED:
        return Outcome(kind=OutcomeKind.CANCELLED, detail=str(record.counts))
    return Outcome(kind=OutcomeKind.FAILURE, exit_code=1, detail=str(record.counts))

"""Law 24, of arrays: each member waits, lives or has ended, once; and law 12 of their members.

Called by invariants.py.
"""

from __future__ import annotations

from .array_record import ArrayRecord
from .hive_state import HiveState
from .task import TaskState


def check_array(hive: HiveState, array: ArrayRecord) -> None:
    """Raises ``AssertionError`` when an array and its record do not agree with its members."""
    task, spec = hive.tasks[array.id], hive.tasks[array.id].spec.array
    assert spec is not None, f"law 24: {array.id} is no array"
    counts = array.counts
    total = counts.waiting + counts.live + counts.succeeded + counts.failed + counts.cancelled
    assert total == spec.count, f"law 24: {array.id} has {counts} of {spec.count} members"
    members = [hive.tasks[task_id] for task_id in array.live]
    wrong = [each.id for each in members if each.array_id != array.id or each.state.is_final]
    assert not wrong, f"law 24: {wrong} are no living members of {array.id}"
    waiting = [each.id for each in members if array.is_waiting(each.member_index or 0)]
    assert not waiting, f"law 24: {waiting} are tasks and counted as waiting"
    early = [each.id for each in members if not set(task.waits_for) <= set(each.waits_for)]
    assert not early, f"law 12: {early} do not wait for what their array {array.id} waits for"
    n_active = sum(each.state is TaskState.ACTIVE for each in members)
    assert n_active == array.n_active, f"law 24: {array.id} counts {array.n_active} active"
    at_most = spec.at_most or spec.count
    assert n_active <= at_most, f"law 24: {n_active} members of {array.id} run at once"
    queued = {each.id for each in members if each.state is TaskState.QUEUED}
    assert queued == set(array.queued), f"law 24: {array.id} counts {array.queued} queued"
    expected = task.state if array.n_waiting and task.is_waiting else TaskState.ACTIVE
    alive = array.n_waiting or array.live
    assert alive, f"law 24: nothing is left of {array.id}, and it is {task.state}"
    assert task.state is expected, f"law 24: {array.id} is {task.state} with {counts}"

"""Mistakes in what holds, groups and limits tasks (see planted_bugs.py)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive.core import (
    arrays,
    attempt_end,
    booking_desk,
    holds,
    placement,
    quota_gate,
    task_manager,
)
from fluxhive.core.array_record import ArrayRecord
from fluxhive.core.booking import Booking
from fluxhive.core.hive_state import HiveState
from fluxhive.core.quota import QuotaBook
from fluxhive.core.task import Attempt, AttemptState, Task, TaskState
from fluxhive.core.task_manager import TaskManager

from .planted_bugs import bug

Patch = pytest.MonkeyPatch


@bug
def a_member_of_an_array_is_lost(patch: Patch) -> None:
    real = ArrayRecord._take

    def skipping(self: ArrayRecord, index: int) -> None:
        real(self, index)
        if self.next_index + 1 < self.end:
            self.next_index += 1

    patch.setattr(ArrayRecord, "_take", skipping)


@bug
def a_member_of_an_array_is_started_twice(patch: Patch) -> None:
    patch.setattr(ArrayRecord, "_take", lambda self, index: None)


@bug
def a_restored_array_begins_anew(patch: Patch) -> None:
    real = ArrayRecord.__init__

    def forgetful(self: ArrayRecord, array_id: Any, spec: Any, count: Any = None) -> None:
        real(self, array_id, spec)

    patch.setattr(ArrayRecord, "__init__", forgetful)


@bug
def more_members_run_than_may_at_once(patch: Patch) -> None:
    patch.setattr(ArrayRecord, "is_full", False)


@bug
def an_array_ends_before_its_last_member(patch: Patch) -> None:
    real = arrays._state

    def early(array: Task, record: ArrayRecord) -> TaskState:
        return TaskState.SUCCEEDED if record.live else real(array, record)

    patch.setattr(arrays, "_state", early)


@bug
def a_cancelled_array_goes_on_making_members(patch: Patch) -> None:
    patch.setattr(ArrayRecord, "drop_waiting", lambda self: 0)


@bug
def a_dependency_is_released_too_early(patch: Patch) -> None:
    patch.setattr(holds, "is_met", lambda end, state: True)


@bug
def a_dependent_is_forgotten(patch: Patch) -> None:
    patch.setattr(task_manager, "settle_dependents", lambda hive: hive.just_ended.clear())


@bug
def a_start_time_is_ignored(patch: Patch) -> None:
    real = HiveState.put_task

    def hasty(self: HiveState, task: Task) -> None:
        if task.begin_at_ms is not None and task.waits_for == () and task.held_by is None:
            task = replace(task, begin_at_ms=None, state=TaskState.QUEUED)
        real(self, task)

    patch.setattr(HiveState, "put_task", hasty)


@bug
def a_hold_is_ignored(patch: Patch) -> None:
    real = holds.put_waiting

    def careless(hive: HiveState, task: Task, reason: str) -> None:
        if task.held_by is not None and not task.waits_for:
            hive.put_task(replace(task, state=TaskState.QUEUED, begin_at_ms=None, reason=reason))
        else:
            real(hive, task, reason)

    patch.setattr(holds, "put_waiting", careless)


@bug
def a_restored_hive_forgets_who_waits(patch: Patch) -> None:
    real = HiveState.load_task

    def forgetful(self: HiveState, task: Task) -> None:
        real(self, task)
        self.dependents.clear()

    patch.setattr(HiveState, "load_task", forgetful)


@bug
def gpu_hours_are_not_looked_at(patch: Patch) -> None:
    real = QuotaBook.blocks

    def blocks(self: QuotaBook, task: Task) -> Any:
        found = real(self, task)
        return None if found is not None and found.what == "gpu-hours" else found

    patch.setattr(QuotaBook, "blocks", blocks)


@bug
def a_meter_misses_what_comes_and_goes(patch: Patch) -> None:
    real = QuotaBook.turn_meter

    def first_alone(self: QuotaBook, key: Any) -> None:
        if key in self.meters and not self.meters[key].gpus:
            real(self, key)

    patch.setattr(QuotaBook, "turn_meter", first_alone)


@bug
def a_booking_keeps_nobody_off(patch: Patch) -> None:
    real = placement.kept_as

    def open_to_all(gpu: Any, terms: Any) -> Any:
        found = real(gpu, terms)
        return None if found is placement.MisfitCode.BOOKED else found

    patch.setattr(placement, "kept_as", open_to_all)


@bug
def a_gpu_is_booked_twice(patch: Patch) -> None:
    patch.setattr(Booking, "meets", lambda self, other: False)


@bug
def a_booked_gpu_comes_back_without_its_booking(patch: Patch) -> None:
    patch.setattr(booking_desk, "attach", lambda hive, record: None)


@bug
def a_preempted_task_loses_a_restart(patch: Patch) -> None:
    real = attempt_end._carry_out

    def unfair(hive: HiveState, task: Task, decision: Any, outcome: Any) -> None:
        real(hive, replace(task, preemptions=task.preemptions - 1), decision, outcome)

    patch.setattr(attempt_end, "_carry_out", unfair)


@bug
def a_quota_is_ignored(patch: Patch) -> None:
    patch.setattr(QuotaBook, "blocks", lambda self, task: None)


@bug
def a_quota_is_never_free_again(patch: Patch) -> None:
    patch.setattr(quota_gate, "settle", lambda hive: hive.book_of_quotas.freed.clear())


@bug
def a_restored_hive_forgets_quotas(patch: Patch) -> None:
    real = TaskManager.snapshot
    patch.setattr(TaskManager, "snapshot", lambda self: replace(real(self), quotas=()))


@bug
def a_change_is_saved_twice(patch: Patch) -> None:
    real = HiveState.put_task

    def twice(self: HiveState, task: Task) -> None:
        at = len(self.effects)
        real(self, task)
        if task.state is TaskState.HELD:
            self.effects += self.effects[at : at + 2]

    patch.setattr(HiveState, "put_task", twice)


@bug
def a_second_change_in_a_state_is_not_saved(patch: Patch) -> None:
    real = HiveState.put_attempt

    def forgetful(self: HiveState, attempt: Attempt, reason: str) -> None:
        before, at = self.attempts.get(attempt.id), len(self.effects)
        real(self, attempt, reason)
        if before is not None and before.state is attempt.state is AttemptState.STOPPING:
            del self.effects[at : at + 2]

    patch.setattr(HiveState, "put_attempt", forgetful)

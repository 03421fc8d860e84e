"""Mistakes to put into the brain, one at a time, by their names (test_planted_bugs.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from fluxhive.core import (
    attempt_end,
    attempt_reports,
    node_contact,
    node_record,
    nodes_off,
    placement,
    placement_pass,
    retry,
    task_orders,
)
from fluxhive.core.hive_state import HiveState
from fluxhive.core.node import NodeState
from fluxhive.core.node_record import GpuRecord, NodeRecord
from fluxhive.core.score import Ranking
from fluxhive.core.task import FINAL_STATES, Attempt, Member, Task, TaskState
from fluxhive.core.timers import Timers

Patch = pytest.MonkeyPatch
BUGS: dict[str, Callable[[Patch], None]] = {}


def bug(plant: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Puts a bug on the list under its name."""
    BUGS[plant.__name__] = plant
    return plant


@bug
def a_reservation_is_released_twice(patch: Patch) -> None:
    real = NodeRecord.let_go

    def twice(self: NodeRecord, attempt_id: Any) -> None:
        self.free_cpus += self.holders[attempt_id].cpus
        real(self, attempt_id)

    patch.setattr(NodeRecord, "let_go", twice)


@bug
def a_release_gives_back_the_wrong_amount(patch: Patch) -> None:
    real = GpuRecord.let_go

    def wrong(self: GpuRecord, attempt_id: Any) -> None:
        real(self, attempt_id)
        self.reserved += 1

    patch.setattr(GpuRecord, "let_go", wrong)


@bug
def a_release_is_forgotten(patch: Patch) -> None:
    patch.setattr(NodeRecord, "let_go", lambda self, attempt_id: None)


@bug
def an_ended_task_can_be_cancelled(patch: Patch) -> None:
    real = task_orders.cancel_requested

    def careless(hive: HiveState, event: Any) -> None:
        task = hive.tasks.get(event.task_id)
        if task is not None and task.state in FINAL_STATES:
            hive.put_task(replace(task, state=TaskState.CANCELLED))
        else:
            real(hive, event)

    patch.setattr(task_orders, "cancel_requested", careless)


@bug
def a_cancelled_task_is_tried_again(patch: Patch) -> None:
    real = retry.decide

    def forgetful(task: Task, outcome: Any, facts: Any) -> retry.RetryDecision:
        if task.cancelled_by is not None:
            return retry.RetryDecision(to=TaskState.QUEUED, reason="once more")
        return real(task, outcome, facts)

    patch.setattr(attempt_end, "decide", forgetful)


def _takes(patch: Patch, takes: Callable[[NodeRecord], bool]) -> None:
    real = NodeRecord._settle

    def settle(self: NodeRecord) -> None:
        real(self)
        self.takes = takes(self)

    patch.setattr(NodeRecord, "_settle", settle)


@bug
def a_silent_node_is_offered(patch: Patch) -> None:
    _takes(patch, lambda record: record.is_open and not record.node.draining)


@bug
def a_draining_node_is_offered(patch: Patch) -> None:
    _takes(patch, lambda record: record.is_open and record.node.state is NodeState.READY)


@bug
def a_closed_connection_is_offered(patch: Patch) -> None:
    _takes(patch, lambda record: not record.node.draining)


def _gpu_flag(patch: Patch, change: Callable[[GpuRecord], None]) -> None:
    real = GpuRecord._weigh

    def weigh(self: GpuRecord) -> None:
        real(self)
        change(self)

    patch.setattr(GpuRecord, "_weigh", weigh)


@bug
def a_gpu_out_of_use_is_offered(patch: Patch) -> None:
    _gpu_flag(patch, lambda gpu: setattr(gpu, "is_offered", True))


@bug
def foreign_use_is_not_counted_for_shares(patch: Patch) -> None:
    def ignore(gpu: GpuRecord) -> None:
        if gpu.exclusive is None:
            gpu.free_mib += gpu.report.foreign_mib

    _gpu_flag(patch, ignore)


@bug
def live_use_beyond_a_reservation_is_not_counted(patch: Patch) -> None:
    def ignore(gpu: GpuRecord) -> None:
        if gpu.exclusive is None:
            total = gpu.report.total_mib
            headroom = node_record.headroom_mib(total)
            gpu.free_mib = total - headroom - gpu.reserved - gpu.report.foreign_mib

    _gpu_flag(patch, ignore)


@bug
def headroom_is_not_left(patch: Patch) -> None:
    patch.setattr(node_record, "headroom_mib", lambda total: 0)


@bug
def a_whole_gpu_is_shared(patch: Patch) -> None:
    _gpu_flag(patch, lambda gpu: setattr(gpu, "is_whole", gpu.is_offered))


@bug
def an_exclusive_gpu_takes_shares(patch: Patch) -> None:
    real = GpuRecord.hold

    def hold(self: GpuRecord, attempt_id: Any, mib: int, *, exclusive: bool, **more: int) -> None:
        real(self, attempt_id, mib if not exclusive else 1000, exclusive=False, **more)

    patch.setattr(GpuRecord, "hold", hold)


@bug
def a_private_node_serves_everybody(patch: Patch) -> None:
    real = placement._look

    def look(request: Any, owner: str, excluded: Any, record: NodeRecord, terms: Any) -> Any:
        return real(request, record.node.only_for or owner, excluded, record, terms)

    patch.setattr(placement, "_look", look)


@bug
def a_node_that_handed_the_task_back_for_good_is_asked_again(patch: Patch) -> None:
    patch.setattr(nodes_off, "exclude", lambda hive, task_id, node_id: None)


@bug
def a_second_attempt_starts_while_the_first_lives(patch: Patch) -> None:
    real = HiveState._index_attempt

    def index(self: HiveState, attempt: Attempt) -> None:
        self.live_of.pop(attempt.task_id, None)
        real(self, attempt)

    real_silent = node_contact._go_silent

    def silent(hive: HiveState, record: NodeRecord, reason: str) -> None:
        real_silent(hive, record, reason)
        for attempt in hive.live_on(record.node.id):
            task = hive.tasks[attempt.task_id]
            if task.state is TaskState.ACTIVE and task.cancelled_by is None:
                hive.put_task(replace(task, state=TaskState.QUEUED))

    patch.setattr(HiveState, "_index_attempt", index)
    patch.setattr(node_contact, "_go_silent", silent)


@bug
def a_fence_is_too_short(patch: Patch) -> None:
    patch.setattr(HiveState, "fence_ms", lambda self, attempt: 20_000)


@bug
def a_lost_journal_counts_as_the_end(patch: Patch) -> None:
    real = node_contact._settle_absent

    def settle(
        hive: HiveState, attempt: Attempt, member: Member, *, is_intact: bool, rebooted: bool
    ) -> None:
        cleared = replace(member, fenced_at_ms=None)
        real(hive, attempt, cleared, is_intact=True, rebooted=rebooted)
        if not is_intact and hive.attempts[attempt.id].state.value == "reserved":
            hive.attempts[attempt.id] = replace(attempt, epoch=attempt.epoch + 1)
            hive.say_dispatch(hive.attempts[attempt.id], member)

    patch.setattr(node_contact, "_settle_absent", settle)


@bug
def a_task_is_retried_beyond_its_limit(patch: Patch) -> None:
    real = retry.decide

    def generous(task: Task, outcome: Any, facts: Any) -> retry.RetryDecision:
        spec = replace(task.spec, retry=task.spec.retry + 1)
        return real(replace(task, spec=spec), outcome, facts)

    patch.setattr(attempt_end, "decide", generous)


@bug
def a_task_that_starts_once_is_restarted(patch: Patch) -> None:
    real = retry.decide

    def generous(task: Task, outcome: Any, facts: Any) -> retry.RetryDecision:
        spec = replace(task.spec, at_most_once=False, restarts=5)
        return real(replace(task, spec=spec), outcome, facts)

    patch.setattr(attempt_end, "decide", generous)


@bug
def the_epoch_is_not_raised(patch: Patch) -> None:
    def careless(**fields: Any) -> Attempt:
        return Attempt(**{**fields, "epoch": 1})

    patch.setattr(placement_pass, "Attempt", careless)


@bug
def a_dispatch_carries_an_old_session(patch: Patch) -> None:
    real = HiveState.say_dispatch

    def old(self: HiveState, attempt: Attempt, member: Member) -> None:
        real(self, attempt, member)
        self.effects[-1] = replace(self.effects[-1], session=self.effects[-1].session - 1)

    patch.setattr(HiveState, "say_dispatch", old)


@bug
def an_old_session_is_believed(patch: Patch) -> None:
    patch.setattr(node_contact, "is_current", lambda hive, node_id, session: node_id in hive.nodes)


@bug
def an_old_hello_is_believed(patch: Patch) -> None:
    real = node_contact.joined

    def believing(hive: HiveState, event: Any) -> None:
        known = hive.nodes.get(event.node_id)
        if known is not None and event.session <= known.node.session:
            known.set_node(replace(known.node, session=event.session - 1))
        real(hive, event)

    patch.setattr(node_contact, "joined", believing)


@bug
def a_late_report_is_credited(patch: Patch) -> None:
    def credit(hive: HiveState, attempt: Attempt, member: Member, report: Any) -> None:
        hive.put_attempt(replace(attempt, outcome=report.outcome), "credited")

    patch.setattr(attempt_reports, "_keep_late", credit)


@bug
def priority_is_ignored(patch: Patch) -> None:
    def first_come(self: Ranking, line: Any) -> int:
        key = replace(line.key, priority=2)
        return self.rank_of(key, line.need.expected, line.head.submitted_at_ms)

    def all_first_come(self: Ranking, lines: Any) -> None:
        for line in lines:
            line.rank = first_come(self, line)

    patch.setattr(Ranking, "rank", first_come)
    patch.setattr(Ranking, "rank_all", all_first_come)


@bug
def a_task_is_left_waiting_although_room_appeared(patch: Patch) -> None:
    real = HiveState._release

    def quietly(self: HiveState, attempt: Attempt) -> None:
        real(self, attempt)
        self.roomy.clear()

    patch.setattr(HiveState, "_release", quietly)


@bug
def a_pause_is_never_over(patch: Patch) -> None:
    real = Timers.pop_due

    def lazy(self: Timers, now_ms: int) -> Any:
        due = real(self, now_ms)
        return None if due is not None and due[0].name == "PAUSE" else due

    patch.setattr(Timers, "pop_due", lazy)


@bug
def a_wakeup_does_not_move_on(patch: Patch) -> None:
    real = Timers.pop_due

    def stuck(self: Timers, now_ms: int) -> Any:
        return real(self, now_ms - 1)

    patch.setattr(Timers, "pop_due", stuck)


@bug
def a_change_is_not_published(patch: Patch) -> None:
    real = HiveState.put_attempt

    def silent(self: HiveState, attempt: Attempt, reason: str) -> None:
        at = len(self.effects)
        real(self, attempt, reason)
        if attempt.state.value == "running":
            del self.effects[at + 1]

    patch.setattr(HiveState, "put_attempt", silent)


@bug
def a_change_is_not_saved(patch: Patch) -> None:
    real = HiveState.put_task

    def unsaved(self: HiveState, task: Task) -> None:
        at = len(self.effects)
        real(self, task)
        if task.state is TaskState.SUCCEEDED:
            del self.effects[at : at + 2]

    patch.setattr(HiveState, "put_task", unsaved)


@bug
def a_held_task_forgets_who_holds_it(patch: Patch) -> None:
    real = HiveState.put_task

    def anonymous(self: HiveState, task: Task) -> None:
        real(self, replace(task, held_by=None))

    patch.setattr(HiveState, "put_task", anonymous)


@bug
def a_restored_hive_forgets_exclusions(patch: Patch) -> None:
    real = HiveState.load_attempt

    def forgetful(self: HiveState, attempt: Attempt) -> None:
        real(self, replace(attempt, excludes_node=False))

    patch.setattr(HiveState, "load_attempt", forgetful)


@bug
def a_repeated_submission_starts_again(patch: Patch) -> None:
    def again(hive: HiveState, event: Any) -> None:
        task = hive.tasks.get(event.task_id)
        if task is not None and task.state is TaskState.QUEUED:
            hive.put_task(replace(task, spec=event.spec))
        elif task is None:
            real(hive, event)

    real = task_orders.submitted
    patch.setattr(task_orders, "submitted", again)


@bug
def nothing_is_said_about_why(patch: Patch) -> None:
    from fluxhive.core import invariants

    patch.setattr(invariants, "explain", lambda hive, task_id: [])

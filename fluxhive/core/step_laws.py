"""The laws of one step: its effects against what was before (invariants.py has their numbers).

Run after every event in tests and in the simulator.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from .array import split_member
from .arrays import find_task
from .booking_laws import check_kept
from .capability import missing, needed
from .effects import Dispatch, HiveEffect, Publish, SaveAttempt, SaveTask
from .events import HiveEvent
from .holds import is_met
from .line_up import line_key, place_of
from .lines import LineKey
from .need import need_of
from .node import GpuState, NodeState
from .node_record import NodeRecord
from .quota_laws import check_placed
from .request import Reservation
from .score import Ranking
from .task import Attempt, AttemptState, Member, Task, TaskState
from .values import AttemptId, Ms, TaskId

if TYPE_CHECKING:
    from .task_manager import TaskManager


_ENDING = (AttemptState.STOPPING, AttemptState.ENDED)


class StepLaws:
    """Watches every step of one manager: call ``after`` with each event and its effects."""

    def __init__(self) -> None:
        self._tasks: dict[TaskId, Task] = {}
        self._attempts: dict[AttemptId, Attempt] = {}

    @classmethod
    def since(cls, manager: TaskManager) -> StepLaws:
        """Watches a manager that has lived already (restored)."""
        laws = cls()
        laws._tasks = dict(manager.hive.tasks)
        laws._attempts = dict(manager.hive.attempts)
        return laws

    def after(
        self, manager: TaskManager, event: HiveEvent, now_ms: Ms, effects: list[HiveEffect]
    ) -> None:
        """Raises ``AssertionError`` when a law that speaks of a step is broken."""
        assert manager.hive.now_ms == now_ms, f"{event} was handled at another time"
        self._check_ended_stay(effects)
        self._check_fences(manager, effects)
        self._check_saves(manager, effects)
        self._check_freed(manager, effects)
        fresh = self._check_dispatches(manager, effects)
        self._check_order(manager, [attempt for attempt in fresh if attempt.turn is None])
        self._check_order(manager, [attempt for attempt in fresh if attempt.turn is not None])
        check_placed(manager.hive, fresh)
        check_kept(manager.hive, fresh)
        self._tasks = dict(manager.hive.tasks)
        self._attempts = dict(manager.hive.attempts)

    def _check_ended_stay(self, effects: list[HiveEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SaveTask):
                task = self._tasks.get(effect.task.id)
                assert task is None or not task.state.is_final, f"law 2: {effect.task.id} ended"
            elif isinstance(effect, SaveAttempt):
                old, new = self._attempts.get(effect.attempt.id), effect.attempt
                if old is not None and old.state is AttemptState.ENDED:
                    same = new.state is old.state and new.outcome == old.outcome
                    assert same, f"law 2: {old.id} had ended as {old.outcome}"
                    # A late report is the word of a member that had ended without one.
                    n_words = _n_words(new) - _n_words(old)
                    assert n_words == 1, f"law 2: {old.id} has its late report"

    def _check_fences(self, manager: TaskManager, effects: list[HiveEffect]) -> None:
        for effect in effects:
            if not isinstance(effect, SaveAttempt):
                continue
            old = self._attempts.get(effect.attempt.id)
            for before, now in zip(old.members, effect.attempt.members, strict=True) if old else ():
                if before.state is not now.state and now.state is AttemptState.ENDED:
                    self._check_fence(manager, effect.attempt, before, now)

    def _check_fence(
        self, manager: TaskManager, attempt: Attempt, before: Member, now: Member
    ) -> None:
        record = manager.hive.nodes[now.node_id]
        if now.fenced_at_ms is None or before.fenced_at_ms is not None:
            return
        if record.node.state is NodeState.SILENT:
            # The promise to users (README), counted here anew: length x 1.05 and grace.
            spec = manager.hive.tasks[attempt.task_id].spec
            assert spec.failover_ms is not None, f"law 9: {attempt.id} may run on for ever"
            least_ms = record.contact_at_ms + spec.failover_ms * 105 // 100 + spec.grace_ms
            assert manager.hive.now_ms >= least_ms, f"law 9: {attempt.id} ended before its fence"

    def _check_saves(self, manager: TaskManager, effects: list[HiveEffect]) -> None:
        """Law 15: each change of a record is saved once, and said right after its save.

        Not "one save a step": a step has several changes of one record where several of its timers
        are due at once (two members of a gang whose fences pass together). But each save must
        change what was saved before it, and the last is what the hive goes by.
        """
        tasks: dict[TaskId, Task] = {}
        attempts: dict[AttemptId, Attempt] = {}
        for effect, said in zip_longest(effects, effects[1:]):
            if isinstance(effect, SaveTask):
                task = effect.task
                before = tasks.get(task.id) or self._tasks.get(task.id)
                assert task != before, f"law 15: {task.id} is saved again as it was: {task.reason}"
                tasks[task.id] = task
                words = (said.task_id, said.state) if isinstance(said, Publish) else said
                assert words == (task.id, task.state.value), f"law 15: {task.id}: {said}"
            elif isinstance(effect, SaveAttempt):
                attempt = effect.attempt
                old = attempts.get(attempt.id) or self._attempts.get(attempt.id)
                assert attempt != old, f"law 15: {attempt.id} is saved again as it was"
                attempts[attempt.id] = attempt
                words = (said.attempt_id, said.state) if isinstance(said, Publish) else said
                assert words == (attempt.id, attempt.state.value), f"law 15: {attempt.id}: {said}"
        for task in manager.hive.tasks.values():
            stored = tasks.get(task.id) or self._tasks.get(task.id)
            assert stored is task, f"law 15: {task.id} is {task.state} and not saved so"
        for attempt in manager.hive.attempts.values():
            kept = attempts.get(attempt.id) or self._attempts.get(attempt.id)
            assert kept is attempt, f"law 15: {attempt.id} is {attempt.state} and not saved so"

    def _check_freed(self, manager: TaskManager, effects: list[HiveEffect]) -> None:
        """Law 12: nobody is freed before the other task ended as wanted, or the time has come."""
        saved = {effect.task.id: effect.task for effect in effects if isinstance(effect, SaveTask)}
        for task in saved.values():
            is_made = task.spec.array is not None and task.state is TaskState.ACTIVE
            if task.state is TaskState.CANCELLED or is_made:
                continue  # Over, or none of its members is to be made: those that are speak.
            old = self._tasks.get(task.id)
            waited = task.spec.after if old is None else old.waits_for
            for dependency in waited:
                if dependency in task.waits_for:
                    continue
                other = saved.get(dependency.task_id) or manager.hive.tasks.get(dependency.task_id)
                if other is None and old is None:
                    continue  # Known to the shell alone (``TaskSubmitted.settled``).
                state = _orphan(manager, dependency.task_id) if other is None else other.state
                met = state is not None and is_met(dependency.end, state)
                assert met, f"law 12: {task.id} was freed of {dependency}: {other}"
            at_ms = task.spec.begin_at_ms
            came = at_ms is None or task.begin_at_ms is not None or at_ms <= manager.hive.now_ms
            assert came, f"law 12: {task.id} was freed before {at_ms}"

    def _check_dispatches(self, manager: TaskManager, effects: list[HiveEffect]) -> list[Attempt]:
        """Checks every dispatch; answers the attempts that are new."""
        hive = manager.hive
        fresh: dict[AttemptId, Attempt] = {}
        sent: dict[AttemptId, list[int]] = {}
        for effect in effects:
            if not isinstance(effect, Dispatch):
                continue
            attempt, record = effect.attempt, hive.nodes[effect.node_id]
            member = attempt.members[effect.rank]
            assert member.node_id == effect.node_id, f"law 8: {attempt.id} sent elsewhere"
            assert effect.session == record.node.session, f"law 8: {attempt.id}: an old session"
            words = needed(effect.task.spec, is_ahead=attempt.turn is not None)
            lacks = missing(words, record.node.capabilities)
            assert not lacks, f"law 7: {attempt.id} sent to an agent that has no {lacks}"
            old = self._attempts.get(attempt.id)
            if old is not None:
                assert old.epoch == attempt.epoch, f"law 17: {attempt.id} has a new epoch"
                continue
            fresh[attempt.id] = attempt
            sent.setdefault(attempt.id, []).append(effect.rank)
            before = self._tasks.get(attempt.task_id)
            assert before is None or attempt.epoch > before.epoch, f"law 8: epoch of {attempt.id}"
            assert record.takes, f"law 7: {attempt.id} went to {record.node.label}"
            owner = effect.task.owner
            assert record.node.only_for in (None, owner), f"law 7: {attempt.id} on a private node"
            for other in manager.attempts_of(attempt.task_id):
                over = other.id == attempt.id or other.state is AttemptState.ENDED
                assert over, f"law 9: {attempt.id} was dispatched while {other.id} lives"
                on_it = other.member_on(effect.node_id)
                back = on_it is not None and on_it.excludes_node
                assert not back, f"law 7: {attempt.id} was handed back there"
            self._check_gpus(attempt, member.reservation, record)
        for attempt_id, ranks in sent.items():
            whole = list(range(len(fresh[attempt_id].members)))
            assert ranks == whole, f"law 6: {attempt_id} was dispatched as ranks {ranks}"
        return list(fresh.values())

    def _check_gpus(self, attempt: Attempt, held: Reservation, record: NodeRecord) -> None:
        for share in held.gpus:
            gpu = record.gpus[share.uuid]
            healthy = gpu.report.state is GpuState.HEALTHY and not gpu.report.stale
            assert healthy, f"law 7: {attempt.id} got a GPU that is out of use"
            # Counted anew, not asked of the record: this is what the record has to get right.
            used = {use.attempt_id: use.used_mib for use in gpu.report.attempts}
            strays = sum(mib for holder, mib in used.items() if holder not in gpu.shares)
            foreign, total = gpu.report.foreign_mib + strays, gpu.report.total_mib
            if held.exclusive:
                limit = max(1024, total // 50)
                assert foreign < limit, f"law 5: {attempt.id} got {share.uuid} with foreign use"
            else:
                taken = sum(max(mib, used.get(holder, 0)) for holder, mib in gpu.shares.items())
                full = taken + foreign + max(512, total // 100)
                assert full <= total, f"law 5: {attempt.id} fills {share.uuid} to {full} of {total}"

    def _check_order(self, manager: TaskManager, fresh: list[Attempt]) -> None:
        """Ranks counted anew, from the tasks themselves: the queue has to get them right."""
        hive = manager.hive
        ranking = Ranking(hive.policy, hive.accounts, hive.now_ms)
        last: tuple[int, int] | None = None
        for attempt in fresh:
            task = hive.tasks[attempt.task_id]
            before = self._tasks.get(task.id)
            if before is None and task.array_id is not None:
                before = self._tasks.get(task.array_id)
            if before is not None and before.promise is not None:
                continue  # Whoever was promised GPUs goes first; of an array, its next member.
            key, place = _place_of(manager, ranking, task)
            assert last is None or last < place, f"law 13: {task.id} was placed out of turn"
            last = place
            for line in hive.queue.lines.values():
                head = line.head
                same = line.key.request == task.spec.request and line.key.excluded == key.excluded
                same = same and line.key.capabilities == key.capabilities
                if same and head is not None and line.key.owner == task.owner and not key.alone:
                    waits = hive.tasks[head.task_id]
                    other = _place_of(manager, ranking, waits)[1]
                    goes_by_need = waits.signature == task.signature
                    fits = place < other or not goes_by_need or waits.promise is not None
                    assert fits, f"law 13: {task.id} went before {waits.id}"


def _n_words(attempt: Attempt) -> int:
    return sum(member.facts is not None for member in attempt.members)


def _orphan(manager: TaskManager, task_id: TaskId) -> TaskState | None:
    """Of a member that its array will never make a task: as if cancelled. None: it is none."""
    parts = split_member(task_id)
    known = parts is not None and TaskId(parts[0]) in manager.hive.tasks
    return TaskState.CANCELLED if known and find_task(manager.hive, task_id) is None else None


def _place_of(
    manager: TaskManager, ranking: Ranking, task: Task
) -> tuple[LineKey, tuple[int, int]]:
    hive = manager.hive
    key = line_key(hive, task)
    basis = hive.book.basis(key.signature, key.owner, key.project)
    need = need_of(key, basis, hive.policy, hive.gpu_sizes)
    number = place_of(hive, task).number
    return key, (ranking.rank_of(key, need.expected, task.submitted_at_ms), number)

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
10 attempts stay within retries, restarts and those that were handed back
12 held tasks have a holder (a person, a start time, other tasks), others none; what a task waits
   for has not ended, and it is freed only by an end as wanted
13 whoever is placed had nobody before them that fits
14 ``next_wakeup()`` is later than now, or None
15 every change of state has exactly one save and one publish
17 an event that is handled twice starts nothing new
18 every queued task has a reason to wait
19 unknown ids, old sessions and wrong epochs change nothing
21 what could be placed is placed
24 of an array each member waits, lives or has ended, once; no more run than may at once; it is
   active when none waits to be made, and ended when none is left

Law 11 speaks of repair after running out of memory, 20, 22 and 23 of what comes in the end (tests);
16 (restore behaves the same), 17 and 19 need two runs and stand in tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .array_laws import check_array
from .arrays import find_task
from .effects import Dispatch, HiveEffect, Publish, SaveAttempt, SaveTask
from .events import HiveEvent
from .explain import explain
from .gang import lingers
from .holds import is_met
from .node import GpuState, NodeState
from .node_record import NodeRecord
from .outcome import OutcomeKind
from .placement import find
from .request import Reservation
from .retry import is_uncounted
from .task import Attempt, AttemptState, Member, Task, TaskState
from .timers import TimerKind
from .values import AttemptId, Mib, Ms, NodeId, TaskId

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
    for array in hive.arrays.values():
        check_array(hive, array)
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
    allowed = 1 + task.retries_used + task.restarts_used
    assert n_counted <= allowed, f"law 10: {task.id} had {n_counted} attempts of {allowed}"
    spec = task.spec
    assert task.retries_used <= spec.retry, f"law 10: {task.id} retried {task.retries_used} times"
    assert task.restarts_used <= spec.restarts, f"law 10: {task.id} restarted too often"
    once = task.retries_used + task.restarts_used
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
        within = 0 <= gpu.reserved <= total or total == 0
        assert within, f"law 4: {gpu.reserved} of {total} MiB reserved on {uuid}"
        assert uuid not in alone or len(gpu.shares) == 1, f"law 4: {alone[uuid]} is not alone"
        assert gpu.exclusive == alone.get(uuid), f"law 4: {uuid} thinks {gpu.exclusive}"
    assert not sums, f"law 3: reserved on GPUs that {node.label} does not have: {sums}"
    cpus = sum(held.cpus for held in record.holders.values())
    assert record.free_cpus == node.inventory.cpus - cpus, f"law 3: CPUs of {node.label}"
    memory = sum(held.memory_mib for held in record.holders.values())
    left = node.inventory.memory_mib - memory
    assert record.free_memory_mib == left, f"law 3: memory of {node.label}"
    takes = record.is_open and node.state is NodeState.READY and not node.draining
    assert record.takes == takes, f"law 7: {node.label} takes {record.takes}"


def _check_queue(manager: TaskManager) -> None:
    hive = manager.hive
    for key, line in hive.queue.classes.items():
        assert line.places, "a line of the queue is empty"
        fit = find(line.request, line.owner, line.excluded, hive.nodes.values())
        assert fit is None, f"law 21: {line.head()} would fit: {fit}"
        for task_id in line.places:
            task = hive.tasks[task_id]
            assert task.state is TaskState.QUEUED, f"{task_id} is in line and {task.state}"
            assert hive.class_key(task) == key, f"{task_id} stands in the wrong line"
            place = hive.place(task)
            assert line.places[task_id] == place, f"law 13: {task_id} stands in the wrong place"
            # Cheap for one, but the laws are asked after every event: the head speaks for all.
            if place == line.head():
                assert explain(hive, task_id), f"law 18: nothing explains why {task_id} waits"
    for task in hive.tasks.values():
        if task.state is TaskState.QUEUED and task.id not in hive.queue:
            waits = task.not_before_ms > hive.now_ms or hive.is_kept_out(task)
            assert waits, f"law 21: {task.id} is queued, in no line and in no pause"
            assert explain(hive, task.id), f"law 18: nothing explains why {task.id} waits"


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
        self._check_order(manager, fresh)
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
                    assert old.late_report is None, f"law 2: {old.id} has its late report"

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
        saves: dict[tuple[str, str], int] = {}
        words: dict[tuple[str, str], int] = {}
        key: tuple[str, str]
        for effect in effects:
            if isinstance(effect, SaveTask):
                key = (effect.task.id, effect.task.state.value)
                saves[key] = saves.get(key, 0) + 1
            elif isinstance(effect, SaveAttempt):
                key = (effect.attempt.id, effect.attempt.state.value)
                saves[key] = saves.get(key, 0) + 1
            elif isinstance(effect, Publish) and effect.node_id is None:
                key = (effect.task_id or effect.attempt_id or "", effect.state)
                words[key] = words.get(key, 0) + 1
        hive = manager.hive
        for key, n_saved in saves.items():
            assert words.get(key) == n_saved, f"law 15: {key} saved {n_saved}, said {words}"
        for task in hive.tasks.values():
            old = self._tasks.get(task.id)
            if old is not task:
                changed = old is None or old.state is not task.state
                n_saved = saves.get((task.id, task.state.value), 0)
                assert n_saved == 1 or (n_saved and not changed), (
                    f"law 15: {task.id} {n_saved} saves"
                )
        for attempt in hive.attempts.values():
            before = self._attempts.get(attempt.id)
            if before is not attempt:
                n_saved = saves.get((attempt.id, attempt.state.value), 0)
                changed = before is None or before.state is not attempt.state
                assert n_saved == 1 or (n_saved and not changed), f"law 15: {attempt.id} {n_saved}"

    def _check_freed(self, manager: TaskManager, effects: list[HiveEffect]) -> None:
        """Law 12: nobody is freed before the other task ended as wanted, or the time has come."""
        saved = {effect.task.id: effect.task for effect in effects if isinstance(effect, SaveTask)}
        for task in saved.values():
            if task.state is TaskState.CANCELLED:
                continue
            old = self._tasks.get(task.id)
            waited = task.spec.after if old is None else old.waits_for
            for dependency in waited:
                if dependency in task.waits_for:
                    continue
                other = saved.get(dependency.task_id) or manager.hive.tasks.get(dependency.task_id)
                if other is None and old is None:
                    continue  # Known to the shell alone (``TaskSubmitted.settled``).
                met = other is not None and is_met(dependency.end, other.state)
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
        hive = manager.hive
        last: tuple[int, int] | None = None
        for attempt in fresh:
            task = hive.tasks[attempt.task_id]
            place = (task.priority.rank, task.number)
            assert last is None or last < place, f"law 13: {task.id} was placed out of turn"
            last = place
            if any(hive.nodes[m.node_id].node.only_for is not None for m in attempt.members):
                continue
            for line in hive.queue.classes.values():
                head = line.head()
                same = line.request == task.spec.request and not line.excluded and not line.owner
                if same and head is not None:
                    assert place < head[:2], f"law 13: {task.id} went before {head[2]}"

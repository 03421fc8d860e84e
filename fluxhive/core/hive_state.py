"""Everything the brain knows, and the only places where it changes.

``put_task``, ``put_attempt`` and ``put_node`` are the only setters: they check the tables of
task.py, keep every index true, and append exactly one save and one publish for each change
(law 15). Not here: what should change and when; that is task_manager.py and the modules beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from . import booking_desk, deadlines, line_up, nodes_off, promises, turns, urgency
from .array_record import ArrayRecord
from .booking import Booking
from .dependency import Dependency
from .effects import HiveEffect, Publish, SaveAttempt, SaveEstimate, SaveNode, SaveTask
from .fairshare import Accounts
from .gang import check_member_moves, lingers
from .hive_settings import HiveSettings
from .learning import LearnedBook
from .node import Node, NodeState
from .node_record import NodeRecord
from .node_words import NodeWords
from .quota import QuotaBook
from .request import Promise
from .room_index import RoomIndex
from .score import Ranking
from .shares import Charge, charge, count_node, name_gpus, open_task, reopen_task
from .start_record import StartRecord
from .task import (
    Attempt,
    AttemptState,
    Task,
    TaskSpec,
    TaskState,
    check_attempt_move,
    check_task_move,
)
from .task_queue import GpuSizes, TaskQueue
from .timers import TimerKind, Timers
from .use_watch import watch_settling
from .values import AttemptId, GpuUuid, Mib, Ms, NodeId, TaskId


class HiveState(NodeWords):
    """Records, indexes, queue and timers of one hive, and the effects of the step under way."""

    def __init__(self, settings: HiveSettings) -> None:
        self.settings = settings
        self.now_ms: Ms = 0
        self.tasks: dict[TaskId, Task] = {}
        self.attempts: dict[AttemptId, Attempt] = {}
        self.nodes: dict[NodeId, NodeRecord] = {}
        self.nodes_of_gpu: dict[GpuUuid, dict[NodeId, None]] = {}
        self.room = RoomIndex(settings.policy)
        #: Attempts of each task, oldest first; the one of each active task that has not ended.
        self.attempts_of: dict[TaskId, list[AttemptId]] = {}
        self.live_of: dict[TaskId, AttemptId] = {}
        #: Who waits for the end of a task, by that task.
        self.dependents: dict[TaskId, dict[TaskId, None]] = {}
        #: Tasks that ended in this step, for those who wait for them.
        self.just_ended: deque[Task] = deque()
        #: Arrays that have not ended, and those with a member that changed in this step.
        self.arrays: dict[TaskId, ArrayRecord] = {}
        self.touched_arrays: dict[TaskId, None] = {}
        self.queue = TaskQueue()
        self.policy = settings.policy
        #: What was learned, who used how much, and the ranks that follow.
        self.book = LearnedBook()
        self.accounts = Accounts(settings.policy.half_life_ms)
        self.ranking = Ranking(settings.policy, self.accounts, 0)
        #: Keys of what was learned since the queue was settled last, and when that was.
        self.news: dict[str, None] = {}
        self.settled_at_ms: Ms = 0
        #: The hive's GPUs; whether they, or whom nodes serve alone, are others for the queue.
        self.gpu_sizes: GpuSizes = (0, 0, 0)
        self.lines_are_stale = False
        #: By node its GPUs' memory; how many GPUs there are of each size.
        self.gpus_of_node: dict[NodeId, tuple[Mib, ...]] = {}
        self.n_gpus_of_size: dict[Mib, int] = {}
        #: CPUs of each node that counts; what each live attempt costs whom.
        self.cpus_of_node: dict[NodeId, int] = {}
        self.charges: dict[AttemptId, Charge] = {}
        #: True while stored records are taken in: nothing of it is news.
        self.is_loading = False
        self.promises: dict[TaskId, Promise] = {}
        self.redated_at_ms: Ms = 0
        self.timers = Timers()
        self.book_of_quotas = QuotaBook()
        #: Bookings that are not over, also by GPU, and the number of the last one made.
        self.bookings: dict[str, Booking] = {}
        self.booked: dict[GpuUuid, tuple[Booking, ...]] = {}
        self.last_booking = 0
        #: Queued tasks that are urgent, and live attempts that may give way to them.
        self.urgent: dict[TaskId, None] = {}
        self.preemptible: dict[AttemptId, None] = {}
        self.turns = turns.Turns()
        self.starts = StartRecord()
        #: Nodes on which room may have appeared since the last placement pass.
        self.roomy: dict[NodeId, NodeRecord] = {}
        self.effects: list[HiveEffect] = []
        self.last_channel = 0
        #: Nodes that a task is never (excluded) or for now not (blocked) placed on.
        self.excluded: dict[TaskId, dict[NodeId, None]] = {}
        self.blocked: dict[TaskId, dict[NodeId, None]] = {}
        self.private_owners: dict[str, None] = {}
        self._ended: deque[TaskId] = deque()

    # ── tasks ─────────────────────────────────────────────────────────────────────────────────

    def put_task(self, task: Task) -> None:
        """Make this the task's record: saved, and published with its reason."""
        old = self.tasks.get(task.id)
        old_state = None if old is None else old.state
        if old_state is not task.state:
            check_task_move(old_state, task.state)
        else:
            assert not task.state.is_final, f"law 2: {task.id} has ended and cannot change"
        self.tasks[task.id] = task
        self.effects.append(SaveTask(task=task))
        self.effects.append(Publish(task_id=task.id, state=task.state.value, reason=task.reason))
        self._index_holds(task, () if old is None else old.waits_for)
        self._index_array(old, task)
        urgency.note(self, task)
        self.book_of_quotas.note(old, task)
        if task.state is TaskState.QUEUED:
            self.dequeue(task.id)
            self.enqueue(task)
        elif old_state is TaskState.QUEUED:
            self.dequeue(task.id)
            self.timers.cancel(TimerKind.PAUSE, task.id)
            self.timers.cancel(TimerKind.PROMISE, task.id)
            if task.id in self.starts.open:
                self.starts.left(task, self.now_ms)
                self.effects.append(SaveEstimate(record=self.starts.stored(self.now_ms)))
        promises.keep(self, task)
        if old is None:
            open_task(self, task)
        else:
            reopen_task(self, old, task)
        if task.state.is_final:
            self.just_ended.append(task)
            open_task(self, task, by=-1)
            self._retire(task.id)

    def load_task(self, task: Task) -> None:
        """Take a stored task as it is: nothing is saved or published."""
        self.tasks[task.id] = task
        for node_id in task.kept_off:
            nodes_off.exclude(self, task.id, node_id)
        self._index_holds(task, ())
        urgency.note(self, task)
        self.book_of_quotas.note(None, task)
        if task.array_id is not None and not task.state.is_final:
            self.arrays[task.array_id].load(task)
        promises.keep(self, task)
        if task.state is TaskState.QUEUED:
            self.enqueue(task)
        if task.state.is_final:
            self._ended.append(task.id)
        else:
            open_task(self, task)

    def enqueue(self, task: Task) -> None:
        """Put a queued task in line, or set the end of its pause."""
        if task.not_before_ms > self.now_ms:
            self.timers.set(TimerKind.PAUSE, task.id, task.not_before_ms)
            return
        # Its pause may be over and nobody has been told yet: the server was slow.
        self.timers.cancel(TimerKind.PAUSE, task.id)
        if not self.is_kept_out(task):
            line_up.enqueue(self, task)
            promises.watch(self, task)
        elif self.book_of_quotas.blocks(task) is not None:
            self.book_of_quotas.keep_out(task)

    def is_kept_out(self, task: Task) -> bool:
        """Whether as many run as may at once: of its array, or of its user or project."""
        record = self.arrays.get(task.array_id or task.id)
        is_full = record is not None and record.is_full
        return is_full or self.book_of_quotas.blocks(task) is not None

    def dequeue(self, task_id: TaskId) -> None:
        """Take a task out of its line, if it stands in one."""
        line = self.queue.remove(task_id)
        if line is not None:
            line.rank = self.ranking.rank(line)
            line.shape.push(line)

    def is_private(self, owner: str, /) -> bool:
        """Whether some node serves this user alone."""
        return owner in self.private_owners

    # ── attempts ──────────────────────────────────────────────────────────────────────────────

    def put_attempt(self, attempt: Attempt, reason: str) -> None:
        """Make this the attempt's record: reserved when new, released when ended."""
        old = self.attempts.get(attempt.id)
        old_state = None if old is None else old.state
        if old_state is not attempt.state:
            check_attempt_move(old_state, attempt.state)
        if attempt.gang:
            check_member_moves(old, attempt)
        self.attempts[attempt.id] = attempt
        self.effects.append(SaveAttempt(attempt=attempt))
        self.effects.append(
            Publish(attempt_id=attempt.id, state=attempt.state.value, reason=reason)
        )
        if old is None:
            self._index_attempt(attempt)
        elif attempt.state is AttemptState.ENDED and old_state is not AttemptState.ENDED:
            self._release(attempt)
            turns.pass_on(self, attempt)
        else:
            if old is not None and attempt.reservation != old.reservation:
                self._change(attempt, old)
            if attempt.state is AttemptState.RUNNING:
                deadlines.watch_time_limit(self, attempt)
                watch_settling(self, attempt)
                urgency.watch(self, attempt)

    def load_attempt(self, attempt: Attempt) -> None:
        """Take a stored attempt as it is; its task and node must be loaded."""
        self.attempts[attempt.id] = attempt
        self._index_attempt(attempt)
        for member in attempt.members:
            if member.excludes_node:
                nodes_off.exclude(self, attempt.task_id, member.node_id)
        if attempt.state is AttemptState.RUNNING:
            deadlines.watch_time_limit(self, attempt)
            watch_settling(self, attempt)
            urgency.watch(self, attempt)
        elif lingers(attempt):
            deadlines.watch_linger(self, attempt)

    def live_on(self, node_id: NodeId) -> list[Attempt]:
        """The attempts on a node that have not ended, oldest first."""
        return [self.attempts[attempt_id] for attempt_id in self.nodes[node_id].holders]

    def each_live_on(self, node_id: NodeId) -> Iterator[Attempt]:
        """The same one by one, each as it is then: the end of one changes who waits for it."""
        for attempt_id in list(self.nodes[node_id].holders):
            attempt = self.attempts[attempt_id]
            if attempt.state is not AttemptState.ENDED:
                yield attempt

    def spec_of(self, attempt: Attempt) -> TaskSpec:
        """What an attempt's author wrote."""
        return self.tasks[attempt.task_id].spec

    def fence_ms(self, attempt: Attempt) -> Ms | None:
        """How long after its node's last contact an attempt cannot be running any more.

        None: no clock can tell; it runs on for as long as the contact is gone.
        """
        spec = self.spec_of(attempt)
        if spec.failover_ms is None:
            return None
        drifted = spec.failover_ms * (100 + self.settings.clock_drift_percent) // 100
        return drifted + spec.grace_ms + self.settings.fence_margin_ms

    # ── nodes ─────────────────────────────────────────────────────────────────────────────────

    def put_node(self, node: Node, reason: str) -> NodeRecord:
        """Make this the node's record; it may give room to tasks that wait."""
        record = self.nodes.get(node.id)
        only_for = None if record is None else record.node.only_for
        if record is None:
            record = self.nodes[node.id] = NodeRecord(node, self.room.touched)
        else:
            record.set_node(node)
        if self.booked:
            booking_desk.attach(self, record)
        self.effects.append(SaveNode(node=node))
        self.effects.append(Publish(node_id=node.id, state=node.state.value, reason=reason))
        if node.only_for != only_for:
            nodes_off.count_private_owners(self)
        name_gpus(self, node.id, node.inventory.gpus)
        count_node(self, node.id)
        if node.state is NodeState.READY:
            self.roomy[node.id] = record
        return record

    def drop_node(self, node: Node, by: str) -> None:
        """Know this node no more; what the store keeps of it says so. It must hold nothing."""
        del self.nodes[node.id]
        self.room.drop(node.id)
        self.roomy.pop(node.id, None)
        self.effects.append(SaveNode(node=node))
        self.effects.append(
            Publish(node_id=node.id, state=node.state.value, reason=f"removed by {by}")
        )
        nodes_off.count_private_owners(self)
        count_node(self, node.id)

    def load_node(self, node: Node) -> None:
        """Take a stored node: out of contact until it joins, its contact counted from now."""
        state = NodeState.LOST if node.state is NodeState.LOST else NodeState.SILENT
        known = replace(node, state=state, last_contact_at_ms=self.now_ms)
        self.nodes[node.id] = NodeRecord(known, self.room.touched)
        if node.only_for is not None:
            nodes_off.count_private_owners(self)
        name_gpus(self, node.id, node.inventory.gpus)
        count_node(self, node.id)

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _index_holds(self, task: Task, waited_for: tuple[Dependency, ...]) -> None:
        """Who waits for whom, and when a start time comes, as this record has it."""
        if task.waits_for != waited_for:
            for dependency in waited_for:
                waiting = self.dependents.get(dependency.task_id, {})
                waiting.pop(task.id, None)
                if not waiting:
                    self.dependents.pop(dependency.task_id, None)
            for dependency in task.waits_for:
                self.dependents.setdefault(dependency.task_id, {})[task.id] = None
        if task.begin_at_ms is not None:
            self.timers.set(TimerKind.BEGIN, task.id, task.begin_at_ms)
        else:
            self.timers.cancel(TimerKind.BEGIN, task.id)

    def _index_array(self, old: Task | None, task: Task) -> None:
        """Count an array's member, or the array itself while it lives."""
        if task.array_id is not None:
            record = self.arrays.get(task.array_id)
            assert record is not None, f"law 24: {task.array_id} had ended before {task.id}"
            record.note(old, task)
            self.touched_arrays[task.array_id] = None
            if record.id in self.queue:
                line_up.move(self, self.tasks[record.id])
        elif task.state.is_final:
            self.arrays.pop(task.id, None)
        elif task.spec.array is not None and task.id not in self.arrays:
            self.arrays[task.id] = ArrayRecord(task.id, task.spec.array)

    def _index_attempt(self, attempt: Attempt) -> None:
        self.attempts_of.setdefault(attempt.task_id, []).append(attempt.id)
        last_channel = attempt.channel_of(len(attempt.reservations) - 1)
        self.last_channel = max(self.last_channel, last_channel)
        if attempt.state is not AttemptState.ENDED:
            live = self.live_of.get(attempt.task_id)
            assert live is None, f"law 1: {live} and {attempt.id} live at once"
            self.live_of[attempt.task_id] = attempt.id
            if self.spec_of(attempt).preemptible:
                self.preemptible[attempt.id] = None
            for reservation in attempt.reservations:
                record = self.nodes[reservation.node_id]
                record.hold(attempt.id, reservation)
                # Also those that its node does not name any more.
                name_gpus(self, record.node.id, reservation.gpus)
                record.expect_end(attempt.id, attempt.expected_end_ms)
            charge(self, attempt, by=1)
            turns.note(self, attempt)

    def _change(self, attempt: Attempt, old: Attempt) -> None:
        """What a live attempt holds was changed."""
        charge(self, old, by=-1)
        record = self.nodes[attempt.node_id]
        record.change(attempt.id, attempt.reservation)
        self.roomy[attempt.node_id] = record
        charge(self, attempt, by=1)

    def _release(self, attempt: Attempt) -> None:
        del self.live_of[attempt.task_id]
        charge(self, attempt, by=-1)
        for reservation in attempt.reservations:
            node_id = reservation.node_id
            record = self.nodes[node_id]
            record.let_go(attempt.id)
            self.roomy[node_id] = record
            self.timers.cancel(TimerKind.FENCE, attempt.id, other=node_id)
        self.timers.cancel(TimerKind.TIME_LIMIT, attempt.id)
        self.timers.cancel(TimerKind.PREEMPTION, attempt.id)
        self.preemptible.pop(attempt.id, None)
        self.timers.cancel(TimerKind.LINGER, attempt.id)
        self.timers.cancel(TimerKind.SETTLE, attempt.id)

    def _retire(self, task_id: TaskId) -> None:
        nodes_off.retire(self, task_id)
        self._ended.append(task_id)
        while len(self._ended) > self.settings.ended_tasks_max:
            self._drop(self._ended.popleft())

    def drop_ended(self, task_ids: Iterable[TaskId]) -> None:
        """Lets tasks go that ended long ago; one that lives stays."""
        for task_id in task_ids:
            task = self.tasks.get(task_id)
            if task is not None and task.state.is_final:
                self._ended.remove(task_id)
                self._drop(task_id)

    def _drop(self, task_id: TaskId) -> None:
        del self.tasks[task_id]
        for attempt_id in self.attempts_of.pop(task_id, []):
            del self.attempts[attempt_id]

"""The hive's brain: which task runs where, and what happens next. Events in, effects out.

``handle(event, now_ms)`` is the only way in and never raises on what others send: unknown ids, old
sessions and repeats change nothing. The caller stores all saves of one step in one transaction,
then carries the rest out in order, and hands ``TimePassed`` in at ``next_wakeup()``.

The parts: hive_state.py alone changes records; task_orders.py does what people want;
placement_pass.py starts what fits; node_contact.py judges hellos and silence, attempt_reports.py
what nodes say, attempt_end.py ends; explain.py says why a task waits; invariants.py has the laws.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from . import (
    booking_desk,
    heartbeat,
    node_contact,
    node_orders,
    nodes_off,
    promises,
    quota_gate,
    start_record,
    task_orders,
    trials,
    unknown_attempts,
    use_watch,
)
from .array import ArrayCount, MemberCounts
from .array_record import ArrayRecord
from .arrays import find_task, settle_arrays, take_out
from .attempt_end import stop_attempt
from .booking import Booking, BookingWish
from .effects import HiveEffect, SaveEstimate
from .events import (
    BookingSet,
    HiveEvent,
    NodeAccepted,
    NodeDrained,
    NodeGivenUp,
    NodeJoined,
    NodeLeft,
    NodeRemoved,
    NodeReported,
    NodeSaid,
    QuotaSet,
    TaskCancelRequested,
    TaskEdited,
    TaskHeld,
    TaskReleased,
    TaskReprioritised,
    TasksExpired,
    TaskSubmitted,
    TimePassed,
    UnknownEnded,
)
from .explain import Reason, explain
from .fairshare import Usage
from .gpu_hours import GpuHours
from .hive_settings import DEFAULT_SETTINGS, HiveSettings
from .hive_state import HiveState
from .holds import begin, settle_dependents
from .invariants import check
from .learning import Learned
from .lines import LineKey
from .node import Node
from .node_record import Reserved
from .outcome import StopCause
from .outlook import Outlook, dry_run, outlook
from .pieces import Pieces
from .placement_pass import place_waiting
from .preemption import make_room
from .quota import Quota, QuotaScope, Use
from .shares import save_usages
from .task import Attempt, AttemptState, Task, TaskSpec
from .timers import TimerKind
from .values import AttemptId, Ms, NodeId, TaskId, Value

if sys.version_info >= (3, 11):
    from typing import assert_never
else:
    from typing_extensions import assert_never


class HiveSnapshot(Value, frozen=True, kw_only=True):
    """What the store keeps of a hive, enough to go on."""

    tasks: tuple[Task, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    nodes: tuple[Node, ...] = ()
    #: Of every array that has not ended.
    arrays: tuple[ArrayCount, ...] = ()
    #: What was learned, and who used how much.
    learned: tuple[Learned, ...] = ()
    usages: tuple[Usage, ...] = ()
    #: Log channels up to this one were given, whoever has them.
    last_channel: int = 0
    quotas: tuple[Quota, ...] = ()
    bookings: tuple[Booking, ...] = ()
    gpu_hours: tuple[GpuHours, ...] = ()


class TaskManager:
    """One hive's decisions; see the module's docstring for how to call it."""

    def __init__(self, *, settings: HiveSettings = DEFAULT_SETTINGS) -> None:
        #: For explain.py, invariants.py and tests; shells use the views below.
        self.hive = HiveState(settings)

    def handle(self, event: HiveEvent, now_ms: Ms) -> list[HiveEffect]:
        """What follows from an event at this hive time; time never runs backwards."""
        hive = self.hive
        assert now_ms >= hive.now_ms, f"hive time ran backwards: {hive.now_ms} → {now_ms}"
        hive.now_ms = hive.book_of_quotas.now_ms = now_ms
        hive.effects = []
        self._apply(event)
        self._run_due()
        self._settle()
        self._save_lessons()
        place_waiting(hive)
        make_room(hive)
        save_usages(hive)
        quota_gate.save_hours(hive)
        effects, hive.effects = hive.effects, []
        return effects

    def trial(self, event: HiveEvent) -> Pieces[list[HiveEffect]]:
        """An estimate put to the test, after ``handle``; it decides nothing, and may fail."""
        return trials.trial(self.hive, event)

    def next_wakeup(self) -> Ms | None:
        """When ``TimePassed`` should be handed in; None when nothing is due ever."""
        return self.hive.timers.next_at_ms()

    def explain(self, task_id: TaskId) -> list[Reason]:
        """Why a task waits, the main reason first; empty when it does not wait or is unknown."""
        return explain(self.hive, task_id)

    def outlook(self, task_id: TaskId) -> Pieces[Outlook | None]:
        """All about why a task waits and what will come of it; None when it is unknown."""
        return outlook(self.hive, task_id)

    def dry_run(self, spec: TaskSpec, owner: str) -> Pieces[Outlook]:
        """What would come of this task if it were submitted now; nothing is."""
        return dry_run(self.hive, spec, owner)

    def line_of(self, task_id: TaskId) -> LineKey | None:
        """What is the same for all tasks that wait for the same; None when it is not in line."""
        return None if (line := self.hive.queue.line_of(task_id)) is None else line.key

    # ── views ─────────────────────────────────────────────────────────────────────────────────

    def task(self, task_id: TaskId) -> Task | None:
        """A task; None when unknown (tasks that ended long ago are in the store alone).

        A member of an array that has not left the queue yet is shown as it would leave it now.
        """
        return find_task(self.hive, task_id)

    def quotas(self) -> list[Quota]:
        """Every quota."""
        return list(self.hive.book_of_quotas.quotas.values())

    def use_of(self, scope: QuotaScope, name: str) -> Use:
        """What a user or a project has now."""
        return quota_gate.use_of(self.hive, (scope, name))

    def bookings(self) -> list[Booking]:
        """Every booking that is not over."""
        return list(self.hive.bookings.values())

    def choose_booking(self, wish: BookingWish) -> Booking | int:
        """The booking it would be; or how many GPUs such as are wanted are open then."""
        return booking_desk.choose(self.hive, wish)

    def members_of(self, array_id: TaskId) -> MemberCounts | None:
        """How the members of an array stand; None when it has ended or is none."""
        record = self.hive.arrays.get(array_id)
        return None if record is None else record.counts

    def tasks(self) -> Iterator[Task]:
        """Every task, in the order in which the hive learned of them."""
        return iter(self.hive.tasks.values())

    def attempt(self, attempt_id: AttemptId) -> Attempt | None:
        """An attempt; None when unknown."""
        return self.hive.attempts.get(attempt_id)

    def attempts_of(self, task_id: TaskId) -> list[Attempt]:
        """A task's attempts, oldest first."""
        ids = self.hive.attempts_of.get(task_id, [])
        return [self.hive.attempts[attempt_id] for attempt_id in ids]

    def node(self, node_id: NodeId) -> Node | None:
        """A node with its readings as of now; None when unknown."""
        record = self.hive.nodes.get(node_id)
        return None if record is None else record.live()

    def nodes(self) -> list[Node]:
        """Every node, in the order of their first hello."""
        return [record.live() for record in self.hive.nodes.values()]

    def running_on(self, node_id: NodeId) -> list[Attempt]:
        """The attempts that a node holds and that have not ended, oldest first."""
        return self.hive.live_on(node_id) if node_id in self.hive.nodes else []

    def is_news(self, report: NodeReported) -> bool:
        """Whether a heartbeat says more than that its node is there; else it may wait a moment."""
        return heartbeat.is_news(self.hive, report)

    def holds_any(self, node_id: NodeId) -> bool:
        """Whether a node holds an attempt."""
        record = self.hive.nodes.get(node_id)
        return record is not None and bool(record.holders)

    def reserved_on(self, node_id: NodeId) -> Reserved:
        """What attempts hold of a node."""
        return Reserved() if node_id not in self.hive.nodes else self.hive.nodes[node_id].reserved()

    def unknown_on(self, node_id: NodeId) -> tuple[AttemptId, ...]:
        """What a node holds and this hive does not know."""
        record = self.hive.nodes.get(node_id)
        return () if record is None else tuple(record.unknown)

    def n_queued(self) -> int:
        """How many tasks could start now if there were room."""
        return len(self.hive.queue)

    def next_in_line(self, n: int) -> list[TaskId]:
        """At most ``n`` tasks that could start now if there were room, the next one first."""
        return self.hive.queue.first(n)

    # ── storing ───────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> HiveSnapshot:
        """All that is needed to go on elsewhere."""
        hive = self.hive
        return HiveSnapshot(
            tasks=tuple(hive.tasks.values()),
            attempts=tuple(hive.attempts.values()),
            nodes=tuple(self.nodes()),
            arrays=tuple(record.count for record in hive.arrays.values()),
            learned=start_record.lessons(hive),
            usages=hive.accounts.usages(),
            last_channel=hive.last_channel,
            quotas=tuple(hive.book_of_quotas.quotas.values()),
            bookings=tuple(hive.bookings.values()),
            gpu_hours=tuple(hive.book_of_quotas.meters.values()),
        )

    @classmethod
    def restore(
        cls, snapshot: HiveSnapshot, now_ms: Ms, *, settings: HiveSettings = DEFAULT_SETTINGS
    ) -> TaskManager:
        """Go on from what was stored: nodes are out of contact until they join.

        Every attempt is granted one full failover length from now, so that a server that was down
        declares nobody lost at once.
        """
        manager = cls(settings=settings)
        hive = manager.hive
        hive.now_ms = hive.book_of_quotas.now_ms = now_ms
        # Promised GPUs are out of use until their nodes have joined: that is no reason yet.
        hive.redated_at_ms = now_ms
        hive.is_loading = True
        for record in snapshot.learned:
            start_record.load(hive, record)
        for usage in snapshot.usages:
            hive.accounts.load(usage)
        hive.last_channel = snapshot.last_channel
        for quota in snapshot.quotas:
            hive.book_of_quotas.put(quota)
        for node in snapshot.nodes:
            if not node.removed:
                hive.load_node(node)
        tasks = sorted(snapshot.tasks, key=lambda task: task.number)
        counts = {count.array_id: count for count in snapshot.arrays}
        for task in tasks:
            hive.tasks[task.id] = task
            if task.spec.array is not None and not task.state.is_final:
                count = counts.get(task.id)
                hive.arrays[task.id] = ArrayRecord(task.id, task.spec.array, count)
        for attempt in sorted(snapshot.attempts, key=lambda attempt: attempt.channel):
            hive.load_attempt(attempt)
        for booking in snapshot.bookings:
            booking_desk.load(hive, booking)
        for task in tasks:
            hive.load_task(task)
        for full in [array for array in hive.arrays.values() if array.is_full]:
            take_out(hive, full)
        quota_gate.load_hours(hive, snapshot.gpu_hours)
        quota_gate.take_all_out(hive)
        for known in list(hive.nodes.values()):
            for attempt in hive.live_on(known.node.id):
                node_contact.grant_full_length(hive, attempt, known.node.id)
            node_orders.set_timer(hive, known.node.id)
        hive.is_loading = False
        # Promises wait until their nodes have had time to join.
        hive.redated_at_ms = now_ms
        check(manager, full=True)
        return manager

    def _settle(self) -> None:
        """What follows for others from the ends of this step, until nothing does."""
        hive = self.hive
        while hive.touched_arrays or hive.just_ended:
            settle_arrays(hive)
            settle_dependents(hive)
        quota_gate.settle(hive)

    # ── one method per event ──────────────────────────────────────────────────────────────────

    def _apply(self, event: HiveEvent) -> None:
        hive = self.hive
        match event:
            case TaskSubmitted():
                task_orders.submitted(hive, event)
            case TaskCancelRequested():
                task_orders.cancel_requested(hive, event)
            case TaskHeld():
                task_orders.held(hive, event)
            case TaskReleased():
                task_orders.released(hive, event)
            case TaskReprioritised():
                task_orders.reprioritised(hive, event)
            case TaskEdited():
                task_orders.edited(hive, event)
            case NodeJoined():
                node_contact.joined(hive, event)
            case NodeReported() | NodeSaid() | NodeLeft():
                node_contact.heard(hive, event)
            case NodeDrained():
                node_orders.drained(hive, event)
            case NodeAccepted():
                node_orders.accepted(hive, event)
            case TasksExpired():
                hive.drop_ended(event.task_ids)
            case UnknownEnded():
                unknown_attempts.ended(hive, event)
            case NodeGivenUp():
                node_contact.given_up(hive, event)
            case NodeRemoved():
                node_contact.removed(hive, event)
            case QuotaSet():
                quota_gate.quota_set(hive, event)
            case BookingSet():
                booking_desk.booking_set(hive, event)
            case TimePassed():
                pass
            case _:
                assert_never(event)

    def _save_lessons(self) -> None:
        """Once for each record that this step changed; the queue goes by them from now on."""
        hive = self.hive
        for key in hive.book.changed:
            hive.effects.append(SaveEstimate(record=hive.book.records[key]))
            hive.news[key] = None
        hive.book.changed = {}

    # ── time ──────────────────────────────────────────────────────────────────────────────────

    def _run_due(self) -> None:
        hive = self.hive
        while (key := hive.timers.pop_due(hive.now_ms)) is not None:
            kind, owner, other = key
            match kind:
                case TimerKind.SILENCE:
                    node_contact.check_silence(hive, NodeId(owner))
                case TimerKind.FENCE:
                    node_contact.check_fence(hive, AttemptId(owner), NodeId(other))
                case TimerKind.TIME_LIMIT:
                    attempt = hive.attempts[AttemptId(owner)]
                    if attempt.state is AttemptState.RUNNING:
                        stop_attempt(hive, attempt, StopCause.TIME_LIMIT, "time limit reached")
                case TimerKind.LINGER:
                    attempt = hive.attempts[AttemptId(owner)]
                    stop_attempt(hive, attempt, StopCause.GANG, "others had ended long before")
                case TimerKind.PAUSE:
                    hive.enqueue(hive.tasks[TaskId(owner)])
                case TimerKind.BEGIN:
                    begin(hive, hive.tasks[TaskId(owner)])
                case TimerKind.PREEMPTION:
                    pass  # ``make_room`` looks at the end of the step.
                case TimerKind.BLOCK:
                    nodes_off.unblock(hive, TaskId(owner), NodeId(other))
                case TimerKind.SETTLE:
                    use_watch.settle(hive, AttemptId(owner))
                case TimerKind.GPU_HOURS:
                    quota_gate.hours_due(hive, owner)
                case TimerKind.BOOKING:
                    booking_desk.over(hive, owner)
                case TimerKind.DRAIN:
                    node_orders.drain_over(hive, NodeId(owner))
                case TimerKind.PROMISE:
                    promises.promise_more(hive)
                case _:
                    assert_never(kind)

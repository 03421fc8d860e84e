"""A hive driven by numbers: each number picks an event with any known id, living or dead.

Used by the Hypothesis machine and by random_story.py; the numbers alone decide.
"""

from __future__ import annotations

from copy import deepcopy

from msgspec.structs import replace

from fluxhive.core import nodes_off, start_record
from fluxhive.core.array import ArraySpec, member_id
from fluxhive.core.booking import Booking, BookingWish
from fluxhive.core.capability import CAPABILITIES
from fluxhive.core.dependency import Dependency, EndWanted
from fluxhive.core.effects import (
    Dispatch,
    HiveEffect,
    SaveAttempt,
    SaveEstimate,
    SaveNode,
    SaveTask,
    TurnAway,
)
from fluxhive.core.events import (
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
    TaskSubmitted,
    TimePassed,
)
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.invariants import check
from fluxhive.core.node import GpuReport, HeldAttempt, HeldPhase, Journal, NodeState
from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind
from fluxhive.core.pieces import whole
from fluxhive.core.quota import Quota, QuotaScope
from fluxhive.core.reports import (
    AttemptAccepted,
    AttemptEnded,
    AttemptRefused,
    AttemptStarted,
    Report,
)
from fluxhive.core.spec_check import apply_defaults, check_spec
from fluxhive.core.step_laws import StepLaws
from fluxhive.core.task import Attempt, AttemptState, ExecutorKind, Priority, TaskSpec
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import AttemptId, NodeId, TaskId

from . import factories
from .true_hello import true_hello

OUTCOMES, PHASES = list(OutcomeKind), list(HeldPhase)
SETTINGS = HiveSettings(preemption=True, trial_every_ms=20_000)
#: At most so many tasks, so that the end comes soon.
MAX_TASKS = 12


class RandomHive:
    """The hive, a model of what has ended, and who is connected."""

    def __init__(self) -> None:
        self.manager = TaskManager(settings=SETTINGS)
        self.laws = StepLaws()
        self.now_ms = 0
        self.effects: list[HiveEffect] = []
        self.session = 0
        self.n_tasks = 0
        #: State of everything that has ended; must never change.
        self.ended: dict[str, str] = {}
        self.last: HiveEvent = TimePassed()
        #: A hive restored from ours, which must go on like it (law 16).
        self.twin: TaskManager | None = None
        #: Nodes that the twin has not heard of yet.
        self.unheard: dict[NodeId, None] = {}

    # ── events ────────────────────────────────────────────────────────────────────────────────

    def submit(self, pick: int) -> None:
        """A new task, its kind by the number."""
        if self.n_tasks >= MAX_TASKS:
            return
        spec = TaskSpec(
            command=("true",),
            request=factories.REQUESTS[pick % len(factories.REQUESTS)],
            priority=list(Priority)[pick % 4],
            retry=0 if pick % 7 == 3 else pick % 3,
            restarts=pick % 4,
            at_most_once=pick % 7 == 3,
            failover_ms=60_000 if pick % 2 else None,
            time_limit_ms=80_000 if pick % 5 == 0 else None,
            begin_at_ms=self.now_ms + 50 * pick if pick % 16 == 6 else None,
            after=self._after(pick),
            array=self._array(pick),
            preemptible=pick % 4 == 1 and pick % 7 != 3,
            min_run_ms=3_000 * (pick % 3),
            executor=ExecutorKind.PYTHON if pick % 3 == 2 else ExecutorKind.EXEC,
        )
        check_spec(spec)
        self.handle(
            TaskSubmitted(
                task_id=TaskId(f"t{self.n_tasks}"),
                number=10 * self.n_tasks,
                owner=f"user{pick % 2}",
                spec=apply_defaults(spec),
                held_by="ann" if pick % 10 == 9 else None,
            )
        )
        self.n_tasks += 1

    def person(self, number: int, what: str) -> None:
        """Somebody does something to a task, or to a member of it, that may not exist."""
        self.do(TaskId(f"t{number}"), number, what)

    def member(self, number: int, index: int, what: str) -> None:
        """Somebody does something to a member of an array that may not exist."""
        self.do(member_id(TaskId(f"t{number}"), index), number, what)

    def do(self, task_id: TaskId, number: int, what: str) -> None:
        """Somebody does something to a task."""
        if what == "cancel":
            self.handle(TaskCancelRequested(task_id=task_id, by="ann"))
        elif what == "hold":
            self.handle(TaskHeld(task_id=task_id, by="ann"))
        elif what == "release":
            self.handle(TaskReleased(task_id=task_id, by="ann"))
        elif what == "quota" and number % 4 == 3:
            self._book(number)
        elif what == "quota":
            self._quota(number)
        elif what == "edit":
            self._edit(task_id)
        elif what == "raise":
            self.handle(TaskReprioritised(task_id=task_id, priority=Priority.URGENT, by="ann"))
        elif self.manager.task(task_id) is not None:
            again = TaskSpec(command=("another",))
            event = TaskSubmitted(task_id=task_id, number=10 * number, owner="ann", spec=again)
            self.handle(event)

    def _array(self, pick: int) -> ArraySpec | None:
        """Sometimes a few members, all or two at once."""
        if pick % 5 != 2:
            return None
        return ArraySpec(first=pick % 2, count=1 + pick % 4, at_most=2 if pick % 3 else None)

    def _after(self, pick: int) -> tuple[Dependency, ...]:
        """Sometimes one or two earlier tasks, living or dead, that can run somewhere."""
        if not self.n_tasks or pick % 9 != 4:
            return ()
        found: dict[str, Dependency] = {}
        for shift in range(1 + pick % 2):
            name = TaskId(f"t{(pick // 9 + shift) % self.n_tasks}")
            other = self.manager.task(name)
            if other is not None and other.spec.array is not None and pick % 2:
                other = self.manager.task(member_id(name, pick % 5))
            if other is not None and other.spec.request not in factories.NEVER:
                end = list(EndWanted)[(pick + shift) % 3]
                found[other.id] = Dependency(task_id=other.id, end=end)
        return tuple(found.values())

    def _quota(self, number: int) -> None:
        """A user or a project may have one or two things at once, or anything again."""
        scope = list(QuotaScope)[number % 2]
        limits: dict[str, int] = {}
        if number % 3:
            limits["running_tasks"] = number % 3
        if number % 5 == 0:
            limits["running_gpus"] = 1 + number % 2
        if number % 4 == 0:
            limits["weekly_gpu_hours"] = number % 8 // 4
        quota = Quota(scope=scope, name=f"user{number // 2 % 2}", **limits)
        self.handle(QuotaSet(quota=quota, by="root"))

    def _book(self, number: int) -> None:
        """A user or a project has a GPU or two from soon on, or gives the first booking back."""
        bookings = self.manager.bookings()
        if bookings and number % 8 == 3:
            over = replace(bookings[0], is_over=True)
            self.handle(BookingSet(booking=over, by="root"))
            return
        from_ms = self.now_ms + 10_000 * (number % 3)
        wish = BookingWish(
            scope=list(QuotaScope)[number % 2],
            name=f"user{number // 2 % 2}",
            n_gpus=1 + number % 2,
            from_ms=from_ms,
            until_ms=from_ms + 60_000 * number,
            by="root",
        )
        booking = self.manager.choose_booking(wish)
        if isinstance(booking, Booking):
            self.handle(BookingSet(booking=booking, by="root"))

    def _edit(self, task_id: TaskId) -> None:
        """Asks for a little less, another name, and a start time that is soon or over."""
        task = self.manager.task(task_id)
        if task is None:
            return
        spec = replace(
            task.spec,
            name=task.spec.name + "e",
            request=factories.REQUESTS[(task.number + len(task.edits)) % 6],
            begin_at_ms=self.now_ms + 20_000 * (task.number % 3 - 1),
        )
        self.handle(TaskEdited(task_id=task_id, spec=spec, by="ann"))

    def join(self, node: int, pick: int) -> None:
        """A hello that holds some of the node's attempts, ended ones and strangers among them."""
        held = []
        for position, attempt in enumerate(self._attempts()):
            roll = (pick // 3 + position * 7) % 10
            on_it = attempt.member_on(NodeId(f"n{node}")) is not None
            if (on_it and roll < 7) or (not on_it and roll == 0):
                wrong = roll == 6 and pick % 2 == 0
                held.append(
                    HeldAttempt(
                        attempt_id=attempt.id,
                        epoch=attempt.epoch + wrong,
                        phase=PHASES[(pick + position) % len(PHASES)],
                    )
                )
        if pick % 11 == 0:
            held.append(HeldAttempt(attempt_id=AttemptId("t99.1"), epoch=1, phase=PHASES[pick % 5]))
        self.session += 1
        rival = node == 2 and pick % 6 == 0
        self.handle(
            NodeJoined(
                node_id=NodeId(f"n{node}"),
                session=self.session if pick % 13 else 1,
                incarnation=self.session,
                label=f"n{node}",
                only_for="user0" if node == 1 else None,
                inventory=factories.inventory(
                    *self._gpus(1 if rival else node, 0), cpus=4, memory="16G"
                ),
                held=tuple(held),
                journal=Journal.REBUILT if pick % 5 == 0 else Journal.INTACT,
                boot_id=f"boot{int(pick % 17 == 0)}",
                capabilities=CAPABILITIES if pick % 4 else (),
            )
        )

    def beat(self, node: int, pick: int) -> None:
        """A heartbeat with some reading."""
        record = self.manager.node(NodeId(f"n{node}"))
        session = record.session if record is not None and pick % 9 else 0
        self.handle(
            NodeReported(node_id=NodeId(f"n{node}"), session=session, gpus=self._gpus(node, pick))
        )

    def node_event(self, node: int, what: str) -> None:
        """Something happens to a node, which may not exist."""
        node_id = NodeId(f"n{node}")
        known = self.manager.node(node_id)
        if what == "leave":
            session = known.session if known is not None else 1
            self.handle(NodeLeft(node_id=node_id, session=session, reason="reset"))
        elif kind := {"accept": NodeAccepted, "give up": NodeGivenUp, "remove": NodeRemoved}.get(
            what
        ):
            self.handle(kind(node_id=node_id, by="root"))
        else:
            self.handle(NodeDrained(node_id=node_id, on=what == "drain", by="root"))

    def says(self, number: int, word: str, pick: int) -> None:
        """A report about any attempt; sometimes of another epoch, session or node."""
        attempts = self._attempts()
        if not attempts:
            return
        attempt = attempts[number % len(attempts)]
        epoch = attempt.epoch + (pick % 8 == 7)
        attempt_id = attempt.id if pick % 19 else AttemptId("t99.1")
        member = attempt.members[pick % len(attempt.members)]
        node_id = member.node_id if pick % 14 else NodeId("n0")
        node = self.manager.node(node_id)
        session = 0 if node is None or pick % 12 == 11 else node.session
        report = self._report(attempt_id, epoch, word, pick)
        foreign = attempt.member_on(node_id) is None or session == 0 or epoch != attempt.epoch
        effects = self.handle(NodeSaid(node_id=node_id, session=session, report=report))
        if foreign or attempt_id != attempt.id:
            changed = [one for one in effects if isinstance(one, SaveTask | SaveAttempt | Dispatch)]
            assert not changed, f"law 19: {report} from {node_id} in session {session}: {changed}"

    def live_says(self, number: int, word: str) -> None:
        """True reports about a living attempt, so that tasks get somewhere.

        Of a gang, one member speaks or all of them.
        """
        live = [one for one in self._attempts() if one.state is not AttemptState.ENDED]
        if not live:
            return
        attempt = live[number % len(live)]
        members = attempt.members
        for member in members if number % 2 else [members[number // 2 % len(members)]]:
            node = self.manager.node(member.node_id)
            assert node is not None
            report = self._report(attempt.id, attempt.epoch, word, number)
            self.handle(NodeSaid(node_id=node.id, session=node.session, report=report))

    def wait(self, length_ms: int) -> None:
        """Time passes, by wake-ups; the nodes say nothing meanwhile."""
        # Now and then long enough to use up GPU-hours.
        length_ms *= 60 if self.now_ms % 7 == 3 else 1
        until = self.now_ms + length_ms
        for _ in range(1000):
            at_ms = self.manager.next_wakeup()
            if at_ms is None or at_ms > until:
                break
            self.now_ms = at_ms
            self.handle(TimePassed())
        else:
            raise AssertionError("law 14: wake-ups without end")
        self.now_ms = until
        self.handle(TimePassed())

    def repeat_last(self) -> None:
        """Law 17: the last event once more changes nothing and starts nothing new."""
        before = self.manager.snapshot()
        effects = self.handle(self.last)
        known = {attempt.id for attempt in before.attempts}
        for effect in effects:
            saved = isinstance(effect, SaveTask | SaveAttempt)
            assert not saved, f"law 17: {self.last} twice: {effect}"
            if isinstance(effect, Dispatch):
                assert effect.attempt.id in known, f"law 17: {effect.attempt.id} is new"

    def restart(self) -> None:
        """Law 16: what is restored goes on like the original once the nodes have joined again.

        Where a node is out of contact the two may differ for good: the restored hive grants its
        attempts another full length. Then the restored one takes over and nothing is compared; so
        too when the first to join again make room for a gang with nodes that have not joined yet.
        """
        snapshot = self.manager.snapshot()
        other = TaskManager.restore(snapshot, self.now_ms, settings=SETTINGS)
        other.hive.turns = deepcopy(self.manager.hive.turns)
        # Promises are dated anew a minute after a restore at the earliest.
        self.manager.hive.redated_at_ms = self.now_ms
        self.last = TimePassed()
        assert {task.id: task for task in other.tasks()} == {
            task.id: task for task in snapshot.tasks
        }
        for attempt in snapshot.attempts:
            for member in attempt.members:
                if member.excludes_node:
                    kept = nodes_off.is_excluded(other.hive, attempt.task_id, member.node_id)
                    assert kept, f"law 16: {attempt.id} was handed back by {member.node_id}"
        self.twin = None
        ready = [node.id for node in self.manager.nodes() if node.state is NodeState.READY]
        if len(ready) < len(self.manager.nodes()):
            self.manager, self.laws = other, StepLaws.since(other)
            return
        self.twin, self.unheard = other, dict.fromkeys(ready)
        for node_id in ready:
            self.session += 1
            del self.unheard[node_id]
            self.handle(true_hello(self.manager, node_id, self.session))

    # ── checks ────────────────────────────────────────────────────────────────────────────────

    def handle(self, event: HiveEvent) -> list[HiveEffect]:
        """Hand an event in; every law is checked."""
        self.last = event
        effects = self.manager.handle(event, self.now_ms)
        if self.twin is not None:
            laws = StepLaws.since(self.twin)
            others = self.twin.handle(event, self.now_ms)
            if any(isinstance(one, Dispatch) and one.node_id in self.unheard for one in effects):
                self.manager, self.laws, effects = self.twin, laws, others
                self.twin = None
            else:
                same = _essence(others) == _essence(effects)
                assert same, f"law 16: the restored hive does otherwise after {event}"
                whole(self.twin.trial(event))
        effects = effects + whole(self.manager.trial(event))
        self.laws.after(self.manager, event, self.now_ms, effects)
        check(self.manager, full=True)
        check(self.manager, full=False)
        self.effects.extend(effects)
        for effect in effects:
            if isinstance(effect, SaveTask) and effect.task.state.is_final:
                self.ended.setdefault(effect.task.id, effect.task.state.value)
            elif isinstance(effect, SaveAttempt) and effect.attempt.outcome is not None:
                self.ended.setdefault(effect.attempt.id, effect.attempt.outcome.kind.value)
        return effects

    def check_model(self) -> None:
        """Law 2 against a model of its own: what has ended stays as it ended."""
        for name, how in self.ended.items():
            attempt = self.manager.attempt(AttemptId(name))
            task = self.manager.task(TaskId(name))
            if attempt is not None:
                assert attempt.outcome is not None, f"law 2: {name} lives again"
                assert attempt.outcome.kind.value == how, f"law 2: {name} ended otherwise"
            else:
                assert task is not None
                assert task.state.value == how, f"law 2: {name} ended otherwise"

    def settle(self) -> None:
        """Laws 20 and 23: when faults stop, every task ends and nothing stays reserved."""
        for task in list(self.manager.tasks()):
            self.do(task.id, 0, "release")
        for quota in self.manager.quotas():
            self.handle(QuotaSet(quota=Quota(scope=quota.scope, name=quota.name), by="root"))
        for booking in self.manager.bookings():
            self.handle(BookingSet(booking=replace(booking, is_over=True), by="root"))
        for round_number in range(40):
            for node in range(4):
                self._rejoin_truly(node)
            for attempt in self._attempts():
                if attempt.state is not AttemptState.ENDED:
                    self.says_success(attempt)
            self.wait(30_000)
            waiting = [task for task in self.manager.tasks() if not task.state.is_final]
            if not waiting:
                break
            if all(task.spec.request in factories.NEVER for task in waiting) and round_number > 2:
                break
        never = [task for task in self.manager.tasks() if task.spec.request in factories.NEVER]
        # An array that was edited since may have members that ask what it asked before.
        stuck = {task.array_id for task in never if not task.state.is_final}
        for task in self.manager.tasks():
            if task.spec.request not in factories.NEVER and task.id not in stuck:
                assert task.state.is_final, f"law 20: {task.id} is {task.state}: {task.reason}"
        for node_now in self.manager.nodes():
            assert self.manager.reserved_on(node_now.id).cpus == 0, f"law 23: {node_now.id}"

    def says_success(self, attempt: Attempt) -> None:
        """Every node of an attempt says that it succeeded."""
        outcome = Outcome(kind=OutcomeKind.SUCCESS)
        report = AttemptEnded(attempt_id=attempt.id, epoch=attempt.epoch, outcome=outcome)
        for member in attempt.members:
            node = self.manager.node(member.node_id)
            assert node is not None
            self.handle(NodeSaid(node_id=node.id, session=node.session, report=report))

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _attempts(self) -> list[Attempt]:
        return [
            attempt
            for task in self.manager.tasks()
            for attempt in self.manager.attempts_of(task.id)
        ]

    def _report(self, attempt_id: AttemptId, epoch: int, word: str, pick: int) -> Report:
        if word == "accepted":
            return AttemptAccepted(attempt_id=attempt_id, epoch=epoch)
        if word == "refused":
            return AttemptRefused(
                attempt_id=attempt_id, epoch=epoch, reason="no", permanent_here=pick % 3 == 0
            )
        if word == "started":
            return AttemptStarted(attempt_id=attempt_id, epoch=epoch, pid=pick, age_ms=pick - 5)
        attempt = self.manager.attempt(attempt_id)
        held = attempt.members[pick % len(attempt.members)].reservation if attempt else None
        return AttemptEnded(
            attempt_id=attempt_id,
            epoch=epoch,
            outcome=Outcome(kind=OUTCOMES[pick % len(OUTCOMES)]),
            facts=ExitFacts(exit_code=0, peak_memory_mib=900 * (pick % 11)),
            dirty_gpus=tuple(share.uuid for share in held.gpus) if held and pick % 5 == 0 else (),
        )

    def _gpus(self, node: int, pick: int) -> tuple[GpuReport, ...]:
        uses = {}
        for attempt in self._attempts():
            if attempt.member_on(NodeId(f"n{node}")) and (pick + attempt.number) % 3 == 0:
                uses[str(attempt.id)] = (pick * 731) % 60_000
        reports = [
            factories.gpu(
                f"n{node}-gpu{index}",
                index,
                "80G" if node else "40G",
                foreign=(pick * 37) % 5000 if pick % 4 == 1 else 0,
                uses=uses if index == 0 else None,
                state="faulty" if (pick + index) % 23 == 22 else "healthy",
                stale=(pick + index) % 29 == 28,
            )
            for index in range(node)
        ]
        return tuple(reports[1:] if pick % 31 == 30 else reports)

    def _rejoin_truly(self, node: int) -> None:
        node_id = NodeId(f"n{node}")
        self.session += 1
        known = self.manager.node(node_id)
        self.handle(NodeDrained(node_id=node_id, on=False, by="root"))
        self.handle(NodeAccepted(node_id=node_id, by="root"))
        hello = NodeJoined(
            node_id=node_id,
            session=self.session,
            incarnation=self.session,
            label=f"n{node}",
            inventory=factories.inventory(*self._gpus(node, 0), cpus=4, memory="16G"),
            capabilities=CAPABILITIES,
        )
        if known is not None:
            truth = true_hello(self.manager, node_id, self.session)
            hello = replace(
                truth, only_for=None, inventory=hello.inventory, capabilities=CAPABILITIES
            )
        self.handle(hello)


def _essence(effects: list[HiveEffect]) -> list[HiveEffect]:
    """What both do: a save of a node tells of readings and times that only one may know.

    Which estimates are put to the test decides nothing, and may differ.
    """
    return [
        effect
        for effect in effects
        if not isinstance(effect, SaveNode | TurnAway)
        and not (isinstance(effect, SaveEstimate) and effect.record.key == start_record.KEY)
    ]

"""Tasks and attempts: what they are, their states, and the two tables of every allowed change.

Every change of state anywhere passes through these tables (``check_task_move``,
``check_attempt_move``). A *task* is an intention and ends once; an *attempt* is one try and ends
once; an ended attempt is never opened again: another try is another attempt with a higher epoch.
What an author writes (``TaskSpec`` and its words) stands in spec.py and can be had from here too.

What to do when a message meets an attempt in some state is data too, in reactions.py.
"""

from __future__ import annotations

from enum import Enum

from .array import MemberCounts
from .dependency import Dependency, Edit
from .outcome import ExitFacts, Outcome, OutcomeKind, StopCause
from .request import Estimate, Promise, Reservation
from .spec import DEFAULT_BACKOFF_MS as DEFAULT_BACKOFF_MS
from .spec import DEFAULT_GRACE_MS as DEFAULT_GRACE_MS
from .spec import DEFAULT_RESTARTS as DEFAULT_RESTARTS
from .spec import RETRY_FAILOVER_MS as RETRY_FAILOVER_MS
from .spec import ExecutorKind as ExecutorKind
from .spec import Priority as Priority
from .spec import SecretForm as SecretForm
from .spec import TaskSpec as TaskSpec
from .values import AttemptId, Mib, Ms, NodeId, TaskId, Value


class TaskState(Enum):
    """Where a task stands. The last three are final."""

    HELD = "held"
    QUEUED = "queued"
    ACTIVE = "active"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    #: Each is there once: what tells it apart is enough, and asked for with every change of a task.
    __hash__ = object.__hash__

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return self in FINAL_STATES


class AttemptState(Enum):
    """Where an attempt stands. ``ended`` is final."""

    RESERVED = "reserved"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"

    #: As for tasks.
    __hash__ = object.__hash__


FINAL_STATES = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})

#: Later than any hive time; the largest integer that every reader of JSON keeps whole.
NEVER_AT_MS: Ms = 2**53 - 1


class Task(Value, frozen=True, kw_only=True):
    """The hive's record of one intention."""

    id: TaskId
    #: Order of submission; unique.
    number: int
    owner: str
    #: What the author asks for, edits included.
    spec: TaskSpec
    state: TaskState
    #: As the author asked at first; people may change it while the task has not ended.
    priority: Priority = Priority.NORMAL
    submitted_at_ms: Ms
    ended_at_ms: Ms | None = None
    #: The person who holds it.
    held_by: str | None = None
    #: Its start time, until it has come.
    begin_at_ms: Ms | None = None
    #: Which of the tasks it comes after have still to end.
    waits_for: tuple[Dependency, ...] = ()
    #: What its author asked for at first, once an edit has changed that.
    original: TaskSpec | None = None
    edits: tuple[Edit, ...] = ()
    #: How often it made room for others, and when that was the last times.
    preemptions: int = 0
    preempted_at_ms: tuple[Ms, ...] = ()
    #: Nodes on which it failed and is not tried again (``retry_elsewhere``).
    kept_off: tuple[NodeId, ...] = ()
    #: Of a member: its array, and which of its members it is.
    array_id: TaskId | None = None
    member_index: int | None = None
    #: Of an array that has ended: how its members did.
    members: MemberCounts | None = None
    #: Not placed before this hive time (backoff).
    not_before_ms: Ms = 0
    #: Attempts made so far; the next one's number is one more.
    attempts: int = 0
    #: Highest epoch given to an attempt of it; only grows, also over a restored backup.
    epoch: int = 0
    retries_used: int = 0
    restarts_used: int = 0
    #: Refusals in a row; sets the pause before it is tried again.
    refusals: int = 0
    #: Who wants it cancelled; set once.
    cancelled_by: str | None = None
    #: How its last attempt ended; None before one did.
    outcome: Outcome | None = None
    #: Why it is in its state, one sentence for people.
    reason: str = ""
    #: Names tasks that are expected to need the same (signature.py); empty: not known.
    signature: str = ""
    #: Ran out of GPU memory: the next attempt reserves no less than this on each GPU.
    least_gpu_memory_mib: Mib = 0
    #: Ran out of GPU memory: the next attempt has its GPU alone.
    alone: bool = False
    #: How often it ran out of GPU memory by exceeding what it had reserved.
    own_ooms: int = 0
    #: How often it ran out because a neighbour exceeded what he had reserved; never counted.
    neighbour_ooms: int = 0
    promise: Promise | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether it is held or queued: it runs nowhere and may still do so."""
        return self.state in (TaskState.HELD, TaskState.QUEUED)

    @property
    def is_held(self) -> bool:
        """Whether anything keeps it from the queue (law 12)."""
        return self.held_by is not None or self.begin_at_ms is not None or bool(self.waits_for)

    @property
    def project(self) -> str:
        """The project that it belongs to: the author's word, or the owner's own."""
        return self.spec.project or self.owner


class Member(Value, frozen=True, kw_only=True):
    """An attempt's part on one node: what it holds there and how that part stands."""

    #: Place among the members, from 0 on.
    rank: int
    node_id: NodeId
    reservation: Reservation
    #: Moves along the same table as an attempt.
    state: AttemptState
    started_at_ms: Ms | None = None
    ended_at_ms: Ms | None = None
    pid: int | None = None
    outcome: Outcome | None = None
    facts: ExitFacts | None = None
    #: As for an attempt, of this part.
    fenced_at_ms: Ms | None = None
    excludes_node: bool = False


#: An attempt that is ready and whose turn has not come is handed back after this time.
TURN_MS: Ms = 5_000


class Turn(Value, frozen=True, kw_only=True):
    """An attempt's place in a row on its node: it starts when the one before it has ended."""

    after: AttemptId
    #: What it holds from then on; until then nothing.
    reservation: Reservation


class Attempt(Value, frozen=True, kw_only=True):
    """One try at a task: on one node, or on several at once (a gang).

    Of a gang, ``node_id``, ``reservation`` and ``pid`` are rank 0's, and its state follows from its
    members' (gang.py).
    """

    id: AttemptId
    task_id: TaskId
    number: int
    #: Fences everything the attempt does: grows within its task, never repeats.
    epoch: int
    #: Names its log streams on the wire, a gang's from here on by rank; unique among all attempts.
    channel: int
    state: AttemptState
    node_id: NodeId
    reservation: Reservation
    reserved_at_ms: Ms
    started_at_ms: Ms | None = None
    ended_at_ms: Ms | None = None
    #: Main process on the node, once started.
    pid: int | None = None
    #: Set when stopping.
    stop_cause: StopCause | None = None
    outcome: Outcome | None = None
    facts: ExitFacts | None = None
    #: Not ended by its node's word: the earliest time at which it cannot be running any more
    #: (``NEVER_AT_MS``: no clock can tell). Set before the end when its node lost sight of it.
    fenced_at_ms: Ms | None = None
    #: Refused for a reason that stays true there: its task is not placed on this node again.
    excludes_node: bool = False
    #: A report that came after it had ended for the server; kept and shown, never credited.
    late_report: Outcome | None = None
    #: The members of a gang by rank; empty for an attempt on one node.
    gang: tuple[Member, ...] = ()
    #: Of a gang: the member whose end is the outcome, from the first end on.
    cause_rank: int | None = None
    #: Port of rank 0's node at which its processes meet; 0: they do not.
    rendezvous_port: int = 0
    #: Where its reservation of GPU memory came from; None: it asked for whole GPUs or for none.
    estimate: Estimate | None = None
    #: When it was expected to be over at the latest, as it was placed.
    expected_end_ms: Ms = 0
    #: The most it was seen to use on one GPU, and when that grew by more than a little last.
    seen_mib: Mib = 0
    grew_at_ms: Ms = 0
    #: The most that a process of it may take of its GPU (gpu_caps.py); None: it has no cap.
    gpu_cap_mib: Mib | None = None
    #: Sent ahead of the place that it takes (ahead.py); None: it holds its place.
    turn: Turn | None = None

    @property
    def members(self) -> tuple[Member, ...]:
        """Its parts, node by node; one without a gang is its own only member."""
        if self.gang:
            return self.gang
        return (
            Member(
                rank=0,
                node_id=self.node_id,
                reservation=self.reservation,
                state=self.state,
                started_at_ms=self.started_at_ms,
                ended_at_ms=self.ended_at_ms,
                pid=self.pid,
                outcome=self.outcome,
                facts=self.facts,
                fenced_at_ms=self.fenced_at_ms,
                excludes_node=self.excludes_node,
            ),
        )

    @property
    def reservations(self) -> tuple[Reservation, ...]:
        """What it holds, node by node."""
        if self.gang:
            return tuple(member.reservation for member in self.gang)
        return (self.reservation,)

    def member_on(self, node_id: NodeId) -> Member | None:
        """Its part on a node; None when it has none there."""
        return next((member for member in self.members if member.node_id == node_id), None)

    def channel_of(self, rank: int) -> int:
        """Names a member's log streams on the wire."""
        return self.channel + rank

    @property
    def gpu_memory_mib(self) -> Mib:
        """GPU memory it holds in all."""
        return sum(share.gpu_memory_mib for held in self.reservations for share in held.gpus)


T, A = TaskState, AttemptState

#: Every allowed change of a task's state, with its causes. "" is before submission.
TASK_MOVES: dict[tuple[TaskState | None, TaskState], str] = {
    (None, T.QUEUED): "submitted, waits for nobody",
    (None, T.HELD): "submitted with a hold: a person's, a start time, or other tasks",
    (None, T.CANCELLED): "submitted after what can never end as wanted",
    (None, T.ACTIVE): "a member of an array, placed",
    (T.HELD, T.ACTIVE): "an array whose last members have left the queue",
    (T.HELD, T.QUEUED): "last hold taken away",
    (T.HELD, T.CANCELLED): "cancel wanted, or what it waits for can never be",
    (T.QUEUED, T.CANCELLED): "cancel wanted",
    (T.QUEUED, T.HELD): "a person holds it, or gives it a start time",
    (T.QUEUED, T.ACTIVE): "placed; of an array: its last member",
    (T.ACTIVE, T.SUCCEEDED): "attempt ended: success",
    (T.ACTIVE, T.CANCELLED): "attempt ended, cancel wanted",
    (T.ACTIVE, T.QUEUED): "attempt ended, tried again",
    (T.ACTIVE, T.HELD): "attempt ended, tried again; a backup was restored, so by a person's word",
    (T.ACTIVE, T.FAILED): "attempt ended, not tried again",
}

#: Every allowed change of an attempt's state, with its causes.
ATTEMPT_MOVES: dict[tuple[AttemptState | None, AttemptState], str] = {
    (None, A.RESERVED): "placed",
    (A.RESERVED, A.STARTING): "accepted",
    (A.RESERVED, A.RUNNING): "started, the acceptance got lost",
    (A.STARTING, A.RUNNING): "started",
    (A.RESERVED, A.STOPPING): "cancel, time limit, preemption, or a member ended",
    (A.STARTING, A.STOPPING): "cancel, time limit, preemption, or a member ended",
    (A.RUNNING, A.STOPPING): "cancel, time limit, preemption, or a member ended",
    (A.RESERVED, A.ENDED): "ended, refused, or known not to run any more",
    (A.STARTING, A.ENDED): "ended, refused, or known not to run any more",
    (A.RUNNING, A.ENDED): "ended, or known not to run any more",
    (A.STOPPING, A.ENDED): "ended, refused, or known not to run any more",
}


#: Ends that are the task's own failure: tried again by ``retry``.
OWN_FAILURES = frozenset({OutcomeKind.FAILURE, OutcomeKind.TIME_LIMIT, OutcomeKind.HOST_OOM})
#: Ends that are never tried again.
NEVER_AGAIN = frozenset({OutcomeKind.SUCCESS, OutcomeKind.CANCELLED})


def check_task_move(old: TaskState | None, new: TaskState) -> None:
    """Asserts that the table allows this change: a break is our own mistake."""
    assert (old, new) in TASK_MOVES, f"no such change of a task: {old} → {new}"


def check_attempt_move(old: AttemptState | None, new: AttemptState) -> None:
    """Asserts that the table allows this change: a break is our own mistake."""
    assert (old, new) in ATTEMPT_MOVES, f"no such change of an attempt: {old} → {new}"

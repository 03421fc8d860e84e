"""All that can happen: to the hive (``HiveEvent``) and on a node (``NodeEvent``). Past tense.

Each carries what it needs; identifiers and times come in from outside. Every hive event can be
appended to a journal and played again.
"""

from __future__ import annotations

from typing import TypeAlias

from .booking import Booking
from .node import GpuReport, HeldAttempt, Inventory, Journal
from .outcome import ExitFacts, StopCause
from .quota import Quota
from .reports import Report
from .request import Rendezvous, Reservation
from .task import Priority, TaskSpec
from .values import AttemptId, Mib, Ms, NodeId, Tagged, TaskId

# ── the hive ──────────────────────────────────────────────────────────────────────────────────


class TaskSubmitted(Tagged, frozen=True, kw_only=True):
    """A checked spec was accepted; the id and number are new."""

    task_id: TaskId
    number: int
    owner: str
    spec: TaskSpec
    #: Who holds it from the start; None: no person does.
    held_by: str | None = None
    #: Of the tasks it comes after, those known to have ended as wanted (the core forgets old ones).
    settled: tuple[TaskId, ...] = ()


class TaskCancelRequested(Tagged, frozen=True, kw_only=True):
    """Somebody who may wants the task to end. Final: nothing starts any more."""

    task_id: TaskId
    by: str


class TaskHeld(Tagged, frozen=True, kw_only=True):
    """A task that has not started is kept from starting by a person."""

    task_id: TaskId
    by: str


class TaskReleased(Tagged, frozen=True, kw_only=True):
    """A person's hold is taken away; a start time and other tasks hold on."""

    task_id: TaskId
    by: str


class TaskReprioritised(Tagged, frozen=True, kw_only=True):
    """A task that has not ended gets another priority."""

    task_id: TaskId
    priority: Priority
    by: str


class TaskEdited(Tagged, frozen=True, kw_only=True):
    """A task that waits gets another spec: the whole new one, checked. Its command stays."""

    task_id: TaskId
    spec: TaskSpec
    by: str


class NodeJoined(Tagged, frozen=True, kw_only=True):
    """An agent said hello on a new connection; ``session`` is above all earlier ones."""

    node_id: NodeId
    session: int
    incarnation: int
    label: str
    only_for: str | None = None
    inventory: Inventory
    held: tuple[HeldAttempt, ...] = ()
    journal: Journal = Journal.INTACT
    agent_version: str = ""
    boot_id: str = ""
    #: Names the node's journal since it was begun; another one never knew what came before it.
    journal_id: str = ""
    #: By the node's boot clock; 0: not said.
    sent_at_ms: Ms = 0
    #: Which of ``held`` the store knows nothing of; what it knows and we forgot is not among them.
    unknown: tuple[AttemptId, ...] = ()
    #: What its agent can do (capability.py); words that nobody here knows do no harm.
    capabilities: tuple[str, ...] = ()


class NodeReported(Tagged, frozen=True, kw_only=True):
    """A heartbeat: the node is there, and this is how its GPUs are."""

    node_id: NodeId
    session: int
    gpus: tuple[GpuReport, ...] = ()


class NodeSaid(Tagged, frozen=True, kw_only=True):
    """A node's report about one attempt."""

    node_id: NodeId
    session: int
    report: Report


class NodeLeft(Tagged, frozen=True, kw_only=True):
    """The connection of a session closed; says nothing about the attempts."""

    node_id: NodeId
    session: int
    reason: str


class NodeDrained(Tagged, frozen=True, kw_only=True):
    """A person wants no new attempts on the node (or wants them again)."""

    node_id: NodeId
    on: bool
    by: str
    reason: str = ""
    #: When it takes tasks again by itself; None: when somebody says so.
    until_ms: Ms | None = None


class NodeAccepted(Tagged, frozen=True, kw_only=True):
    """An administrator lets a node serve everybody."""

    node_id: NodeId
    by: str


class TasksExpired(Tagged, frozen=True, kw_only=True):
    """The store drops these tasks, which ended long ago, in the step that stores this."""

    task_ids: tuple[TaskId, ...]


class UnknownEnded(Tagged, frozen=True, kw_only=True):
    """A person wants what a node holds and the hive does not know to end."""

    node_id: NodeId
    by: str


class NodeGivenUp(Tagged, frozen=True, kw_only=True):
    """A person vouches that the machine is off: its attempts are over."""

    node_id: NodeId
    by: str


class NodeRemoved(Tagged, frozen=True, kw_only=True):
    """A person wants a node that is gone for good off the list; its token is revoked with it."""

    node_id: NodeId
    by: str


class QuotaSet(Tagged, frozen=True, kw_only=True):
    """An administrator changed what a user or a project may have at once."""

    quota: Quota
    by: str


class BookingSet(Tagged, frozen=True, kw_only=True):
    """An administrator made a booking (booking_desk.choose), or cancelled it (``is_over``)."""

    booking: Booking
    by: str


class TimePassed(Tagged, frozen=True, kw_only=True):
    """Nothing but time; sent at ``next_wakeup()``."""


HiveEvent: TypeAlias = (
    TaskSubmitted
    | TaskCancelRequested
    | TaskHeld
    | TaskReleased
    | TaskReprioritised
    | TaskEdited
    | NodeJoined
    | NodeReported
    | NodeSaid
    | NodeLeft
    | NodeDrained
    | NodeAccepted
    | UnknownEnded
    | TasksExpired
    | NodeGivenUp
    | QuotaSet
    | BookingSet
    | NodeRemoved
    | TimePassed
)

# ── one node ──────────────────────────────────────────────────────────────────────────────────


class SessionOpened(Tagged, frozen=True, kw_only=True):
    """The server welcomed this node: from now on only this session's messages count."""

    session: int


class SessionClosed(Tagged, frozen=True, kw_only=True):
    """The connection is gone. Running attempts run on."""


class ContactRenewed(Tagged, frozen=True, kw_only=True):
    """The server acknowledged a heartbeat that was sent at this boot time of the node."""

    sent_at_ms: Ms


class DispatchReceived(Tagged, frozen=True, kw_only=True):
    """The server wants an attempt to run here."""

    session: int
    attempt_id: AttemptId
    task_id: TaskId
    epoch: int
    channel: int
    reservation: Reservation
    grace_ms: Ms
    time_limit_ms: Ms | None = None
    failover_ms: Ms | None = None
    #: Sent in place of SIGTERM when it is stopped to make room.
    checkpoint_signal: str | None = None
    #: This node's place among the members, of so many.
    rank: int = 0
    n_nodes: int = 1
    #: None: the attempt's processes do not meet.
    rendezvous: Rendezvous | None = None
    #: The most that a process of it may take of its GPU; None: it has no cap.
    gpu_cap_mib: Mib | None = None
    #: It starts when this attempt has ended here; None: now.
    after: AttemptId | None = None
    #: Handed back where its turn has not come so long after it was ready.
    turn_ms: Ms = 0


class StopReceived(Tagged, frozen=True, kw_only=True):
    """The server wants an attempt to end; a second one kills at once."""

    session: int
    attempt_id: AttemptId
    epoch: int
    cause: StopCause


class ForgetReceived(Tagged, frozen=True, kw_only=True):
    """The server has the end of these attempts on its disk, logs included."""

    session: int
    attempt_ids: tuple[AttemptId, ...]


class WorkspaceReady(Tagged, frozen=True, kw_only=True):
    """The run directory is made: the attempt can be launched."""

    attempt_id: AttemptId


class WorkspaceFailed(Tagged, frozen=True, kw_only=True):
    """The run directory could not be made, or what the task asks for is not on this node."""

    attempt_id: AttemptId
    detail: str
    #: True: the node cannot run it but another may (a directory that is missing here).
    elsewhere: bool = False
    #: With ``elsewhere``: another try may go well here too (the server could not be asked).
    for_now: bool = False


class ProcessStarted(Tagged, frozen=True, kw_only=True):
    """The shim says that the attempt's main process runs."""

    attempt_id: AttemptId
    pid: int
    #: Boot time of the node at the start.
    started_at_ms: Ms


class ProcessExited(Tagged, frozen=True, kw_only=True):
    """The attempt is over on this node: the exit record, or what stands in for it."""

    attempt_id: AttemptId
    facts: ExitFacts
    #: No exit record: the supervisor is gone and the tree was ended by the agent.
    supervisor_lost: bool = False
    #: The machine was started again since the attempt began.
    rebooted: bool = False


class ReadingTaken(Tagged, frozen=True, kw_only=True):
    """The GPUs as the monitor sees them now."""

    gpus: tuple[GpuReport, ...]


class DiskChanged(Tagged, frozen=True, kw_only=True):
    """Whether the agent can write where it keeps runs; empty: it can."""

    problem: str = ""


NodeEvent: TypeAlias = (
    SessionOpened
    | SessionClosed
    | ContactRenewed
    | DispatchReceived
    | StopReceived
    | ForgetReceived
    | WorkspaceReady
    | WorkspaceFailed
    | ProcessStarted
    | ProcessExited
    | ReadingTaken
    | DiskChanged
    | TimePassed
)

"""All that the core can ask for: of the server (``HiveEffect``) and of a node (``NodeEffect``).

Imperative, plain data. A shell carries out all saves of one step in one transaction, then the
rest; carrying an effect out twice does no harm.
"""

from __future__ import annotations

from typing import TypeAlias

from .booking import Booking
from .events import DispatchReceived, ProcessExited
from .fairshare import Usage
from .gpu_hours import GpuHours
from .learning import Learned
from .node import HeldPhase, Node
from .outcome import StopCause
from .quota import Quota
from .reports import AttemptEnded, AttemptRefused, Report
from .request import Rendezvous
from .task import Attempt, Task
from .values import AttemptId, Ms, NodeId, Tagged, TaskId, Value

# ── the hive ──────────────────────────────────────────────────────────────────────────────────


class SaveTask(Tagged, frozen=True, kw_only=True):
    """Store the task as it is now."""

    task: Task


class SaveAttempt(Tagged, frozen=True, kw_only=True):
    """Store the attempt as it is now."""

    attempt: Attempt


class SaveNode(Tagged, frozen=True, kw_only=True):
    """Store the node as it is now."""

    node: Node


class SaveEstimate(Tagged, frozen=True, kw_only=True):
    """Store what was learned under one name."""

    record: Learned


class SaveUsage(Tagged, frozen=True, kw_only=True):
    """Store how much of the hive somebody had."""

    usage: Usage


class SaveQuota(Tagged, frozen=True, kw_only=True):
    """Store the quota as it is now; one that limits nothing is removed."""

    quota: Quota


class SaveGpuHours(Tagged, frozen=True, kw_only=True):
    """Store the GPU-hours of a user or a project as they are now."""

    hours: GpuHours


class SaveBooking(Tagged, frozen=True, kw_only=True):
    """Store a booking as it is now."""

    booking: Booking


class Welcome(Tagged, frozen=True, kw_only=True):
    """Tell a node that its hello was accepted; goes out before anything else of the session."""

    node_id: NodeId
    session: int


class TurnAway(Tagged, frozen=True, kw_only=True):
    """Refuse a node's hello and close its connection."""

    node_id: NodeId
    session: int
    reason: str
    hint: str


class Dispatch(Tagged, frozen=True, kw_only=True):
    """Send an attempt to its node; one of a gang to the node of each member."""

    node_id: NodeId
    session: int
    task: Task
    attempt: Attempt
    #: The member that the node is.
    rank: int = 0
    #: Where the members meet; None: they do not.
    rendezvous: Rendezvous | None = None


class Stop(Tagged, frozen=True, kw_only=True):
    """Tell a node to end an attempt."""

    node_id: NodeId
    session: int
    attempt_id: AttemptId
    epoch: int
    cause: StopCause


class Forget(Tagged, frozen=True, kw_only=True):
    """Tell a node that an attempt's end is stored; carried out once its logs are stored too."""

    node_id: NodeId
    session: int
    attempt_id: AttemptId


class Publish(Tagged, frozen=True, kw_only=True):
    """Tell people: the state of a task, an attempt or a node changed."""

    #: Id of what changed; exactly one of the three is set.
    task_id: TaskId | None = None
    attempt_id: AttemptId | None = None
    node_id: NodeId | None = None
    #: The new state's word.
    state: str
    #: One sentence, may be empty.
    reason: str = ""


HiveEffect: TypeAlias = (
    SaveTask
    | SaveAttempt
    | SaveNode
    | SaveEstimate
    | SaveUsage
    | SaveQuota
    | SaveBooking
    | SaveGpuHours
    | Welcome
    | TurnAway
    | Dispatch
    | Stop
    | Forget
    | Publish
)

#: What is stored, before anything else of a step is carried out.
HIVE_SAVES = (
    SaveTask,
    SaveAttempt,
    SaveNode,
    SaveEstimate,
    SaveUsage,
    SaveQuota,
    SaveBooking,
    SaveGpuHours,
)

# ── one node ──────────────────────────────────────────────────────────────────────────────────


class NodeAttempt(Value, frozen=True, kw_only=True):
    """What a node remembers about one attempt until it is told to forget; kept in its journal."""

    dispatch: DispatchReceived
    phase: HeldPhase
    pid: int | None = None
    started_at_ms: Ms | None = None
    stop_cause: StopCause | None = None
    #: When the stop began, on the node's boot clock.
    stopping_at_ms: Ms | None = None
    kill_sent: bool = False
    #: How it exited, from then until its final word: its GPUs' memory is awaited.
    exited: ProcessExited | None = None
    exited_at_ms: Ms | None = None
    #: The final word about it, said again whenever asked.
    final: AttemptEnded | AttemptRefused | None = None
    #: The attempt whose place it takes; None: its turn has come. It stays where that never came.
    waits_for: AttemptId | None = None
    #: Its workspace is made, and by when it is handed back unless its turn has come.
    is_ready: bool = False
    turn_by_ms: Ms | None = None


class SaveHeld(Tagged, frozen=True, kw_only=True):
    """Journal this before anything else of the step is done."""

    held: NodeAttempt


class PrepareWorkspace(Tagged, frozen=True, kw_only=True):
    """Make the run directory; answer ``WorkspaceReady`` or ``WorkspaceFailed``."""

    attempt_id: AttemptId


class Spawn(Tagged, frozen=True, kw_only=True):
    """Have the launcher start the shim; answers are ``ProcessStarted`` and ``ProcessExited``."""

    attempt_id: AttemptId


class Signal(Tagged, frozen=True, kw_only=True):
    """Ask the tree to end (SIGTERM, then the shim's own grace)."""

    attempt_id: AttemptId
    cause: StopCause


class KillTree(Tagged, frozen=True, kw_only=True):
    """End the tree now, by every means; answered by ``ProcessExited``."""

    attempt_id: AttemptId


class Say(Tagged, frozen=True, kw_only=True):
    """Send a report to the server: journalled first, sent again until acknowledged."""

    report: Report


class WriteContact(Tagged, frozen=True, kw_only=True):
    """Write the time of the last contact where shims with a failover length read it."""

    contact_at_ms: Ms


class Discard(Tagged, frozen=True, kw_only=True):
    """Remove the attempt's journal entry and run directory."""

    attempt_id: AttemptId


NodeEffect: TypeAlias = (
    SaveHeld | PrepareWorkspace | Spawn | Signal | KillTree | Say | WriteContact | Discard
)

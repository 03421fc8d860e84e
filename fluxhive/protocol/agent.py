"""The messages between an agent and the server. docs/protocol.md tells the rules in prose.

Reports about attempts (``AttemptEnded`` and its kin) are the core's own values. New fields have
defaults; a field never changes its meaning; a tag is never used again; an unknown tag is skipped.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import field

from fluxhive.core.code import CodeSnapshot
from fluxhive.core.container import Mount
from fluxhive.core.health import NodeHealth
from fluxhive.core.node import AttemptUsage, GpuReport, HeldAttempt, Inventory, Journal
from fluxhive.core.outcome import StopCause
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptRefused, AttemptStarted
from fluxhive.core.request import Rendezvous, Reservation
from fluxhive.core.task import ExecutorKind, SecretForm
from fluxhive.core.values import AttemptId, GpuUuid, Mib, Ms, Tagged, TaskId, Value

# ── agent → server ────────────────────────────────────────────────────────────────────────────


class Hello(Tagged, frozen=True, kw_only=True):
    """First message of a connection; the node's identity is its token's."""

    #: Grows with each start of the agent.
    incarnation: int
    agent_version: str
    label: str
    boot_id: str = ""
    #: What it can do beyond the first version: ways of the wire, and launches (core/capability.py).
    capabilities: tuple[str, ...] = ()
    inventory: Inventory
    held: tuple[HeldAttempt, ...] = ()
    journal: Journal = Journal.INTACT
    #: Names the journal since it was begun, so that one made anew is news only once.
    journal_id: str = ""
    #: The machine, as it was named when the node was registered; empty: an older agent.
    machine_id: str = ""
    #: Differs with each start of an agent anywhere: tells one that dials again from a copy of it.
    life: str = ""
    #: The node's boot clock: a hello that was long on its way is told from news. 0: not said.
    sent_at_ms: Ms = 0


class GpuSample(Value, frozen=True, kw_only=True):
    """One reading of one GPU, for the history of use."""

    #: The agent's boot clock at the reading.
    at_ms: Ms
    uuid: GpuUuid
    used_mib: Mib | None = None
    utilization_percent: int | None = None
    attempts: tuple[AttemptUsage, ...] = ()


class HostSample(Value, frozen=True, kw_only=True):
    """What one attempt took of its node at one look, all its processes together."""

    #: The agent's boot clock at the look.
    at_ms: Ms
    attempt_id: AttemptId
    #: Resident; what processes share counts for each.
    memory_mib: Mib
    #: Of one core, since the look before; None: not known.
    cpu_percent: int | None = None


class Heartbeat(Tagged, frozen=True, kw_only=True):
    """The node is there. Not numbered: the latest wins. Answered by ``HeartbeatAck``."""

    #: The agent's boot clock when it was sent; comes back in the answer.
    sent_at_ms: Ms
    gpus: tuple[GpuReport, ...] = ()
    cpu_percent: int | None = None
    memory_used_mib: int | None = None
    #: Why the node takes nothing new, such as a full disk; empty: it does.
    problem: str = ""
    #: Readings since those of the last heartbeat that was answered, oldest first.
    samples: tuple[GpuSample, ...] = ()
    #: The node's wall clock when it was sent, Unix time; 0: not said.
    wall_ms: int = 0
    #: Some times a minute; None: as it was last.
    health: NodeHealth | None = None
    #: As ``samples``, of attempts instead of GPUs.
    host_samples: tuple[HostSample, ...] = ()


class LogGap(Tagged, frozen=True, kw_only=True):
    """Bytes of a stream that the node cannot give any more: ``start`` up to ``end``.

    Where both are the same, output may be missing there, nobody knows how much.
    """

    channel: int
    stream: int
    start: int
    end: int
    reason: str


class Goodbye(Tagged, frozen=True, kw_only=True):
    """The agent closes on purpose; attempts that run go on unless it says so."""

    reason: str


# ── server → agent ────────────────────────────────────────────────────────────────────────────


class LogUpTo(Tagged, frozen=True, kw_only=True):
    """How much of a stream the server has: below ``durable`` the node may drop bytes."""

    channel: int
    stream: int
    received: int
    durable: int
    #: The server keeps no more of it: the node sends gaps in place of bytes.
    is_full: bool = False


class Welcome(Tagged, frozen=True, kw_only=True):
    """The hello was accepted. Closes every earlier session of this node."""

    session: int
    heartbeat_ms: Ms
    server_version: str
    capabilities: tuple[str, ...] = ()
    #: How far apart the node's readings of its GPUs are to be, 1000 to 5000; 0: as it likes.
    reading_ms: Ms = 0
    #: For each stream of each held attempt: where the node goes on sending.
    log_marks: tuple[LogUpTo, ...] = ()


class Turned(Tagged, frozen=True, kw_only=True):
    """The hello was refused; the connection closes."""

    reason: str
    hint: str = ""
    #: False: dialling again cannot help before a person has done something.
    try_again: bool = False


class HeartbeatAck(Tagged, frozen=True, kw_only=True):
    """A heartbeat arrived: renews the node's contact, counted from when it was sent."""

    sent_at_ms: Ms


class LaunchSecret(Value, frozen=True, kw_only=True):
    """A secret that a task is given, with what it holds. Only in a launch that is fetched."""

    name: str
    form: SecretForm
    value: str

    def __repr__(self) -> str:
        return f"LaunchSecret(name={self.name!r}, form={self.form!r}, value=***)"


class Launch(Value, frozen=True, kw_only=True):
    """What to start: all that a node needs of a task's spec."""

    command: tuple[str, ...]
    executor: ExecutorKind
    env: dict[str, str] = field(default_factory=dict)
    workdir: str | None = None
    venv: str | None = None
    merge_output: bool = False
    task_name: str = ""
    owner: str = ""
    #: As in the spec: interpreter of a ``python`` task.
    python: str | None = None
    secrets: tuple[LaunchSecret, ...] = ()
    #: As in the spec: processes of a ``torchrun`` task here.
    nproc_per_node: int | None = None
    #: Fetched by ``GET /api/v1/agent/code/{attempt}``, in pieces, unless the node has it.
    code: CodeSnapshot | None = None
    #: As in the spec: the container that it runs in.
    image: str | None = None
    mounts: tuple[Mount, ...] = ()


class Dispatch(Tagged, frozen=True, kw_only=True):
    """Run this attempt. Repeated: answered again with how it stands, never started twice."""

    session: int
    attempt_id: AttemptId
    task_id: TaskId
    epoch: int
    #: Names the attempt in log frames.
    channel: int
    reservation: Reservation
    grace_ms: Ms
    time_limit_ms: Ms | None = None
    failover_ms: Ms | None = None
    #: Sent in place of SIGTERM when it is stopped to make room: ``USR1``.
    checkpoint_signal: str | None = None
    #: None: too large for a frame, or with secrets. Fetched by
    #: ``GET /api/v1/agent/launches/{attempt}`` then.
    launch: Launch | None = None
    #: This node's place among the members of the gang, of so many; 0 of 1: not a gang.
    rank: int = 0
    n_nodes: int = 1
    #: Where the attempt's processes meet, on rank 0's node; None: they do not.
    rendezvous: Rendezvous | None = None
    #: The most that a process of it may take of its GPU, told to its PyTorch or JAX by environment
    #: where that is understood; None: it has no cap.
    gpu_cap_mib: Mib | None = None
    #: Start it when this attempt has ended here, in its place; None: now.
    after: AttemptId | None = None
    #: Hand it back where it has been ready for so long and its turn has not come.
    turn_ms: Ms = 0


class Stop(Tagged, frozen=True, kw_only=True):
    """End this attempt; a second one kills at once."""

    session: int
    attempt_id: AttemptId
    epoch: int
    cause: StopCause


class Forget(Tagged, frozen=True, kw_only=True):
    """The ends of these attempts are stored, logs included: drop them."""

    session: int
    attempt_ids: tuple[AttemptId, ...]


AgentMessage: TypeAlias = (
    Hello
    | Heartbeat
    | AttemptAccepted
    | AttemptRefused
    | AttemptStarted
    | AttemptEnded
    | LogGap
    | Goodbye
)
ServerMessage: TypeAlias = Welcome | Turned | HeartbeatAck | Dispatch | Stop | Forget | LogUpTo

"""Nodes and GPUs as the brain sees them, and what agents report about them."""

from __future__ import annotations

from enum import Enum

from .values import AttemptId, GpuUuid, Mib, Ms, NodeId, Value

#: Below the ports that Linux (32768) and IANA (49152) give to connections of their own.
RENDEZVOUS_PORTS = (29_500, 30_499)


class NodeState(Enum):
    """``ready → silent → lost``; back to ready only with a new session."""

    READY = "ready"
    SILENT = "silent"
    LOST = "lost"


class GpuState(Enum):
    """Only a healthy GPU is offered. Dirty: memory of an ended attempt has not come back."""

    HEALTHY = "healthy"
    DIRTY = "dirty"
    FAULTY = "faulty"


class AttemptUsage(Value, frozen=True, kw_only=True):
    """What one attempt uses of one GPU now."""

    attempt_id: AttemptId
    used_mib: Mib


class GpuReport(Value, frozen=True, kw_only=True):
    """One GPU as its node reports it: facts folded from readings (core/gpu_monitor.py)."""

    uuid: GpuUuid
    index: int
    model: str
    total_mib: Mib
    state: GpuState = GpuState.HEALTHY
    #: Why it is dirty or faulty.
    state_reason: str = ""
    used_mib: Mib | None = None
    #: Memory of processes that belong to no attempt; counted against what can be placed.
    foreign_mib: Mib = 0
    attempts: tuple[AttemptUsage, ...] = ()
    utilization_percent: int | None = None
    temperature_c: int | None = None
    power_w: int | None = None
    #: What the card may draw at most.
    power_limit_w: int | None = None
    #: What holds its clocks down now (``power cap``); None: the card does not say.
    slowed_by: tuple[str, ...] | None = None
    #: Memory errors since the driver was loaded: repaired by the card, and not.
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    #: True when the reading is older than the time limit (NVML hangs): nothing new is placed.
    stale: bool = False


def unnamed_gpu(uuid: GpuUuid, index: int) -> GpuReport:
    """Stands for a GPU that its node does not name any more while an attempt still holds it."""
    return GpuReport(
        uuid=uuid,
        index=index,
        model="",
        total_mib=0,
        state=GpuState.FAULTY,
        state_reason="its node does not name it any more",
        stale=True,
    )


class HeldPhase(Enum):
    """Where an attempt stands on its node (the node's own machine, core/executor.py)."""

    PREPARING = "preparing"
    LAUNCHING = "launching"
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"

    #: Each is there once: what tells it apart is enough, and asked for with each move.
    __hash__ = object.__hash__


class HeldAttempt(Value, frozen=True, kw_only=True):
    """An attempt that a node holds when it says hello."""

    attempt_id: AttemptId
    epoch: int
    phase: HeldPhase
    #: What it was given there, for a server that does not know it; agents before 1.0 say nothing.
    cpus: int = 0
    memory_mib: Mib = 0


class Journal(Enum):
    """Whether the node's memory of its attempts is whole."""

    INTACT = "intact"
    #: Made again from run directories: an attempt that is missing may still be running.
    REBUILT = "rebuilt"


class Inventory(Value, frozen=True, kw_only=True):
    """What a node has."""

    cpus: int
    memory_mib: Mib
    gpus: tuple[GpuReport, ...] = ()
    hostname: str = ""
    system: str = ""
    #: Version of the GPU driver, or why there is none.
    driver: str = ""
    #: Where other nodes reach it. Empty in a hello: the address that the server sees.
    address: str = ""
    #: First and last port at which the members of a gang may meet here.
    rendezvous_ports: tuple[int, int] = RENDEZVOUS_PORTS
    #: What people call the machine by besides its label: tasks can ask for it.
    tags: tuple[str, ...] = ()
    #: How many attempts may be on one GPU at once; 1: GPUs are not shared, None: as the hive says.
    tasks_per_gpu_max: int | None = None


class Drain(Value, frozen=True, kw_only=True):
    """Who wants a node to take nothing new, and why."""

    by: str
    reason: str = ""
    #: When it takes tasks again by itself; None: when somebody says so.
    until_ms: Ms | None = None


class Node(Value, frozen=True, kw_only=True):
    """A machine with an agent, as the brain knows it."""

    id: NodeId
    label: str
    state: NodeState
    #: Grows with each accepted hello; 0 before the first. Messages of another session are dropped.
    session: int = 0
    incarnation: int = 0
    #: The one user it serves; None: everybody.
    only_for: str | None = None
    draining: bool = False
    inventory: Inventory
    agent_version: str = ""
    boot_id: str = ""
    last_contact_at_ms: Ms = 0
    #: Names its journal; what was placed on it before that one began may be missing from it.
    journal_id: str = ""
    #: When it said its latest hello, by its own boot clock.
    hello_at_ms: Ms = 0
    #: Taken off the list by a person; kept in the store for the attempts that name it.
    removed: bool = False
    #: What its agent can do that older ones cannot (capability.py), as its latest hello said.
    capabilities: tuple[str, ...] = ()
    #: Why and until when it is draining; None: it is not, or nobody said.
    drain: Drain | None = None

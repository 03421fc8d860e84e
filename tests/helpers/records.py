"""Tasks, attempts and nodes with something in every field, for tests of what is stored."""

from __future__ import annotations

from fluxhive.core.ids import attempt_id, task_id
from fluxhive.core.node import GpuReport, Inventory, Node, NodeState
from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind
from fluxhive.core.request import GpuShare, Request, Reservation
from fluxhive.core.task import Attempt, AttemptState, Priority, Task, TaskSpec, TaskState
from fluxhive.core.values import GpuUuid, NodeId

NODE = NodeId("n-1")
DONE = Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)


def spec(**fields: object) -> TaskSpec:
    """A spec that says more than it must."""
    known: dict[str, object] = {
        "command": ("python", "train.py", "--läuft=✓"),
        "name": "train",
        "env": {"A": "1"},
        "request": Request(gpus=1, gpu_memory_mib=2048),
    }
    return TaskSpec(**{**known, **fields})  # type: ignore[arg-type]


def task(number: int = 0, **fields: object) -> Task:
    """A queued task."""
    known: dict[str, object] = {
        "id": task_id(number),
        "number": number,
        "owner": "ann",
        "spec": spec(),
        "state": TaskState.QUEUED,
        "priority": Priority.HIGH,
        "submitted_at_ms": 1_000 + number,
        "reason": "submitted",
    }
    return Task(**{**known, **fields})  # type: ignore[arg-type]


def node(**fields: object) -> Node:
    """A node with one GPU."""
    gpu = GpuReport(uuid=GpuUuid("GPU-1"), index=0, model="Test", total_mib=81_920)
    known: dict[str, object] = {
        "id": NODE,
        "label": "gpu-a",
        "state": NodeState.READY,
        "session": 1,
        "incarnation": 3,
        "inventory": Inventory(cpus=8, memory_mib=65_536, gpus=(gpu,)),
        "last_contact_at_ms": 1_500,
    }
    return Node(**{**known, **fields})  # type: ignore[arg-type]


def attempt(of: Task, number: int = 1, *, channel: int = 1, **fields: object) -> Attempt:
    """A reserved attempt on ``NODE``."""
    share = GpuShare(uuid=GpuUuid("GPU-1"), index=0, gpu_memory_mib=2048)
    known: dict[str, object] = {
        "id": attempt_id(of.id, number),
        "task_id": of.id,
        "number": number,
        "epoch": number,
        "channel": channel,
        "state": AttemptState.RESERVED,
        "node_id": NODE,
        "reservation": Reservation(node_id=NODE, gpus=(share,), cpus=2),
        "reserved_at_ms": 2_000,
    }
    return Attempt(**{**known, **fields})  # type: ignore[arg-type]


def ended(of: Attempt, **fields: object) -> Attempt:
    """The same attempt, over."""
    from msgspec.structs import replace

    facts = ExitFacts(exit_code=0, stdout_bytes=12, duration_ms=5)
    known: dict[str, object] = {
        "state": AttemptState.ENDED,
        "ended_at_ms": 3_000,
        "outcome": DONE,
        "facts": facts,
    }
    return replace(of, **{**known, **fields})

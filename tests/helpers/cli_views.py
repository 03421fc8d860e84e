"""Views as a server would send them, with everything set that a test does not care for."""

from __future__ import annotations

from typing import Any

from fluxhive.core.node import AttemptUsage, GpuReport, NodeState
from fluxhive.core.outcome import ExitFacts, GpuPeak, Outcome, OutcomeKind
from fluxhive.core.request import GpuShare, Request, Reservation
from fluxhive.core.task import AttemptState, TaskSpec, TaskState
from fluxhive.core.values import AttemptId, GpuUuid, NodeId
from fluxhive.protocol.rest import AttemptView, GpuView, NodeView, TaskView

NOON_MS = 1_790_000_000_000


def task(**members: Any) -> TaskView:
    """A queued task."""
    given: dict[str, Any] = {
        "id": "t-7f3k",
        "number": 1,
        "name": "vit",
        "owner": "ada",
        "state": TaskState.QUEUED,
        "word": "queued",
        "spec": TaskSpec(command=("python", "train.py")),
        "submitted_at_ms": NOON_MS,
    }
    return TaskView(**{**given, **members})


def attempt(*, number: int = 1, **members: Any) -> AttemptView:
    """An ended attempt on one shared GPU."""
    given: dict[str, Any] = {
        "id": f"t-7f3k.{number}",
        "number": number,
        "epoch": number,
        "state": AttemptState.RUNNING,
        "node_id": "n-1",
        "node_label": "gpu-a",
        "reservation": Reservation(
            node_id=NodeId("n-1"),
            gpus=(GpuShare(uuid=GpuUuid("GPU-1"), index=2, gpu_memory_mib=20480),),
        ),
        "reserved_at_ms": NOON_MS + 1000,
    }
    return AttemptView(**{**given, **members})


def succeeded() -> TaskView:
    """A task that ran 12 s and succeeded."""
    facts = ExitFacts(
        exit_code=0,
        duration_ms=12_300,
        cpu_ms=11_000,
        peak_memory_mib=80,
        gpu_peaks=(GpuPeak(uuid=GpuUuid("GPU-1"), peak_mib=18_000),),
    )
    outcome = Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)
    return task(
        state=TaskState.SUCCEEDED,
        word="succeeded",
        outcome=outcome,
        started_at_ms=NOON_MS + 2000,
        ended_at_ms=NOON_MS + 14_300,
        attempts=(attempt(state=AttemptState.ENDED, outcome=outcome, facts=facts),),
    )


def running() -> TaskView:
    """A task that runs and uses GPU memory."""
    return task(
        id="t-7d01",
        name="bert",
        state=TaskState.ACTIVE,
        word="running",
        spec=TaskSpec(command=("python", "train.py"), request=Request(gpus=1)),
        started_at_ms=NOON_MS,
        attempts=(attempt(gpu_memory_used_mib=18_227),),
    )


def node(**members: Any) -> NodeView:
    """A node with one GPU that one attempt and somebody else use."""
    report = GpuReport(
        uuid=GpuUuid("GPU-1"),
        index=2,
        model="NVIDIA H100",
        total_mib=81_920,
        used_mib=20_480,
        foreign_mib=512,
        attempts=(AttemptUsage(attempt_id=AttemptId("t-7f3k.1"), used_mib=18_227),),
        utilization_percent=97,
        temperature_c=61,
        power_w=350,
    )
    given: dict[str, Any] = {
        "id": "n-1",
        "label": "gpu-a",
        "hostname": "gpu-a.lab",
        "state": NodeState.READY,
        "draining": False,
        "agent_version": "1.0.0a1",
        "cpus": 16,
        "cpus_reserved": 1,
        "memory_mib": 131_072,
        "memory_used_mib": 9000,
        "last_contact_age_ms": 800,
        "gpus": (GpuView(report=report, reserved_mib=20_480, attempts=("t-7f3k.1",)),),
        "attempts": ("t-7f3k.1",),
    }
    return NodeView(**{**given, **members})

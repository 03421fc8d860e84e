"""What a node may say: one lie at a time, each refused by name; the truth passes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fluxhive.core.node import AttemptUsage, GpuReport, HeldAttempt, HeldPhase, Inventory
from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind
from fluxhive.core.reports import AttemptEnded, AttemptStarted
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import AttemptId, GpuUuid, NodeId
from fluxhive.protocol.agent import AgentMessage, GpuSample, Heartbeat, Hello
from fluxhive.server.node_checks import (
    GPUS_MAX,
    INTEGER_MAX,
    MIB_MAX,
    PERCENT_MAX,
    POWER_W_MAX,
    BadNode,
    check,
)

GPU = GpuReport(uuid=GpuUuid("g0"), index=0, model="H100", total_mib=81_920)
HELLO = Hello(
    incarnation=1,
    agent_version="1",
    label="here",
    inventory=Inventory(cpus=8, memory_mib=65_536, gpus=(GPU,)),
)
BEAT = Heartbeat(sent_at_ms=1, gpus=(GPU,))
ENDED = AttemptEnded(
    attempt_id=AttemptId("t.1"), epoch=1, outcome=Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)
)
HUGE = 2**60


def has(**more: object) -> Hello:
    return replace(HELLO, inventory=replace(HELLO.inventory, **more))


LIES: dict[str, tuple[AgentMessage, str]] = {
    "a thousand million CPUs": (has(cpus=10**9), "cpus"),
    "CPUs below zero": (has(cpus=-1), "cpus"),
    "memory below zero": (has(memory_mib=-5), "memory_mib"),
    "more GPUs than fit into a machine": (
        has(gpus=tuple(replace(GPU, uuid=GpuUuid(f"g{n}")) for n in range(2_000))),
        "gpus",
    ),
    "one GPU twice": (has(gpus=(GPU, GPU)), "one UUID twice"),
    "a GPU of no end": (has(gpus=(replace(GPU, total_mib=HUGE),)), "total_mib"),
    "use below zero": (
        replace(
            BEAT,
            gpus=(
                replace(GPU, attempts=(AttemptUsage(attempt_id=ENDED.attempt_id, used_mib=-1),)),
            ),
        ),
        "used_mib",
    ),
    "busier than busy": (has(gpus=(replace(GPU, utilization_percent=HUGE),)), "utilization"),
    "power of no end": (has(gpus=(replace(GPU, power_w=HUGE),)), "power_w"),
    "tags without end": (has(tags=tuple(f"tag{n}" for n in range(1_000))), "tags"),
    "a tag of a page": (has(tags=("x" * 5_000,)), "tags"),
    "room for less than nobody on a GPU": (has(tasks_per_gpu_max=-2), "tasks_per_gpu_max"),
    "ports that are none": (has(rendezvous_ports=(0, 70_000)), "rendezvous_ports"),
    "no label": (replace(HELLO, label=""), "label"),
    "a label of a page": (replace(HELLO, label="x" * 5_000), "label"),
    "an epoch below zero": (
        replace(
            HELLO,
            held=(HeldAttempt(attempt_id=ENDED.attempt_id, epoch=-1, phase=HeldPhase.RUNNING),),
        ),
        "epoch",
    ),
    "a reading before all time": (
        replace(BEAT, samples=(GpuSample(at_ms=-1, uuid=GPU.uuid),)),
        "at_ms",
    ),
    "a reading busier than busy": (
        replace(BEAT, samples=(GpuSample(at_ms=1, uuid=GPU.uuid, utilization_percent=HUGE),)),
        "utilization",
    ),
    "a process id below zero": (
        AttemptStarted(attempt_id=ENDED.attempt_id, epoch=1, pid=-4, age_ms=0),
        "pid",
    ),
    "more output than can be": (
        replace(ENDED, facts=ExitFacts(exit_code=0, stdout_bytes=2**62)),
        "stdout_bytes",
    ),
    "a reason without end": (
        replace(ENDED, outcome=Outcome(kind=OutcomeKind.FAILURE, detail="x" * 100_000)),
        "detail",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_this_lie_is_refused_by_name(lie: str) -> None:
    message, name = LIES[lie]
    with pytest.raises(BadNode, match=name):
        check(message, NodeId("n1"), TaskManager())


@pytest.mark.parametrize("message", [HELLO, BEAT, ENDED], ids=lambda each: type(each).__name__)
def test_what_an_honest_node_says_passes(message: AgentMessage) -> None:
    check(message, NodeId("n1"), TaskManager())


MOST = {
    "index": GPUS_MAX * 1024,
    "total_mib": MIB_MAX,
    "foreign_mib": MIB_MAX,
    "used_mib": MIB_MAX,
    "utilization_percent": PERCENT_MAX,
    "power_w": POWER_W_MAX,
    "power_limit_w": INTEGER_MAX,
    "ecc_corrected": INTEGER_MAX,
    "ecc_uncorrected": INTEGER_MAX,
}


def beat_with(field: str, value: object) -> Heartbeat:
    return replace(BEAT, gpus=(replace(GPU, **{field: value}),))


@pytest.mark.parametrize("field", MOST)
def test_each_number_of_a_gpu_has_its_bounds_at_a_glance_too(field: str) -> None:
    for value in (0, MOST[field]):
        check(beat_with(field, value), NodeId("n1"), TaskManager())
    for value in (-1, MOST[field] + 1):
        with pytest.raises(BadNode, match=field):
            check(
                replace(BEAT, gpus=(replace(GPU, **{field: value}),)), NodeId("n1"), TaskManager()
            )


@pytest.mark.parametrize("field", ["uuid", "model", "state_reason"])
def test_each_text_of_a_gpu_has_its_bounds_at_a_glance_too(field: str) -> None:
    with pytest.raises(BadNode, match=field):
        check(
            replace(BEAT, gpus=(replace(GPU, **{field: "x" * 5_000}),)), NodeId("n1"), TaskManager()
        )


@pytest.mark.parametrize("field", ["at_ms", "used_mib", "utilization_percent"])
def test_each_number_of_a_sample_has_its_bounds_at_a_glance_too(field: str) -> None:
    sample = GpuSample(at_ms=1, uuid=GPU.uuid)
    for value in (-1, HUGE):
        lie = replace(BEAT, samples=(replace(sample, **{field: value}),))
        with pytest.raises(BadNode, match=field):
            check(lie, NodeId("n1"), TaskManager())

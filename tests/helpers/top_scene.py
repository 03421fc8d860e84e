"""Facts for `fluxhive top`: a small hive with everything that can be seen, and a large one."""

from __future__ import annotations

from msgspec.structs import replace

from fluxhive.cli.top_model import Facts
from fluxhive.core.node import AttemptUsage, GpuReport, GpuState
from fluxhive.core.request import GpuShare, Request, Reservation
from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.core.values import AttemptId, GpuUuid, NodeId
from fluxhive.protocol.rest import GpuView, TaskView
from tests.helpers import cli_scene
from tests.helpers import cli_views as views
from tests.helpers.cli_views import NOON_MS

OWNERS = ("ada", "bob", "chandrasekhar.subrahmanyan", "d")
USED_MIB = (0, 18_227, 40_000, 75_000, 3_000, 81_920, 600, 22_000)


def small() -> Facts:
    """The hive of the snapshots, with a GPU that is dirty."""
    node, silent = cli_scene.nodes()
    dirty = replace(
        node.gpus[0].report,
        uuid=GpuUuid("GPU-2"),
        index=3,
        state=GpuState.DIRTY,
        state_reason="4.1 GiB have not come back",
        attempts=(),
    )
    gpus = (*node.gpus, GpuView(report=dirty))
    return Facts(
        nodes=(replace(node, gpus=gpus), silent),
        tasks=cli_scene.tasks(),
        user="ada",
        url="http://127.0.0.1:8001",
        now_ms=NOON_MS + 724_000,
    )


def large(n_nodes: int = 8, n_gpus: int = 8) -> Facts:
    """Many GPUs, long names, a task on most of the GPUs and as many that wait."""
    nodes, tasks = [], []
    for place in range(n_nodes):
        gpus = []
        for index in range(n_gpus):
            number = place * n_gpus + index
            used = USED_MIB[number % len(USED_MIB)]
            task_id = f"t-{number:04x}"
            uuid = GpuUuid(f"GPU-{number}")
            if used:
                tasks.append(_running(task_id, number, place, uuid, index))
            gpus.append(_gpu(uuid, index, f"{task_id}.1" if used else "", used, number))
        label = (
            f"gpu-node-{place:02}.long-name.lab.example.org"
            if place % 3 == 2
            else f"gpu-{place:02}"
        )
        nodes.append(views.node(id=f"n-{place}", label=label, gpus=tuple(gpus)))
    waiting = [
        views.task(
            id=f"t-w{number:03x}",
            number=10_000 + number,
            name="학습 " * (number % 4) + "run",
            owner=OWNERS[number % 4],
            waiting=(cli_scene.REASON,),
        )
        for number in range(60)
    ]
    return Facts(
        nodes=tuple(nodes),
        tasks=(*tasks, *waiting),
        user="ada",
        url="https://hive.lab:8001",
        now_ms=NOON_MS + 724_000,
    )


def _gpu(uuid: GpuUuid, index: int, attempt: str, used_mib: int, number: int) -> GpuView:
    usage = (AttemptUsage(attempt_id=AttemptId(attempt), used_mib=used_mib),) if attempt else ()
    foreign_mib = 4_000 if number % 5 == 4 and used_mib < 70_000 else 0
    report = GpuReport(
        uuid=uuid,
        index=index,
        model="NVIDIA H100 80GB HBM3",
        total_mib=81_920,
        used_mib=min(81_920, used_mib + foreign_mib),
        foreign_mib=foreign_mib,
        attempts=usage,
        utilization_percent=number * 37 % 101 if used_mib else 0,
        temperature_c=40 + number % 50,
        power_w=300,
    )
    reserved_mib = min(81_920, used_mib + 8_000) if attempt else 0
    attempts = (attempt,) if attempt else ()
    return GpuView(report=report, reserved_mib=reserved_mib, attempts=attempts)


def _running(task_id: str, number: int, place: int, uuid: GpuUuid, index: int) -> TaskView:
    share = GpuShare(uuid=uuid, index=index, gpu_memory_mib=20_480)
    attempt = views.attempt(
        id=f"{task_id}.1",
        node_id=f"n-{place}",
        node_label=f"gpu-{place:02}",
        reservation=Reservation(node_id=NodeId(f"n-{place}"), gpus=(share,)),
        gpu_memory_used_mib=18_227,
    )
    return views.task(
        id=task_id,
        number=number,
        name=("finetune-llama-70b-with-a-very-long-name", "vit", "")[number % 3],
        owner=OWNERS[number % 4],
        state=TaskState.ACTIVE,
        word="running",
        spec=TaskSpec(command=("python", "train.py"), request=Request(gpus=1)),
        started_at_ms=NOON_MS - number * 60_000,
        attempts=(attempt,),
    )


def empty() -> Facts:
    """A server that nobody has joined."""
    return Facts(user="ada", url="http://127.0.0.1:8001", now_ms=NOON_MS)

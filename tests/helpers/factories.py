"""Short ways to make the core's values in tests: sizes and times as people write them."""

from __future__ import annotations

from fluxhive.core.dependency import Dependency, EndWanted
from fluxhive.core.node import AttemptUsage, GpuReport, GpuState, Inventory
from fluxhive.core.request import Request, parse_duration_ms, parse_mib
from fluxhive.core.task import TaskSpec
from fluxhive.core.values import AttemptId, GpuUuid, TaskId


def mib(size: str | int | None) -> int | None:
    """MiB from ``20G``, or as it is."""
    return parse_mib(size) if isinstance(size, str) else size


def ms(length: str | int | None) -> int | None:
    """Milliseconds from ``3m``, or as it is."""
    return parse_duration_ms(length) if isinstance(length, str) else length


def gpu(
    uuid: str,
    index: int = 0,
    size: str | int = "80G",
    *,
    foreign: str | int = 0,
    uses: dict[str, str | int] | None = None,
    state: str = "healthy",
    why: str = "",
    stale: bool = False,
) -> GpuReport:
    """A GPU as its node reports it; ``uses`` is live memory by attempt."""
    return GpuReport(
        uuid=GpuUuid(uuid),
        index=index,
        model="Test GPU",
        total_mib=mib(size) or 0,
        state=GpuState(state),
        state_reason=why,
        foreign_mib=mib(foreign) or 0,
        attempts=tuple(
            AttemptUsage(attempt_id=AttemptId(attempt), used_mib=mib(used) or 0)
            for attempt, used in (uses or {}).items()
        ),
        stale=stale,
    )


def inventory(
    *gpus: GpuReport, cpus: int = 8, memory: str | int = "64G", address: str = ""
) -> Inventory:
    """What a node has."""
    return Inventory(cpus=cpus, memory_mib=mib(memory) or 0, gpus=gpus, address=address)


def request(
    *,
    gpus: int | None = None,
    gpu_memory: str | int | None = None,
    exclusive: bool = False,
    cpus: int = 1,
    memory: str | int | None = None,
    nodes: int = 1,
) -> Request:
    """What a task asks; GPU memory alone means one GPU."""
    return Request(
        gpus=gpus if gpus is not None else int(gpu_memory is not None),
        gpu_memory_mib=mib(gpu_memory),
        exclusive=exclusive,
        cpus=cpus,
        memory_mib=mib(memory),
        nodes=nodes,
    )


def dependency(text: str) -> Dependency:
    """From ``t1``, ``t1:any``, ``t1:fail``."""
    name, _, end = text.partition(":")
    return Dependency(task_id=TaskId(name), end=EndWanted(end or "ok"))


def spec(*command: str, **fields: object) -> TaskSpec:
    """A spec with a command, ``true`` unless given."""
    return TaskSpec(command=command or ("true",), **fields)  # type: ignore[arg-type]


#: One of every kind of request.
REQUESTS = [
    request(),
    request(cpus=3),
    request(memory="10G"),
    request(gpu_memory="20G"),
    request(gpu_memory="50G"),
    request(gpus=1),
    request(gpus=2, gpu_memory="40G"),
    request(gpu_memory="10G", exclusive=True),
    request(gpu_memory="78G"),
    # Gangs: of CPUs on any two nodes, of GPUs on the two that have some, of all three nodes.
    request(nodes=2),
    request(gpus=1, nodes=2, gpu_memory="30G"),
    request(nodes=3),
    request(gpus=9),
    # Fits into the memory of a GPU, but not beside its headroom: it gets the whole GPU.
    request(gpu_memory="81500M"),
]
#: What no node of the random hive could ever hold.
NEVER = REQUESTS[-2:-1]

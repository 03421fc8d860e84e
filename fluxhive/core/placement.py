"""Where a request fits: the best node and GPUs for it, or for each node the reason why not.

Not here: the order of the queue, and carrying a placement out. The brain calls ``find`` to act and
``misfit`` to explain; both ask the same ``_look``. Integers decide, and every choice ends in a
unique key, so that equal hives place equally.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

from .node import Inventory, NodeState
from .node_record import GpuRecord, NodeRecord, headroom_mib
from .request import GpuShare, Request, Reservation
from .values import NodeId, Value


class MisfitCode(Enum):
    """The first thing about a node that keeps a request off it."""

    NOT_YOURS = "not-yours"
    NODE_DOWN = "node-down"
    DRAINING = "draining"
    #: The node handed the task back.
    REFUSED = "refused"
    CPUS = "cpus"
    HOST_MEMORY = "host-memory"
    GPUS = "gpus"
    GPU_MEMORY = "gpu-memory"


class Misfit(Value, frozen=True, kw_only=True):
    """Why a request does not fit on a node now."""

    node_id: NodeId
    code: MisfitCode
    #: What the request asks of the thing in question, and the most the node has of it: free now
    #: or, when ``forever``, at all. Counts or MiB, by code.
    wanted: int = 0
    found: int = 0
    #: True: the node could not hold it even if it were empty.
    forever: bool = False


#: Lower is better; ends in what is unique among nodes and GPUs.
Score: TypeAlias = tuple[int, int, int, str, int]
_Choice: TypeAlias = tuple[Score, tuple[GpuRecord, ...]]


def find(
    request: Request, owner: str, excluded: tuple[NodeId, ...], nodes: Iterable[NodeRecord]
) -> tuple[Reservation, ...] | None:
    """The best reservations for the request on these nodes now, one a node; None: it does not fit.

    One reservation, or for a gang all of them in order of rank.
    """
    if request.nodes > 1:
        return _find_gang(request, owner, excluded, nodes)
    best: _Choice | None = None
    best_id = ""
    for record in nodes:
        found = _look(request, owner, excluded, record)
        if not isinstance(found, MisfitCode) and (best is None or found[0] < best[0]):
            best, best_id = found, record.node.id
    return None if best is None else (_reservation(request, NodeId(best_id), best[1]),)


def _find_gang(
    request: Request, owner: str, excluded: tuple[NodeId, ...], nodes: Iterable[NodeRecord]
) -> tuple[Reservation, ...] | None:
    """All or nothing: the best nodes for the members.

    They meet on rank 0's node: one that others reach, where there is one among them.
    """
    choices: list[tuple[Score, NodeRecord, tuple[GpuRecord, ...]]] = []
    for record in nodes:
        found = _look(request, owner, excluded, record)
        if not isinstance(found, MisfitCode):
            choices.append((found[0], record, found[1]))
    if len(choices) < request.nodes:
        return None
    choices.sort(key=lambda choice: (choice[0], choice[1].node.id))
    chosen = choices[: request.nodes]
    chosen.sort(key=lambda choice: _is_loopback(choice[1].node.inventory.address))
    return tuple(_reservation(request, record.node.id, gpus) for _, record, gpus in chosen)


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost")


def _reservation(request: Request, node_id: NodeId, gpus: tuple[GpuRecord, ...]) -> Reservation:
    shared = request.shares_gpu
    shares = tuple(
        GpuShare(
            uuid=gpu.report.uuid,
            index=gpu.report.index,
            gpu_memory_mib=(request.gpu_memory_mib or 0) if shared else gpu.report.total_mib,
        )
        for gpu in gpus
    )
    return Reservation(
        node_id=node_id,
        gpus=shares,
        exclusive=bool(shares) and not shared,
        cpus=request.cpus,
        memory_mib=request.memory_mib or 0,
    )


def misfit(
    request: Request, owner: str, excluded: tuple[NodeId, ...], record: NodeRecord
) -> Misfit | None:
    """Why the request does not fit on the node now; None when it fits."""
    node_id = record.node.id
    never = capacity_misfit(request, node_id, record.node.inventory)
    if never is not None and record.serves(owner):
        return never
    found = _look(request, owner, excluded, record)
    if not isinstance(found, MisfitCode):
        return None
    wanted, free = _figures(found, request, record)
    return Misfit(node_id=node_id, code=found, wanted=wanted, found=free)


def capacity_misfit(request: Request, node_id: NodeId, inventory: Inventory) -> Misfit | None:
    """Why a node with this inventory could never hold the request; None when it could."""
    code: MisfitCode | None = None
    wanted = found = 0
    if request.cpus > inventory.cpus:
        code, wanted, found = MisfitCode.CPUS, request.cpus, inventory.cpus
    elif request.memory_mib is not None and request.memory_mib > inventory.memory_mib:
        code, wanted, found = MisfitCode.HOST_MEMORY, request.memory_mib, inventory.memory_mib
    elif request.gpus > len(inventory.gpus):
        code, wanted, found = MisfitCode.GPUS, request.gpus, len(inventory.gpus)
    elif request.gpus and request.gpu_memory_mib is not None:
        # What the smallest of the largest GPUs needed for it has to give.
        sizes = sorted((_most_mib(request, gpu.total_mib) for gpu in inventory.gpus), reverse=True)
        if sizes[request.gpus - 1] < request.gpu_memory_mib:
            code, wanted = MisfitCode.GPU_MEMORY, request.gpu_memory_mib
            found = sizes[request.gpus - 1]
    if code is None:
        return None
    return Misfit(node_id=node_id, code=code, wanted=wanted, found=found, forever=True)


def _most_mib(request: Request, total_mib: int) -> int:
    return total_mib - headroom_mib(total_mib) if request.shares_gpu else total_mib


def _look(
    request: Request, owner: str, excluded: tuple[NodeId, ...], record: NodeRecord
) -> _Choice | MisfitCode:
    node = record.node
    if node.only_for is not None and node.only_for != owner:
        return MisfitCode.NOT_YOURS
    if not record.takes:
        if record.is_open and node.state is NodeState.READY:
            return MisfitCode.DRAINING
        return MisfitCode.NODE_DOWN
    if excluded and node.id in excluded:
        return MisfitCode.REFUSED
    if request.cpus > record.free_cpus:
        return MisfitCode.CPUS
    if request.memory_mib is not None and request.memory_mib > record.free_memory_mib:
        return MisfitCode.HOST_MEMORY
    if not request.gpus:
        # GPU nodes are kept for GPU tasks; among equals the fullest node, so that large gaps last.
        return (bool(record.gpus), record.free_cpus, 0, node.id, 0), ()
    if request.shares_gpu:
        return _look_for_share(request, record)
    return _look_for_whole(request, record)


def _look_for_share(request: Request, record: NodeRecord) -> _Choice | MisfitCode:
    wanted = request.gpu_memory_mib or 0
    best: _Choice | None = None
    for gpu in record.gpus.values():
        if not gpu.is_offered or gpu.exclusive is not None or gpu.free_mib < wanted:
            continue
        # A GPU in use with the least room first; an empty one on the node with the fewest of them.
        score: Score
        if gpu.shares:
            score = (0, gpu.free_mib, 0, record.node.id, gpu.report.index)
        else:
            score = (1, record.n_whole_gpus, gpu.free_mib, record.node.id, gpu.report.index)
        if best is None or score < best[0]:
            best = score, (gpu,)
    if best is not None:
        return best
    return MisfitCode.GPU_MEMORY if record.gpus else MisfitCode.GPUS


def _look_for_whole(request: Request, record: NodeRecord) -> _Choice | MisfitCode:
    if record.n_whole_gpus < request.gpus:
        return MisfitCode.GPUS
    least = request.gpu_memory_mib or 0
    fitting = [
        gpu for gpu in record.gpus.values() if gpu.is_whole and gpu.report.total_mib >= least
    ]
    if len(fitting) < request.gpus:
        return MisfitCode.GPU_MEMORY
    fitting.sort(key=lambda gpu: (gpu.report.total_mib, gpu.report.index, gpu.report.uuid))
    return (0, record.n_whole_gpus, 0, record.node.id, 0), tuple(fitting[: request.gpus])


def _figures(code: MisfitCode, request: Request, record: NodeRecord) -> tuple[int, int]:
    if code is MisfitCode.CPUS:
        return request.cpus, max(0, record.free_cpus)
    if code is MisfitCode.HOST_MEMORY:
        return request.memory_mib or 0, max(0, record.free_memory_mib)
    if code is MisfitCode.GPUS:
        return request.gpus, record.n_whole_gpus
    if code is MisfitCode.GPU_MEMORY:
        offered = [gpu for gpu in record.gpus.values() if gpu.is_offered]
        if request.shares_gpu:
            free = [gpu.free_mib for gpu in offered if gpu.exclusive is None]
        else:
            free = [gpu.report.total_mib for gpu in offered if gpu.is_whole]
        return request.gpu_memory_mib or 0, max([0, *free])
    return 0, 0

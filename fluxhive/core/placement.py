"""Where a request fits: the best node and GPUs for it, or for each node the reason why not.

Not here: the order of the queue, and carrying a placement out. The brain calls ``find`` to act and
``misfit`` to explain; both ask the same ``_look``. Integers decide, and every choice ends in a
unique key, so that equal hives place equally.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple, TypeAlias

from .capability import missing
from .node import Inventory, NodeState
from .node_record import GpuRecord, NodeRecord
from .policy import HIVE, HOUR_MS, Policy
from .request import GpuShare, Request, Reservation, is_model
from .values import Mib, Ms, NodeId, TaskId, Value


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
    #: It has not the label or the tags that are asked for.
    NOT_CHOSEN = "not-chosen"
    GPU_MODEL = "gpu-model"
    #: Memory would do, but the GPUs have too much to do or too many attempts on them already.
    GPU_BUSY = "gpu-busy"
    #: What is free is promised to a gang that waits, and would not be back in time.
    PROMISED = "promised"
    #: What is free is booked for others, and would not be back in time.
    BOOKED = "booked"
    #: Its agent cannot do what is asked: it is of an older version.
    AGENT_TOO_OLD = "agent-too-old"


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
    #: With ``agent-too-old``: what its agent cannot do (capability.py).
    lacks: tuple[str, ...] = ()


class Terms(NamedTuple):
    """What else a placement goes by, beside the request."""

    policy: Policy = HIVE
    #: Of a GPU's time, what the task is expected to take.
    utilization_percent: int = 0
    #: When it is expected to be done at the latest, in hive time.
    done_at_ms: Ms = 0
    #: Whose promise does not keep it off.
    task_id: TaskId = TaskId("")
    #: What an agent must be able to do for it (capability.py).
    capabilities: tuple[str, ...] = ()
    #: Bookings that are for it.
    bookings: tuple[str, ...] = ()
    #: Host memory that earlier runs took, where nothing is declared; 0: not known.
    learned_memory_mib: Mib = 0


DEFAULT_TERMS = Terms()
#: A node in use for so much longer is no reason to look elsewhere.
SHORT_MS: Ms = 600_000
#: Lower is better; ends in what is unique among nodes and GPUs.
Score: TypeAlias = tuple[int, int, int, str, int]
_Choice: TypeAlias = tuple[Score, tuple[GpuRecord, ...]]


def find(
    request: Request,
    owner: str,
    excluded: tuple[NodeId, ...],
    nodes: Iterable[NodeRecord],
    terms: Terms = DEFAULT_TERMS,
) -> tuple[Reservation, ...] | None:
    """The best reservations for the request on these nodes now, one a node; None: it does not fit.

    One reservation, or for a gang all of them in order of rank.
    """
    if request.nodes > 1:
        return _find_gang(request, owner, excluded, nodes, terms)
    best: tuple[_Choice, NodeRecord] | None = None
    for record in nodes:
        found = _look(request, owner, excluded, record, terms)
        if not isinstance(found, MisfitCode) and (best is None or found[0] < best[0][0]):
            best = found, record
    return None if best is None else (reservation_of(request, best[1], best[0][1], terms),)


def _find_gang(
    request: Request,
    owner: str,
    excluded: tuple[NodeId, ...],
    nodes: Iterable[NodeRecord],
    terms: Terms,
) -> tuple[Reservation, ...] | None:
    """All or nothing: the best nodes for the members.

    They meet on rank 0's node: one that others reach, where there is one among them.
    """
    choices: list[tuple[Score, NodeRecord, tuple[GpuRecord, ...]]] = []
    for record in nodes:
        found = _look(request, owner, excluded, record, terms)
        if not isinstance(found, MisfitCode):
            choices.append((found[0], record, found[1]))
    if len(choices) < request.nodes:
        return None
    choices.sort(key=lambda choice: (choice[0], choice[1].node.id))
    return gang_of(request, [choice[1:] for choice in choices[: request.nodes]], terms)


def gang_of(
    request: Request, chosen: list[tuple[NodeRecord, tuple[GpuRecord, ...]]], terms: Terms
) -> tuple[Reservation, ...]:
    """What the members of a gang hold on these nodes, in order of rank."""
    chosen = sorted(chosen, key=lambda choice: _is_loopback(choice[0].node.inventory.address))
    return tuple(reservation_of(request, record, gpus, terms) for record, gpus in chosen)


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost")


def reservation_of(
    request: Request, record: NodeRecord, gpus: tuple[GpuRecord, ...], terms: Terms
) -> Reservation:
    """What an attempt holds of this node with these GPUs."""
    shared = request.shares_gpu
    shares = []
    for gpu in gpus:
        report = gpu.report
        share = GpuShare(
            uuid=report.uuid,
            index=report.index,
            gpu_memory_mib=(request.gpu_memory_mib or 0) if shared else report.total_mib,
            utilization_percent=terms.utilization_percent if shared else 0,
        )
        shares.append(share)
    return Reservation(
        node_id=record.node.id,
        gpus=tuple(shares),
        exclusive=bool(shares) and not shared,
        cpus=request.cpus,
        memory_mib=request.memory_mib or 0,
        learned_memory_mib=wanted_memory_mib(request, record, terms) - (request.memory_mib or 0),
    )


def misfit(
    request: Request,
    owner: str,
    excluded: tuple[NodeId, ...],
    record: NodeRecord,
    terms: Terms = DEFAULT_TERMS,
) -> Misfit | None:
    """Why the request does not fit on the node now; None when it fits."""
    node_id = record.node.id
    never = capacity_misfit(request, node_id, record.node.inventory)
    if never is not None and record.serves(owner):
        return never
    found = _look(request, owner, excluded, record, terms)
    if not isinstance(found, MisfitCode):
        return None
    if found in (MisfitCode.CPUS, MisfitCode.HOST_MEMORY) and request.gpus:
        # Of two things that lack, the GPU is the one that people ask after.
        found = _lack_of_gpus(request, record, terms) or found
    if found is MisfitCode.AGENT_TOO_OLD:
        lacks = missing(terms.capabilities, record.node.capabilities)
        return Misfit(node_id=node_id, code=found, lacks=lacks)
    wanted, free = _figures(found, request, record, terms)
    return Misfit(node_id=node_id, code=found, wanted=wanted, found=free)


def capacity_misfit(request: Request, node_id: NodeId, inventory: Inventory) -> Misfit | None:
    """Why a node with this inventory could never hold the request; None when it could."""
    code: MisfitCode | None = None
    wanted = found = 0
    if request.cpus > inventory.cpus:
        code, wanted, found = MisfitCode.CPUS, request.cpus, inventory.cpus
    elif request.memory_mib is not None and request.memory_mib > inventory.memory_mib:
        code, wanted, found = MisfitCode.HOST_MEMORY, request.memory_mib, inventory.memory_mib
    elif any(tag not in inventory.tags for tag in request.tags):
        code = MisfitCode.NOT_CHOSEN
    elif request.gpus > len(inventory.gpus):
        code, wanted, found = MisfitCode.GPUS, request.gpus, len(inventory.gpus)
    elif request.gpus > (n_such := sum(is_model(request, gpu.model) for gpu in inventory.gpus)):
        code, wanted, found = MisfitCode.GPU_MODEL, request.gpus, n_such
    elif request.gpus and request.gpu_memory_mib is not None:
        # What the smallest of the largest GPUs needed for it has to give.
        such = (gpu for gpu in inventory.gpus if is_model(request, gpu.model))
        # A share that leaves no headroom is given the whole GPU.
        sizes = sorted((gpu.total_mib for gpu in such), reverse=True)
        if sizes[request.gpus - 1] < request.gpu_memory_mib:
            code, wanted = MisfitCode.GPU_MEMORY, request.gpu_memory_mib
            found = sizes[request.gpus - 1]
    if code is None:
        return None
    return Misfit(node_id=node_id, code=code, wanted=wanted, found=found, forever=True)


def _look(
    request: Request,
    owner: str,
    excluded: tuple[NodeId, ...],
    record: NodeRecord,
    terms: Terms,
) -> _Choice | MisfitCode:
    node = record.node
    if node.only_for is not None and node.only_for != owner:
        return MisfitCode.NOT_YOURS
    if not record.takes:
        if record.is_open and node.state is NodeState.READY:
            return MisfitCode.DRAINING
        return MisfitCode.NODE_DOWN
    if terms.capabilities and missing(terms.capabilities, node.capabilities):
        return MisfitCode.AGENT_TOO_OLD
    if excluded and node.id in excluded:
        return MisfitCode.REFUSED
    if request.on_nodes and node.label not in request.on_nodes:
        return MisfitCode.NOT_CHOSEN
    if request.tags and any(tag not in node.inventory.tags for tag in request.tags):
        return MisfitCode.NOT_CHOSEN
    if request.cpus > may_have_cpus(request, record, terms.policy):
        return MisfitCode.CPUS
    if lacks_memory(request, record, terms):
        return MisfitCode.HOST_MEMORY
    if not request.gpus:
        # GPU nodes are kept for GPU tasks; among equals the fullest node, so that large gaps last.
        return (bool(record.gpus), record.free_cpus, 0, node.id, 0), ()
    if request.shares_gpu:
        return _look_for_share(request, record, terms)
    return look_for_whole(request, record, terms)


def _lack_of_gpus(request: Request, record: NodeRecord, terms: Terms) -> MisfitCode | None:
    look = _look_for_share if request.shares_gpu else look_for_whole
    found = look(request, record, terms)
    return found if found in (MisfitCode.GPUS, MisfitCode.GPU_MEMORY) else None


def may_have_cpus(request: Request, record: NodeRecord, policy: Policy) -> int:
    """Tasks with GPUs may have somewhat more CPUs than there are: they rarely use them all."""
    if not request.gpus or not record.holders:
        return record.free_cpus
    cpus = record.node.inventory.cpus
    # One task alone never gets more than there are.
    return min(cpus, record.free_cpus + cpus * policy.cpus_percent // 100 - cpus)


def wanted_memory_mib(request: Request, record: NodeRecord, terms: Terms) -> Mib:
    """Host memory to count for it on a node; what was learned is never more than a node has."""
    if request.memory_mib is not None:
        return request.memory_mib
    return min(terms.learned_memory_mib, record.node.inventory.memory_mib)


def lacks_memory(request: Request, record: NodeRecord, terms: Terms) -> bool:
    """Whether too little of a node's memory is left for it."""
    if request.memory_mib is None and not terms.learned_memory_mib:
        return False
    return wanted_memory_mib(request, record, terms) > record.free_memory_mib


def is_kept(gpu: GpuRecord, terms: Terms) -> bool:
    """Whether it is promised to another or booked, and would not be back in time."""
    return kept_as(gpu, terms) is not None


def kept_as(gpu: GpuRecord, terms: Terms) -> MisfitCode | None:
    """Why it is kept for others; None: it is not."""
    if gpu.promised is not None:
        holder, at_ms = gpu.promised
        if terms.done_at_ms > at_ms and holder != terms.task_id:
            return MisfitCode.PROMISED
    for booking in gpu.bookings:
        if terms.done_at_ms > booking.from_ms and booking.id not in terms.bookings:
            return MisfitCode.BOOKED
    return None


def _look_for_share(request: Request, record: NodeRecord, terms: Terms) -> _Choice | MisfitCode:
    policy, wanted = terms.policy, request.gpu_memory_mib or 0
    most = record.node.inventory.tasks_per_gpu_max or policy.tasks_per_gpu_max
    longer = how_much_longer(record, terms) if policy.aligns_ends else 0
    best: _Choice | None = None
    why = MisfitCode.GPU_MEMORY if record.gpus else MisfitCode.GPUS
    for gpu in record.gpus.values():
        if gpu.free_mib < wanted or not gpu.is_offered or gpu.exclusive is not None:
            continue
        if request.gpu_model is not None and not is_model(request, gpu.report.model):
            continue
        kept = kept_as(gpu, terms) if gpu.promised is not None or gpu.bookings else None
        if kept is not None:
            why = kept
            continue
        # One in use with the least room first, as long as there is time for all; then an empty one
        # on the node with the fewest of them; then those that have much to do.
        score: Score
        if gpu.shares:
            percent = gpu.utilization_percent + terms.utilization_percent
            limit = policy.utilization_percent_max
            if len(gpu.shares) >= most or (limit and percent > limit):
                why = MisfitCode.GPU_BUSY
                continue
            rank = 0 if not limit or percent <= policy.utilization_percent_packed else 2
            score = (rank, longer, gpu.free_mib, record.node.id, gpu.report.index)
        else:
            score = (1, record.n_whole_gpus, gpu.free_mib, record.node.id, gpu.report.index)
        if best is None or score < best[0]:
            best = score, (gpu,)
    return why if best is None else best


def how_much_longer(record: NodeRecord, terms: Terms) -> int:
    """How much longer the node would be in use because of it: 0, then powers of two of an hour.

    What ends together leaves whole nodes free together, for gangs.
    """
    beyond_ms = terms.done_at_ms - record.last_end_ms
    return 0 if beyond_ms < SHORT_MS else 1 + (beyond_ms // HOUR_MS).bit_length()


def look_for_whole(request: Request, record: NodeRecord, terms: Terms) -> _Choice | MisfitCode:
    """The whole GPUs of a node for a request, or why there are not enough."""
    if record.n_whole_gpus < request.gpus:
        return MisfitCode.GPUS
    least, wants_model = request.gpu_memory_mib or 0, request.gpu_model is not None
    fitting = [
        gpu
        for gpu in record.gpus.values()
        if gpu.is_whole
        and gpu.report.total_mib >= least
        and not (wants_model and not is_model(request, gpu.report.model))
    ]
    if len(fitting) < request.gpus:
        return MisfitCode.GPU_MEMORY
    why = [
        kept
        for gpu in fitting
        if (gpu.promised is not None or gpu.bookings) and (kept := kept_as(gpu, terms)) is not None
    ]
    if len(fitting) - len(why) < request.gpus:
        return why[0]
    if why:
        fitting = [gpu for gpu in fitting if not is_kept(gpu, terms)]
    fitting.sort(key=lambda gpu: (gpu.report.total_mib, gpu.report.index, gpu.report.uuid))
    return (0, record.n_whole_gpus, 0, record.node.id, 0), tuple(fitting[: request.gpus])


def _figures(
    code: MisfitCode, request: Request, record: NodeRecord, terms: Terms
) -> tuple[int, int]:
    if code is MisfitCode.CPUS:
        return request.cpus, max(0, may_have_cpus(request, record, HIVE))
    if code is MisfitCode.HOST_MEMORY:
        return wanted_memory_mib(request, record, terms), max(0, record.free_memory_mib)
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

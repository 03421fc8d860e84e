"""What the tasks of a line need of a node, from what their author wrote and what was learned.

The request as placement takes it: one GPU is shared by its estimated memory, or given whole where
nothing is shared. Called when a line comes into being and when something about it was learned.
"""

from __future__ import annotations

from msgspec.structs import replace

from .learning import AUTHOR_DURATIONS, OWN_DURATIONS, Basis, Expected, Learned, expected, keys_of
from .lines import LineKey, Need, ShapeKey
from .memory import estimate, host_memory_mib
from .node_record import headroom_mib
from .policy import DurationFrom, MemoryFrom, Policy
from .request import Estimate, Request
from .score import stretch_ms
from .task_queue import GpuSizes
from .values import Mib

#: Expected utilization is compared in steps of so many percent.
_STEP_PERCENT = 5


def need_of(key: LineKey, basis: Basis, policy: Policy, gpu_sizes: GpuSizes) -> Need:
    """The need of a line, on a hive with GPUs of these sizes."""
    smallest_mib, gpu_mib, largest_mib = gpu_sizes
    about = expected(basis, policy, key.limit_ms)
    request = _whole(key.request, policy)
    found = estimate(request, basis, policy, gpu_mib=gpu_mib, least_mib=key.least_gpu_memory_mib)
    memory_mib = host_memory_mib(request, basis, policy)
    if found is None or key.alone:
        wanted = max(key.least_gpu_memory_mib, request.gpu_memory_mib or 0)
        # What every GPU has is no wish: tasks that differ in it alone need the same.
        least = None if wanted <= smallest_mib else wanted
        request = replace(request, exclusive=bool(request.gpus), gpu_memory_mib=least)
        return _need(key, request, found, about, policy, memory_mib)
    mib = found.reserved_mib
    if largest_mib and mib > largest_mib - headroom_mib(largest_mib):
        # More than can be shared of any GPU: it has one to itself, as large as it needs.
        declared = request.gpu_memory_mib or 0
        least = max(declared, min(mib, largest_mib))
        request = replace(request, exclusive=True, gpu_memory_mib=least)
    else:
        request = replace(request, gpu_memory_mib=mib)
    return _need(key, request, found, about, policy, memory_mib)


def _need(
    key: LineKey,
    request: Request,
    found: Estimate | None,
    about: Expected,
    policy: Policy,
    memory_mib: Mib,
) -> Need:
    return Need(
        request=request,
        estimate=found,
        expected=about,
        stretch_ms=stretch_ms(policy, key.request, about),
        capabilities=key.capabilities,
        learned_memory_mib=memory_mib,
    )


def sources_of(key: LineKey, basis: Basis, policy: Policy) -> tuple[str, ...]:
    """Keys of the records that the need rests on, or would if they said something."""
    own, program, author, project = keys_of(key.signature, key.owner, key.project)
    if policy.memory is MemoryFrom.WHOLE and policy.duration is DurationFrom.LIMIT:
        return ()
    known = basis.own or Learned(key=own)
    sources = [own]
    short = len(known.durations_ms) < OWN_DURATIONS
    if not known.peaks:
        sources.append(program)
    if not known.peaks or known.utilization_permille is None or short:
        sources.append(author)
    if short and (basis.author is None or len(basis.author.durations_ms) < AUTHOR_DURATIONS):
        sources.append(project)
    return tuple(sources)


def shape_of(key: LineKey, need: Need, policy: Policy, owner: str) -> ShapeKey:
    """What a placement asks; ``owner`` is empty where it does not matter."""
    percent = 0
    if need.request.shares_gpu and policy.utilization_percent_max:
        percent = -(-need.expected.utilization_percent // _STEP_PERCENT) * _STEP_PERCENT
    return ShapeKey(
        need.request,
        owner,
        key.excluded,
        percent,
        need.capabilities,
        need.bookings,
        need.learned_memory_mib,
    )


def _whole(request: Request, policy: Policy) -> Request:
    """As the policy shares GPUs, or does not."""
    if policy.memory is MemoryFrom.WHOLE and request.gpus:
        return replace(request, exclusive=True)
    return request

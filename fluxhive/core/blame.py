"""Whose doing it was that a GPU ran out of memory: whoever went beyond what was reserved.

Two witnesses: the allocator's own message, which is exact where it gives figures, and the node's
last readings (``GpuScene``), which see neighbours and may miss what happened between two of them.
Called by judge.py.
"""

from __future__ import annotations

import re
from math import ceil, prod

from msgspec.structs import replace

from .outcome import Blame, ExitFacts, GpuOom, GpuScene
from .request import GpuShare, Reservation, show_mib
from .values import GpuUuid, Mib, Value

#: Use beyond a reservation that is put down to rounding and to contexts.
SLACK_MIB: Mib = 64
SLACK_PER_CENT = 2
#: Foreign use below this was there when the attempt was placed, and was left room for.
FOREIGN_MIB: Mib = 512

_UNITS = {"": 1, "B": 1, "BYTES": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = r"(?P<size>\d[\d,]*(?:\.\d+)?) ?(?P<unit>bytes|[KMGT]i?B|B\b|)"
_REQUESTED = (
    re.compile(rf"[Tt]ried to allocate {_SIZE}"),
    re.compile(rf"(?:trying|failed|[Ff]ailure|unable|Cannot|cannot) (?:to )?allocate {_SIZE}"),
    re.compile(rf"[Ff]ailed to allocate(?: request for)? {_SIZE}"),
    re.compile(rf"Out of memory allocating {_SIZE}"),
    re.compile(rf"(?:Requested size was|requested buffer of size|Requested memory:?) {_SIZE}"),
    re.compile(rf"allocating {_SIZE} on device"),
    re.compile(rf"\(alloc(?:ation)? of {_SIZE}"),
    re.compile(rf"\bsize {_SIZE} .*out of memory"),
)
_TENSOR = re.compile(r"allocating tensor with shape\[(?P<shape>[\d,]+)\] and type (?P<type>\w+)")
_TYPE_BYTES = {"double": 8, "int64": 8, "float": 4, "int32": 4, "half": 2, "bfloat16": 2, "bool": 1}
_USED = (
    re.compile(rf"this process has {_SIZE} memory in use"),
    re.compile(rf"{_SIZE} already allocated"),
    re.compile(rf"allocated so far: {_SIZE}"),
)
_FREE = (
    re.compile(rf"of which {_SIZE} is free"),
    re.compile(rf"total capacity;.*?; {_SIZE} free"),
    re.compile(rf"Free memory on device [\w:]* ?\({_SIZE}"),
)
_CAP = re.compile(rf"{_SIZE} (?:is )?allowed|would exceed per_process_memory_fraction")
_GPU = re.compile(r"GPU (?P<gpu>\d+)(?: has a total|;)|[Dd]evice (?:cuda:)?(?P<device>\d+)\b")


class Refusal(Value, frozen=True, kw_only=True):
    """What an allocator's message says."""

    requested_mib: Mib | None = None
    used_mib: Mib | None = None
    free_mib: Mib | None = None
    #: True: it ran into a cap of its own process, not into the end of the GPU.
    is_capped: bool = False
    #: Position among the GPUs that the program was given.
    position: int | None = None


def read_refusal(text: str) -> Refusal:
    """The figures of a message; what it does not give is None. Of several lines the first that
    says what was asked for."""
    lines = [_read_line(line) for line in text.splitlines()] or [Refusal()]
    return next((each for each in lines if each.requested_mib is not None), lines[0])


def _read_line(text: str) -> Refusal:
    where = _GPU.search(text)
    return Refusal(
        requested_mib=_first(_REQUESTED, text) or _tensor_mib(text),
        used_mib=_first(_USED, text),
        free_mib=_first(_FREE, text),
        is_capped=_CAP.search(text) is not None,
        position=None if where is None else int(where["gpu"] or where["device"]),
    )


def find_blame(facts: ExitFacts, reservation: Reservation, text: str) -> tuple[GpuOom, str]:
    """Whose doing it was, and the sentence for people."""
    refusal = read_refusal(text)
    scenes = {scene.uuid: scene for scene in facts.gpus}
    share = _share(reservation, refusal, scenes)
    scene = scenes.get(share.uuid, GpuScene(uuid=share.uuid, index=share.index))
    peaks = [peak.peak_mib for peak in facts.gpu_peaks if peak.uuid == share.uuid]
    seen = [mib for mib in (scene.used_mib, *peaks) if mib is not None]
    used_mib = refusal.used_mib if refusal.used_mib is not None else max(seen, default=None)
    oom = GpuOom(
        blame=Blame.OWN,
        gpu=share.uuid,
        requested_mib=refusal.requested_mib,
        used_mib=used_mib,
        reserved_mib=share.gpu_memory_mib,
    )
    wanted = _wanted(oom, share)
    if _exceeds((used_mib or 0) + (refusal.requested_mib or 0), share.gpu_memory_mib):
        return oom, f"ran out of GPU memory: {wanted}"
    if refusal.is_capped or reservation.exclusive:
        return oom, f"ran out of GPU memory: {wanted}"
    return _blame_others(oom, scene, share, wanted)


def _blame_others(oom: GpuOom, scene: GpuScene, share: GpuShare, wanted: str) -> tuple[GpuOom, str]:
    """It kept to its reservation, as far as is known: did somebody else not?"""
    over = [each for each in scene.neighbours if _exceeds(each.used_mib, each.reserved_mib)]
    promised_mib = share.gpu_memory_mib + sum(each.reserved_mib for each in scene.neighbours)
    if over:
        worst = max(over, key=lambda each: (each.used_mib - each.reserved_mib, each.attempt_id))
        by = replace(oom, blame=Blame.NEIGHBOUR, culprit=worst.attempt_id)
        return by, (
            f"a neighbour took its GPU memory: {worst.attempt_id} used "
            f"{show_mib(worst.used_mib)} with {show_mib(worst.reserved_mib)} reserved "
            f"on GPU {share.index}; {wanted}"
        )
    room_mib = scene.total_mib - promised_mib
    is_crowded = scene.total_mib > 0 and scene.foreign_mib > max(room_mib, FOREIGN_MIB)
    if is_crowded:
        return replace(oom, blame=Blame.NEIGHBOUR), (
            f"processes outside FlowHive took its GPU memory: {show_mib(scene.foreign_mib)} "
            f"on GPU {share.index}; {wanted}"
        )
    return oom, f"ran out of GPU memory: {wanted}"


def _wanted(oom: GpuOom, share: GpuShare) -> str:
    reserved = f"{show_mib(share.gpu_memory_mib)} reserved on GPU {share.index}"
    if oom.requested_mib is not None and oom.used_mib is not None:
        used = show_mib(oom.used_mib)
        return f"wanted {show_mib(oom.requested_mib)} on top of {used}, {reserved}"
    if oom.requested_mib is not None:
        return f"wanted {show_mib(oom.requested_mib)}, {reserved}"
    if oom.used_mib is not None:
        return f"{show_mib(oom.used_mib)} seen of {reserved}"
    return reserved


def _exceeds(used_mib: Mib, reserved_mib: Mib) -> bool:
    return used_mib > reserved_mib + max(SLACK_MIB, reserved_mib * SLACK_PER_CENT // 100)


def _share(reservation: Reservation, refusal: Refusal, scenes: dict[GpuUuid, GpuScene]) -> GpuShare:
    """The GPU it was: as the message counts, else the fullest."""
    shares = reservation.gpus
    position = refusal.position
    if position is not None and position < len(shares):
        return shares[position]

    def free_mib(share: GpuShare) -> Mib:
        scene = scenes.get(share.uuid)
        return 1 << 40 if scene is None or scene.free_mib is None else scene.free_mib

    return min(shares, key=free_mib)


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> Mib | None:
    for pattern in patterns:
        match = pattern.search(text)
        if match is not None:
            return _mib(match)
    return None


def _mib(match: re.Match[str]) -> Mib:
    unit = match["unit"].upper()
    scale = _UNITS.get(unit) or _UNITS[unit[0]]
    return ceil(float(match["size"].replace(",", "")) * scale / (1 << 20))


def _tensor_mib(text: str) -> Mib | None:
    match = _TENSOR.search(text)
    if match is None or match["type"] not in _TYPE_BYTES:
        return None
    n_elements = prod(int(n) for n in match["shape"].split(",") if n)
    return ceil(n_elements * _TYPE_BYTES[match["type"]] / (1 << 20))

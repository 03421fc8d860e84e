"""What a task asks for, what an attempt holds, and the units people write them in.

Not here: whether a request fits somewhere (placement.py) and what a whole task may contain
(spec_check.py). Called by the CLI for parsing and by the brain for sizes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from enum import Enum

from .errors import InputError
from .values import GpuUuid, Mib, Ms, NodeId, Value


class Request(Value, frozen=True, kw_only=True, forbid_unknown_fields=True, cache_hash=True):
    """What one attempt needs on one node."""

    #: Number of GPUs.
    gpus: int = 0
    #: GPU memory per GPU. None: the whole GPU. With one GPU and a figure, the GPU is shared.
    gpu_memory_mib: Mib | None = None
    #: Alone on its GPUs whatever it asks.
    exclusive: bool = False
    cpus: int = 1
    #: Host memory. None: not counted.
    memory_mib: Mib | None = None
    #: On how many nodes at once; all else is per node. More than one: a gang.
    nodes: int = 1
    #: True: ``gpu_memory_mib`` is reserved as it is, whatever was learned.
    strict: bool = False
    #: Only GPUs of this model, a part of its name in any case (``a100``). None: any.
    gpu_model: str | None = None
    #: Only nodes that have all these tags.
    tags: tuple[str, ...] = ()
    #: Only nodes with one of these labels; empty: any.
    on_nodes: tuple[str, ...] = ()

    @property
    def shares_gpu(self) -> bool:
        """Whether others may run on the same GPU beside it: never beside a gang."""
        one = self.gpus == 1 and self.nodes == 1
        return one and self.gpu_memory_mib is not None and not self.exclusive


def is_model(request: Request, model: str) -> bool:
    """Whether a GPU of this model will do."""
    return request.gpu_model is None or request.gpu_model.lower() in model.lower()


class EstimateSource(Enum):
    """Where a reservation of GPU memory comes from."""

    #: What earlier runs of the same signature took.
    LEARNED = "learned"
    #: What runs of the same program with other sizes took.
    PROGRAM = "program"
    #: What the author's tasks take in general.
    AUTHOR = "author"
    #: What the author wrote.
    DECLARED = "declared"
    #: Nothing is known: a part of the GPU.
    GUESS = "guess"
    #: It ran out of memory before.
    REPAIR = "repair"


class Estimate(Value, frozen=True, kw_only=True):
    """How much GPU memory an attempt was expected to need when it was placed, and why."""

    source: EstimateSource
    #: Reserved on each GPU at placement.
    reserved_mib: Mib
    #: What the author wrote; None: nothing.
    declared_mib: Mib | None = None
    #: The largest peak among the runs it was learned from; None: nothing was learned.
    peak_mib: Mib | None = None
    #: How many runs it was learned from.
    runs: int = 0


class GpuShare(Value, frozen=True, kw_only=True):
    """A part of one GPU (or all of it) that an attempt holds."""

    uuid: GpuUuid
    #: Position on the node at placement: for display and ``CUDA_VISIBLE_DEVICES``, never identity.
    index: int
    gpu_memory_mib: Mib
    #: How much of the GPU's time it is expected to take.
    utilization_percent: int = 0


class Promise(Value, frozen=True, kw_only=True):
    """GPUs that a waiting task was promised: others use them only if they are done by then."""

    gpus: tuple[GpuUuid, ...]
    #: Hive time; only ever moves to earlier.
    at_ms: Ms


class Reservation(Value, frozen=True, kw_only=True):
    """What an attempt holds on a node, from its placement until its processes are gone."""

    node_id: NodeId
    gpus: tuple[GpuShare, ...] = ()
    #: True: nobody else may be placed on these GPUs.
    exclusive: bool = False
    cpus: int = 1
    #: Host memory as declared: a container gets no more.
    memory_mib: Mib = 0
    #: What earlier runs took of it, where nothing is declared: counted, and no limit.
    learned_memory_mib: Mib = 0

    @property
    def counted_memory_mib(self) -> Mib:
        """Host memory that placing others reckons with."""
        return self.memory_mib + self.learned_memory_mib


class Rendezvous(Value, frozen=True, kw_only=True):
    """Where the members of a gang, or the processes of one node, find each other."""

    #: Address of rank 0's node.
    address: str
    port: int


_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?b)?\s*", re.IGNORECASE)
BARE_MIB_MIN: Mib = 256
"""A number without a unit is MiB; a smaller one was hardly meant so, and no program fits in it."""
_SIZE_MIB = {"k": 1 / 1024, "m": 1.0, "": 1.0, "g": 1024.0, "t": 1024.0 * 1024}
_TIME_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|min|h|d|w)", re.IGNORECASE)
_TIME_MS = {
    "ms": 1,
    "s": 1000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}


def parse_mib(text: str, *, field: str = "size") -> Mib:
    """MiB from ``20G``, ``512M``, ``1.5T`` or a bare number of MiB; rounded up.

    Raises ``InputError`` naming the field and the value.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InputError(
            f"{field}: not a size: `{text}`",
            hint="write a number with M, G or T, such as `8G` or `512M`",
            field=field,
            value=text,
        )
    mib = math.ceil(float(match[1]) * _SIZE_MIB[match[2].lower()])
    if not match[2] and 0 < mib < BARE_MIB_MIN:
        raise InputError(
            f"{field}: `{text}` has no unit and would be {mib} MiB",
            hint=f"write `{match[1]}G`, or `{match[1]}M` if that is meant",
            field=field,
            value=text,
        )
    if mib <= 0:
        raise InputError(
            f"{field}: must be above zero: `{text}`",
            hint="write a size such as `8G`",
            field=field,
            value=text,
        )
    return mib


def parse_duration_ms(text: str, *, field: str = "time") -> Ms:
    """Milliseconds from ``90``, ``90s``, ``4h``, ``1h30m``, ``1:30:00`` (a bare number is seconds).

    Raises ``InputError`` naming the field and the value.
    """
    stripped = text.strip()
    total = _clock_ms(stripped)
    if total is None:
        total = _parts_ms(stripped)
    if total is None or total <= 0:
        raise InputError(
            f"{field}: not a length of time: `{text}`",
            hint="write it as `90s`, `4h`, `1h30m`, `1:30:00` or `2d`",
            field=field,
            value=text,
        )
    return total


def _clock_ms(text: str) -> Ms | None:
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts):
        return None
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds * 1000


def _parts_ms(text: str) -> Ms | None:
    parts = list(_TIME_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        return None
    return math.ceil(sum(float(part[1]) * _TIME_MS[part[2].lower()] for part in parts))


def show_mib(mib: Mib) -> str:
    """A size as people read it: ``512 MiB``, ``20.0 GiB``."""
    return f"{mib} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def show_indexes(indexes: Iterable[int]) -> str:
    """GPUs of a node as people name them: ``0,1``, and runs of three or more ``0-7,10``."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs
    )


def show_ms(duration_ms: Ms) -> str:
    """A length of time as people read it: ``0.4 s``, ``12:04``, ``1:02:03``."""
    if duration_ms < 60_000:
        return f"{duration_ms / 1000:.1f} s"
    seconds = duration_ms // 1000
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def say_ms(duration_ms: Ms) -> str:
    """A length of time within a sentence, where ``12:04`` would read as a time of day:
    ``0.4 s``, ``29 s``, ``12 min``, ``2 h 5 min``, ``3 days 4 h``."""
    if duration_ms < 9_950:
        return f"{duration_ms / 1000:.1f} s"
    seconds = (duration_ms + 500) // 1000
    if seconds < 60:
        return f"{seconds} s"
    minutes = (seconds + 30) // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def say_range_ms(from_ms: Ms, to_ms: Ms) -> str:
    """From one length of time to another: ``14 to 20 min``, ``50 s to 2 min``, ``5 min``."""
    first, last = say_ms(from_ms), say_ms(to_ms)
    if first == last:
        return last
    number, _, unit = first.partition(" ")
    # `2 h to 3 h 5 min`: a unit is left out only where it is all that the other end has too.
    return f"{number if unit == last.partition(' ')[2] else first} to {last}"

"""GPUs that are only pretended: attempts use them, exceed them and fight over them as over real
ones.

For tests of FlowHive, for tests of your own programs, and for trying things on a machine without a
GPU. A directory stands for the GPUs of one node; an agent reads it when ``FLOWHIVE_FAKE_GPUS``
names it (or says ``4x80G``: then the agent makes one). A task that runs on such a node allocates by
``fluxhive.testing.allocate``, or, in a shell line, by ``python -m fluxhive.testing 20G 60``.

What was measured on real cards holds here, too: a process pays for its context with its first
allocation, and its memory is back as soon as it is dead, however it died.

::

    <directory>/gpu-0.json          what the GPU is and how it is: see ``FakeGpu``
    <directory>/use/<uuid>/<pid>    memory of one process, and when that process began
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from fluxhive.core.errors import InputError, NotFound
from fluxhive.core.request import parse_mib

if sys.platform != "win32":
    import fcntl

#: What a process takes of a GPU before its first own byte (measured: about 0.5 GB).
CONTEXT_MIB = 500
#: What an idle GPU shows as used (measured on an H100: 0.47 GB).
BASELINE_MIB = 470
GPUS_MAX = 64
#: Where a task finds the directory of its node's GPUs; set by the agent.
DIRECTORY_VARIABLE = "FLUXHIVE_FAKE_GPUS"
STATES = ("ok", "lost", "gone", "slow")


class OutOfMemoryError(RuntimeError):
    """The GPU has no room for it. Worded as PyTorch words it."""


class FakeGpu(Struct, kw_only=True, frozen=True):
    """One pretended GPU, as its file says."""

    uuid: str
    total_mib: int
    model: str = "FlowHive Fake GPU"
    #: ``lost``: it fell off the bus; ``gone``: the driver does not list it; ``slow``: the driver
    #: does not answer for any GPU of the node; ``ok``.
    state: str = "ok"
    #: Memory in use by a process that is no attempt's.
    foreign_mib: int = 0
    #: Memory that the driver itself takes.
    baseline_mib: int = BASELINE_MIB
    #: None: made up from the number of processes on it.
    utilization_percent: int | None = None
    #: What holds its clocks down, in the words of an agent (``power cap``); None: it does not say.
    slowed_by: tuple[str, ...] | None = ()
    #: Memory errors since the driver was loaded; None: it does not say.
    ecc_corrected: int | None = 0
    ecc_uncorrected: int | None = 0
    #: The driver's errors so far: those that are added while an agent looks are told to it, once.
    xids: tuple[int, ...] = ()


# ── what a test does ──────────────────────────────────────────────────────────────────────────


def make_gpus(directory: str | Path, description: str) -> list[FakeGpu]:
    """Makes the GPUs that ``4x80G`` or ``2x80G,1x24G`` describes; those that are there already
    and are described the same stay as they are. Raises ``InputError``."""
    sizes_mib = parse_description(description)
    root = Path(directory)
    (root / "use").mkdir(parents=True, exist_ok=True)
    gpus = []
    known = dict(_read_all(root))
    for index, total_mib in enumerate(sizes_mib):
        gpu = known.pop(index, None)
        if gpu is None or gpu.total_mib != total_mib:
            name = f"fluxhive:{socket.gethostname()}:{root.resolve()}:{index}"
            gpu = FakeGpu(uuid=f"GPU-{uuid.uuid5(uuid.NAMESPACE_URL, name)}", total_mib=total_mib)
            _write(root, index, gpu)
        gpus.append(gpu)
    for index in known:
        _path(root, index).unlink()
    return gpus


def set_gpu(directory: str | Path, index: int, **changes: Any) -> FakeGpu:
    """Changes fields of a GPU, such as ``state="lost"`` or ``foreign_mib=30_000``, while whoever
    uses it goes on. Raises ``NotFound``."""
    root = Path(directory)
    gpu = dict(_read_all(root)).get(index)
    if gpu is None:
        raise NotFound(f"no such GPU in {root}: `{index}`")
    gpu = replace(gpu, **changes)
    assert gpu.state in STATES, f"a state is one of {STATES}"
    _write(root, index, gpu)
    return gpu


def read_gpus(directory: str | Path) -> list[tuple[int, FakeGpu]]:
    """Index and state of each GPU of the directory, by index. Empty when there is none."""
    return list(_read_all(Path(directory)))


def uses(directory: str | Path, gpu_uuid: str) -> dict[int, int]:
    """Memory in MiB by process, of those that live; what dead ones left is cleared away."""
    found: dict[int, int] = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(Path(directory, "use", gpu_uuid)):
            if not entry.name.isdigit():
                continue
            pid = int(entry.name)
            try:
                used_mib, began = _read_quickly(entry.path).split()
            except (FileNotFoundError, ValueError):
                continue  # being written, or gone since
            if _beginning(pid) == began:
                found[pid] = int(used_mib)
            else:
                Path(entry.path).unlink(missing_ok=True)
    return found


def parse_description(description: str) -> list[int]:
    """Sizes in MiB from ``4x80G`` or ``2x80G,1x24G``. Raises ``InputError``."""
    sizes: list[int] = []
    for part in description.split(","):
        count, cross, size = part.strip().partition("x")
        if not cross or not count.isdigit() or not 0 < int(count) <= GPUS_MAX:
            raise InputError(
                f"not a description of GPUs: `{description}`",
                hint="write a number and a size, such as `4x80G`, or name a directory",
                field="FLOWHIVE_FAKE_GPUS",
                value=description,
            )
        sizes += [parse_mib(size, field="FLOWHIVE_FAKE_GPUS")] * int(count)
    if len(sizes) > GPUS_MAX:
        raise InputError(
            f"`{description}` describes {len(sizes)} GPUs",
            hint=f"a node has at most {GPUS_MAX}",
            field="FLOWHIVE_FAKE_GPUS",
            value=description,
        )
    return sizes


# ── what a task does ──────────────────────────────────────────────────────────────────────────


def allocate(gpu: int | str, mib: int, *, environ: Mapping[str, str] | None = None) -> None:
    """Takes memory of a GPU for this process, on top of what it has there already.

    ``gpu``: position among the GPUs that the attempt was given (``cuda:0``), or a UUID. Raises
    ``OutOfMemoryError`` when the GPU has not so much left, and ``NotFound`` outside a task.
    """
    root, gpu_uuid = _find(gpu, environ)
    with _locked(root):
        described = {each.uuid: (index, each) for index, each in _read_all(root)}
        if gpu_uuid not in described or described[gpu_uuid][1].state in ("lost", "gone"):
            raise RuntimeError(f"CUDA error: GPU is lost ({gpu_uuid})")
        index, card = described[gpu_uuid]
        used = uses(root, gpu_uuid)
        mine_mib = used.pop(os.getpid(), None)
        before_mib = CONTEXT_MIB if mine_mib is None else mine_mib
        taken_mib = card.baseline_mib + card.foreign_mib + sum(used.values()) + before_mib
        free_mib = max(0, card.total_mib - taken_mib)
        if mib > free_mib:
            raise OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {mib / 1024:.2f} GiB. GPU {index} has a "
                f"total capacity of {card.total_mib / 1024:.2f} GiB of which "
                f"{free_mib / 1024:.2f} GiB is free."
            )
        _write_use(root, gpu_uuid, before_mib + mib)


def free(gpu: int | str, mib: int, *, environ: Mapping[str, str] | None = None) -> None:
    """Gives back memory of this process; its context stays."""
    root, gpu_uuid = _find(gpu, environ)
    with _locked(root):
        mine_mib = uses(root, gpu_uuid).get(os.getpid(), CONTEXT_MIB)
        _write_use(root, gpu_uuid, max(CONTEXT_MIB, mine_mib - mib))


def main(arguments: list[str]) -> int:
    """``python -m fluxhive.testing SIZE [SECONDS]``: holds so much of the first GPU so long."""
    allocate(0, parse_mib(arguments[0]))
    time.sleep(float(arguments[1]) if len(arguments) > 1 else 0.0)
    return 0


# ── files ─────────────────────────────────────────────────────────────────────────────────────


def _find(gpu: int | str, environ: Mapping[str, str] | None) -> tuple[Path, str]:
    env = os.environ if environ is None else environ
    directory = env.get(DIRECTORY_VARIABLE)
    if not directory:
        raise NotFound(
            f"there are no pretended GPUs here: `{DIRECTORY_VARIABLE}` is not set",
            hint="this is for tasks on a node that was started with FLOWHIVE_FAKE_GPUS=4x80G",
        )
    if isinstance(gpu, str):
        return Path(directory), gpu
    given = [each for each in env.get("FLUXHIVE_GPU_UUIDS", "").split(",") if each]
    if not 0 <= gpu < len(given):
        raise NotFound(f"this attempt was not given a GPU {gpu}: it has {len(given)}")
    return Path(directory), given[gpu]


def _read_all(root: Path) -> Iterator[tuple[int, FakeGpu]]:
    paths = root.glob("gpu-*.json")
    for index, path in sorted((int(p.stem[4:]), p) for p in paths if p.stem[4:].isdigit()):
        with contextlib.suppress(FileNotFoundError):
            yield index, FakeGpu(**json.loads(path.read_text()))


def _write(root: Path, index: int, gpu: FakeGpu) -> None:
    _replace(_path(root, index), json.dumps(asdict(gpu), indent=1) + "\n")


def _write_use(root: Path, gpu_uuid: str, mib: int) -> None:
    pid = os.getpid()
    path = root / "use" / gpu_uuid / str(pid)
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, f"{mib} {_beginning(pid)}\n")


def _replace(path: Path, text: str) -> None:
    """Readers see the old or the new, never a half."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)


def _path(root: Path, index: int) -> Path:
    return root / f"gpu-{index}.json"


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Two that allocate at once do not both get the last gigabyte."""
    with open(root / ".lock", "w") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read_quickly(path: str) -> str:
    """A small file: an agent reads these of all processes each second."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 4096).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def _beginning(pid: int) -> str | None:
    """What tells this process from a later one with its pid; None when it is dead.

    A killed process that nobody has waited for yet holds no GPU memory any more either.
    """
    try:
        # After the name, which may hold anything: state is the first field, start time the 20th.
        fields = _read_quickly(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except FileNotFoundError:
        if os.path.isdir("/proc/self"):
            return None
        return _beginning_without_proc(pid)
    except (ProcessLookupError, PermissionError):
        return None
    return None if fields[0] in "ZX" else fields[19]


def _beginning_without_proc(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return "unknown"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

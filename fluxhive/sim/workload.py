"""Workloads that a simulated hive gets: who submits what when, and what it truly needs.

Reads CSV files with the columns of ``workloads/README.md`` (plain or gzip), and the pod list of
Alibaba's ``openb`` trace. What a task truly takes is known here alone: the brain has to find out.
"""

from __future__ import annotations

import csv
import gzip
import math
import random
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from msgspec.structs import replace

from fluxhive.core.errors import InputError
from fluxhive.core.values import Mib, Ms, Value

COLUMNS = (
    "submit_s",
    "duration_s",
    "gpus",
    "project",
    "user",
    "signature",
    "utilization",
    "peak_gpu_memory_gib",
    "declared_gpu_memory_gib",
    "peak_after_s",
    "time_limit_s",
)
#: Columns of Alibaba's list of pods that are read.
_OPENB_COLUMNS = ("name", "num_gpu", "gpu_milli", "qos", "creation_time", "deletion_time")
MIB_PER_GIB = 1024
#: A whole GPU of Alibaba's trace, less what the driver takes.
OPENB_GPU_MIB = 76 * MIB_PER_GIB
#: What no column has: a hundred years, more than a node's memory, more than a hive's GPUs.
MAX_S, MAX_GIB, MAX_GPUS = 3_200_000_000, 1_000_000, 100_000
Reader: TypeAlias = Callable[[dict[str, str]], "Job | None"]


class Job(Value, frozen=True, kw_only=True):
    """One task of a workload."""

    number: int
    submit_ms: Ms
    #: When alone on its GPUs.
    duration_ms: Ms
    gpus: int
    project: str
    user: str
    signature: str
    #: Part of a GPU's time when alone, 0 to 1.
    utilization: float
    peak_mib: Mib
    #: None: its author declares nothing.
    declared_mib: Mib | None
    #: From its start to its peak; before it takes a part of that.
    peak_after_ms: Ms
    limit_ms: Ms


def load(name: str) -> list[Job]:
    """The workload in a file, or one that comes with FlowHive by its name (``lab32``).

    Raises ``InputError`` when there is none or it cannot be read.
    """
    path = Path(name)
    if path.exists():
        return _read(path.name, path.read_bytes())
    packed = resources.files("fluxhive.sim") / "workloads" / f"{name}.csv.gz"
    if packed.is_file():
        return _read(packed.name, packed.read_bytes())
    raise InputError(
        f"FILE: there is no such file: `{name}`",
        hint="name a CSV file, or one of the workloads that come along: lab32, org256",
        field="FILE",
        value=name,
    )


def at_load(jobs: Iterable[Job], load: float) -> list[Job]:
    """The same tasks, arriving so many times as fast."""
    return [replace(job, submit_ms=round(job.submit_ms / load)) for job in jobs]


def without_declarations(jobs: Iterable[Job]) -> list[Job]:
    """The same tasks of authors who declare no memory."""
    return [replace(job, declared_mib=None) for job in jobs]


def resampled(jobs: list[Job], seed: int) -> list[Job]:
    """Another workload of the same kind: its days in another order, whole days at a time.

    What belongs together (bursts, runs of one signature) stays together within a day.
    """
    day_ms = 86_400_000
    days: dict[int, list[Job]] = {}
    for job in jobs:
        days.setdefault(job.submit_ms // day_ms, []).append(job)
    order = sorted(days)
    shuffled = list(order)
    random.Random(seed).shuffle(shuffled)
    moved: list[Job] = []
    for position, day in enumerate(shuffled):
        shift_ms = (order[position] - day) * day_ms
        moved += [replace(job, submit_ms=job.submit_ms + shift_ms) for job in days[day]]
    moved.sort(key=lambda job: (job.submit_ms, job.number))
    return [replace(job, number=number) for number, job in enumerate(moved)]


def flooded(jobs: list[Job], *, at_ms: Ms, n_tasks: int, duration_ms: Ms, seed: int) -> list[Job]:
    """The workload with one more user who submits so many equal tasks at once."""
    chance = random.Random(seed)
    flood = [
        Job(
            number=0,
            submit_ms=at_ms,
            duration_ms=duration_ms,
            gpus=1,
            project="flood",
            user="flood",
            signature="flood",
            utilization=chance.uniform(0.5, 1.0),
            peak_mib=chance.randint(18 * MIB_PER_GIB, 24 * MIB_PER_GIB),
            declared_mib=40 * MIB_PER_GIB,
            peak_after_ms=60_000,
            limit_ms=4 * duration_ms,
        )
        for _ in range(n_tasks)
    ]
    every = sorted([*jobs, *flood], key=lambda job: job.submit_ms)
    return [replace(job, number=number) for number, job in enumerate(every)]


def _read(name: str, data: bytes) -> list[Job]:
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise InputError(f"FILE: cannot be read: `{name}`: {error}", field="FILE") from error
    reader = csv.DictReader(text.splitlines())
    found = tuple(reader.fieldnames or ())
    if all(column in found for column in COLUMNS):
        jobs = list(_each(name, reader, _own))
    elif all(column in found for column in _OPENB_COLUMNS):
        jobs = list(_each(name, reader, _openb))
    else:
        missing = [column for column in COLUMNS if column not in found]
        raise InputError(
            f"FILE: `{name}` lacks the columns {', '.join(missing)}",
            hint="see fluxhive/sim/workloads/README.md for what they mean",
            field="FILE",
            value=name,
        )
    if not jobs:
        raise InputError(f"FILE: `{name}` has no tasks in it", field="FILE", value=name)
    jobs.sort(key=lambda job: job.submit_ms)
    return [replace(job, number=number) for number, job in enumerate(jobs)]


def _own(row: dict[str, str]) -> Job | None:
    return Job(
        number=0,
        submit_ms=_ms(row, "submit_s"),
        duration_ms=max(1, _ms(row, "duration_s")),
        gpus=int(_number(row, "gpus", 1, MAX_GPUS)),
        project=row["project"],
        user=row["user"],
        signature=row["signature"],
        utilization=_number(row, "utilization", 0, 1),
        peak_mib=_mib(row, "peak_gpu_memory_gib"),
        declared_mib=_mib(row, "declared_gpu_memory_gib"),
        peak_after_ms=_ms(row, "peak_after_s"),
        limit_ms=_ms(row, "time_limit_s"),
    )


def _openb(row: dict[str, str]) -> Job | None:
    """Alibaba's pods: a part of a GPU is taken as memory and time alike; owners are unknown."""
    gpus = int(_number(row, "num_gpu", 0, MAX_GPUS)) if row["num_gpu"] else 0
    start_ms = _ms(row, "creation_time")
    end_ms = _ms(row, "deletion_time") if row["deletion_time"] else 0
    if gpus < 1 or end_ms <= start_ms:
        return None
    part = _number(row, "gpu_milli", 1, 1000) / 1000 if row["gpu_milli"] else 1.0
    peak_mib = max(1, int(part * OPENB_GPU_MIB))
    owner = row["qos"] or "openb"
    return Job(
        number=0,
        submit_ms=start_ms,
        duration_ms=end_ms - start_ms,
        gpus=gpus,
        project=owner,
        user=owner,
        signature=f"{gpus}-{row['gpu_milli']}-{row['qos']}",
        utilization=part,
        peak_mib=peak_mib,
        declared_mib=peak_mib,
        peak_after_ms=60_000,
        limit_ms=2 * (end_ms - start_ms),
    )


def _each(name: str, rows: Iterable[dict[str, str]], read: Reader) -> Iterator[Job]:
    """The rows as tasks, those left out that are none."""
    line = 1
    try:
        for row in rows:
            line += 1
            job = read(row)
            if job is not None:
                yield job
    except (ValueError, csv.Error) as error:
        raise _bad_row(name, line, error) from error


def _bad_row(name: str, line: int, error: Exception) -> InputError:
    return InputError(
        f"FILE: row {line} of `{name}` cannot be read: {error}",
        hint="see fluxhive/sim/workloads/README.md for what the columns mean",
        field="FILE",
        value=name,
    )


def _ms(row: dict[str, str], column: str) -> Ms:
    return round(_number(row, column, 0, MAX_S) * 1000)


def _mib(row: dict[str, str], column: str) -> Mib:
    return round(_number(row, column, 0, MAX_GIB) * MIB_PER_GIB)


def _number(row: dict[str, str], column: str, least: int, most: int) -> float:
    """A cell as a number in this range. Raises ``ValueError`` that names column and value."""
    text = row[column] or ""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number <= most:
        raise ValueError(f"{column}: must be a number between {least} and {most}: `{text}`")
    return number

"""`fluxhive usage`: what one's own tasks took of the hive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.core.request import parse_duration_ms, show_mib
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import AttemptView, TaskView
from fluxhive.sdk.calls import Calls

#: Tasks that are added up at most: reading more takes longer than anybody waits.
TASKS_MAX = 20_000
HOUR_MS = 3_600_000
TITLES = ("TASKS", "SUCCEEDED", "FAILED", "GPU-HOURS", "CPU-HOURS", "GPU BUSY", "PEAK GPU MEM")

KEYS: dict[str, Callable[[TaskView], str]] = {
    "name": lambda task: task.name or "-",
    "project": lambda task: task.project or task.owner,
    "state": lambda task: task.state.value,
    "day": lambda task: time.strftime("%Y-%m-%d", time.localtime(task.submitted_at_ms / 1000)),
}


class Sum(NamedTuple):
    """What several tasks took together."""

    tasks: int = 0
    succeeded: int = 0
    failed: int = 0
    gpu_ms: int = 0
    cpu_ms: int = 0
    #: Utilization in percent times GPU time, and the GPU time for which it is known.
    busy: int = 0
    known_ms: int = 0
    peak_mib: int = 0

    def plus(self, other: Sum) -> Sum:
        """Both together."""
        added = Sum(*(one + two for one, two in zip(self, other, strict=True)))
        return added._replace(peak_mib=max(self.peak_mib, other.peak_mib))


@click.command()
@click.option("--since", default="7d", show_default=True, metavar="TIME", help="How far back.")
@click.option(
    "--by", type=click.Choice(list(KEYS)), default="name", show_default=True, help="One line each."
)
@click.option("--array", metavar="TASK", shell_complete=TASK_NAMES, help="Only of this array.")
@options.control_url
@output.form_options
def command(
    *, since: str, by: str, array: str | None, control_url: str | None, form: output.Form
) -> None:
    """Add up what your own tasks took: GPU-hours they held, CPU time, how busy the GPUs were.

    GPU-hours count from the placement of each attempt to its end, within the time asked for; a
    shared GPU counts in full for each task on it.
    """
    now_ms = int(time.time() * 1000)
    since_ms = now_ms - parse_duration_ms(since, field="--since")
    client = session.client(control_url)
    sums: dict[str, Sum] = {}
    for number, task in enumerate(_tasks(client, since_ms, array)):
        if number == TASKS_MAX:
            messages.warn(f"only the newest {TASKS_MAX} tasks are added up; `--since` asks less")
            break
        key = KEYS[by](task)
        sums[key] = sums.get(key, Sum()).plus(took(task, since_ms, now_ms))
    rows = sorted(sums.items(), key=lambda row: (-row[1].gpu_ms, -row[1].cpu_ms, row[0]))
    total = Sum()
    for _, each in rows:
        total = total.plus(each)
    shown = [*rows, ("all", total)] if len(rows) > 1 and not form.is_data else rows
    output.rows(
        form,
        "usage",
        (by.upper(), *TITLES),
        [[key, *_cells(each)] for key, each in shown],
        items=[{by: key, **_item(each)} for key, each in rows],
        ids=[key for key, _ in rows],
        none=f"you had no task in the last {since}",
    )


def _tasks(client: Calls, since_ms: int, array: str | None) -> Iterator[TaskView]:
    """Single tasks and members of arrays, the newest first."""
    if array is not None:
        yield from client.tasks(array=array)
        return
    for task in client.tasks(owner=client.me().username, since_ms=since_ms):
        if task.members is None:
            yield task
        else:
            yield from client.tasks(array=task.id)


def took(task: TaskView, since_ms: int, now_ms: int) -> Sum:
    """What one task took from then until now."""
    total = Sum(
        tasks=1,
        succeeded=int(task.state is TaskState.SUCCEEDED),
        failed=int(task.state is TaskState.FAILED),
    )
    for attempt in task.attempts:
        total = total.plus(_attempt(attempt, since_ms, now_ms))
    return total


def _attempt(attempt: AttemptView, since_ms: int, now_ms: int) -> Sum:
    begin_ms = max(since_ms, attempt.reserved_at_ms)
    length_ms = max(0, (attempt.ended_at_ms or now_ms) - begin_ms)
    held = [member.reservation for member in attempt.members] or [attempt.reservation]
    gpu_ms = length_ms * sum(len(each.gpus) for each in held)
    parts = [member.facts for member in attempt.members] or [attempt.facts]
    facts = [each for each in parts if each is not None]
    peaks = [peak for each in facts for peak in each.gpu_peaks]
    percents = [p.utilization_percent for p in peaks if p.utilization_percent is not None]
    return Sum(
        gpu_ms=gpu_ms,
        cpu_ms=sum(each.cpu_ms for each in facts),
        busy=sum(percents) * length_ms,
        known_ms=len(percents) * length_ms,
        peak_mib=max((peak.peak_mib for peak in peaks), default=0),
    )


def _cells(each: Sum) -> list[str]:
    busy = "-" if not each.known_ms else f"{each.busy // each.known_ms} %"
    return [
        str(each.tasks),
        str(each.succeeded),
        str(each.failed),
        f"{each.gpu_ms / HOUR_MS:.1f}",
        f"{each.cpu_ms / HOUR_MS:.1f}",
        busy,
        show_mib(each.peak_mib) if each.peak_mib else "-",
    ]


def _item(each: Sum) -> dict[str, object]:
    return {
        "tasks": each.tasks,
        "succeeded": each.succeeded,
        "failed": each.failed,
        "gpu_hours": round(each.gpu_ms / HOUR_MS, 4),
        "cpu_hours": round(each.cpu_ms / HOUR_MS, 4),
        "gpu_busy_percent": each.busy // each.known_ms if each.known_ms else None,
        "peak_gpu_memory_mib": each.peak_mib,
    }

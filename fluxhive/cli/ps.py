"""`fluxhive ps`: lists tasks."""

from __future__ import annotations

import time

import click

from fluxhive.cli import options, output, session
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.cli.program import shown_command
from fluxhive.cli.watch import watched
from fluxhive.core.request import Reservation, show_indexes, show_mib, show_ms
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import AttemptView, TaskView
from fluxhive.sdk import tasks
from fluxhive.sdk.begin import show_time

RECENT_MS = 3_600_000
TITLES = ("ID", "NAME", "USER", "STATE", "WHERE", "GPU MEM", "TIME", "WHY")
WIDE_TITLES = ("PROJECT", "PRIORITY", "SUBMITTED", "COMMAND")


@click.command()
@watched
@click.option("-a", "--all", "is_all", is_flag=True, help="Tasks of all users.")
@click.option("--all-time", is_flag=True, help="Also what ended more than an hour ago.")
@click.option("-n", "--name", help="Only tasks of this name.")
@click.option(
    "--array",
    metavar="TASK",
    shell_complete=TASK_NAMES,
    help="The members of this array that left the queue.",
)
@options.control_url
@output.form_options
def command(
    *,
    is_all: bool,
    all_time: bool,
    name: str | None,
    array: str | None,
    control_url: str | None,
    form: output.Form,
) -> None:
    """List my tasks: those that live, and those that ended in the last hour."""
    client = session.client(control_url)
    now_ms = int(time.time() * 1000)
    found = list(
        client.tasks(
            owner=None if is_all or array else client.me().username,
            name=name,
            array=array,
            since_ms=None if all_time or array else now_ms - RECENT_MS,
        )
    )
    output.rows(
        form,
        "tasks",
        (*TITLES, *WIDE_TITLES) if form.is_wide else TITLES,
        [[*_row(task, now_ms), *(_wide(task) if form.is_wide else ())] for task in found],
        items=found,
        ids=[task.id for task in found],
        none=_none(is_all=is_all, all_time=all_time, name=name, array=array),
    )


def _none(*, is_all: bool, all_time: bool, name: str | None, array: str | None) -> str:
    """What is said where no task is listed, with what would list more."""
    if array is not None:
        return f"no member of {array} has left the queue yet"
    whose = "no tasks" if is_all else "you have no tasks"
    called = "" if name is None else f" called {name}"
    if all_time:
        return f"{whose}{called}" + ("" if is_all else "; those of all users: fluxhive ps -a")
    more = "--all-time lists older ones" + ("" if is_all else ", -a those of all users")
    return f"{whose}{called} that live or ended in the last hour; {more}"


def _row(task: TaskView, now_ms: int) -> list[str]:
    attempt = tasks.last_attempt(task)
    return [
        task.id,
        task.name or "-",
        task.owner,
        task.word,
        where(attempt),
        gpu_memory(attempt),
        running_time(task, now_ms),
        why(task),
    ]


def _wide(task: TaskView) -> list[str]:
    return [
        task.project or task.owner,
        task.priority.value,
        show_time(task.submitted_at_ms),
        shown_command(task.spec),
    ]


def why(task: TaskView) -> str:
    """Why it waits, for one that waits; else the sentence about its state.

    Of an array: how its members stand, too.
    """
    if task.members is not None:
        waits = f"; {task.waiting[0].text}" if task.waiting else ""
        return f"{task.members}{waits}"
    if task.waiting:
        return task.waiting[0].text
    is_said = task.word == "running" and len(task.attempts) == 1
    if is_said or task.state is TaskState.SUCCEEDED:
        return "-"  # it stands beside it, and where it runs
    return task.reason or "-"


def where(attempt: AttemptView | None) -> str:
    """Node and GPUs of an attempt: `gpu-a:0,1`."""
    if attempt is None:
        return "-"
    held = [(member.node_label, member.reservation) for member in attempt.members]
    return " ".join(
        place(label, reservation)
        for label, reservation in held or [(attempt.node_label, attempt.reservation)]
    )


def place(label: str, held: Reservation) -> str:
    """A node and the GPUs that are held there: `gpu-a:0,1`."""
    gpus = show_indexes(share.index for share in held.gpus)
    return f"{label}:{gpus}" if gpus else label


def gpu_memory(attempt: AttemptView | None) -> str:
    """GPU memory used and reserved: `17.8 GiB/20.0 GiB`."""
    if attempt is None or not attempt.reservation.gpus:
        return "-"
    parts = [member.reservation for member in attempt.members] or [attempt.reservation]
    reserved_mib = sum(share.gpu_memory_mib for held in parts for share in held.gpus)
    used_mib = attempt.gpu_memory_used_mib
    return f"{'-' if used_mib is None else show_mib(used_mib)}/{show_mib(reserved_mib)}"


def running_time(task: TaskView, now_ms: int) -> str:
    """How long it has run, or did."""
    if task.started_at_ms is None:
        return "-"
    # Our clock and the server's may differ.
    return show_ms(max(0, (task.ended_at_ms or now_ms) - task.started_at_ms))

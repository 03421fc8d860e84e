"""`fluxhive edit`: changes what a task that waits asks for."""

from __future__ import annotations

from typing import Any

import click
from msgspec import UNSET, UnsetType

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.completing import LIVE_TASK_NAMES
from fluxhive.core.errors import InputError
from fluxhive.core.request import parse_duration_ms, parse_mib
from fluxhive.core.task import Priority
from fluxhive.protocol.task_change import RequestChange, TaskChange
from fluxhive.sdk.begin import parse_time_ms

PRIORITIES = [priority.value for priority in Priority]


@click.command()
@click.argument("task", shell_complete=LIVE_TASK_NAMES)
@click.option("-n", "--name", help="Another name; empty: none.")
@click.option("--project", metavar="NAME", help="Another project; empty: your own.")
@click.option("-p", "--priority", type=click.Choice(PRIORITIES), help="Also while it runs.")
@click.option("--gpus", type=int, metavar="N", help="How many GPUs.")
@click.option("--gpu-mem", metavar="SIZE", help="Memory per GPU, as 8G; `all`: whole GPUs.")
@click.option("--exclusive/--shared", "exclusive", default=None, help="Alone on its GPUs, or not.")
@click.option("--cpus", type=int, metavar="N", help="How many CPUs.")
@click.option("--mem", metavar="SIZE", help="Memory, as 16G; `any`: not counted.")
@click.option("--time", "time_limit", metavar="TIME", help="Limit, as 4h; `none`: no limit.")
@click.option("--begin", metavar="WHEN", help="Not before 18:00, +2h, an ISO time; or `now`.")
@click.option("--retry", type=int, metavar="N", help="How many failures are tried again.")
@options.control_url
@output.form_options
def command(*, task: str, control_url: str | None, form: output.Form, **given: Any) -> int:
    """Change a task that waits: what is not named stays. What it asked first stays readable."""
    change = _change(given)
    if change == TaskChange():
        raise InputError(
            "nothing to change was given",
            field="option",
            hint="name it, such as `--gpu-mem 12G`; `fluxhive edit --help` lists what can be",
        )
    edited = session.client(control_url).edit(task, change)
    if form.is_data:
        output.pairs(form, [], item=edited, id=edited.id)
    else:
        parts = [edited.id, edited.name, edited.word, edited.reason]
        output.lines(["  ".join(messages.visible(part) for part in parts if part)])
    return 0


def _change(given: dict[str, Any]) -> TaskChange:
    if given["gpus"] == 0 and given["gpu_mem"] is None:
        given = {
            **given,
            "gpu_mem": "all",
            "exclusive": False,
        }  # there is nothing to have memory of
    request = RequestChange(
        gpus=_given(given["gpus"]),
        gpu_memory_mib=_size(given["gpu_mem"], "--gpu-mem", "all"),
        exclusive=_given(given["exclusive"]),
        cpus=_given(given["cpus"]),
        memory_mib=_size(given["mem"], "--mem", "any"),
    )
    limit, begin, priority = given["time_limit"], given["begin"], given["priority"]
    time_limit_ms: int | UnsetType | None = UNSET
    if limit is not None:
        time_limit_ms = None if limit == "none" else parse_duration_ms(limit, field="--time")
    return TaskChange(
        name=_given(given["name"]),
        project=_given(given["project"]),
        priority=UNSET if priority is None else Priority(priority),
        request=UNSET if request == RequestChange() else request,
        time_limit_ms=time_limit_ms,
        begin_at_ms=UNSET if begin is None else parse_time_ms(begin, field="--begin"),
        retry=_given(given["retry"]),
    )


def _given(value: Any) -> Any:
    return UNSET if value is None else value


def _size(text: str | None, option: str, unlimited: str) -> int | UnsetType | None:
    if text is None:
        return UNSET
    return None if text == unlimited else parse_mib(text, field=option)

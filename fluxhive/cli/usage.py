"""`fluxhive usage`: what one's own tasks took of the hive."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import click

from fluxhive.cli import messages, options, output, session
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.core.request import parse_duration_ms, show_mib
from fluxhive.protocol.usage import UsageRow, UsageSums
from fluxhive.sdk.calls import API
from fluxhive.transport import Transport

HOUR_MS = 3_600_000
TITLES = ("TASKS", "SUCCEEDED", "FAILED", "GPU-HOURS", "CPU-HOURS", "GPU BUSY", "PEAK GPU MEM")
KEYS = ("name", "project", "state", "day")


@click.command()
@click.option("--since", default="7d", show_default=True, metavar="TIME", help="How far back.")
@click.option(
    "--by", type=click.Choice(KEYS), default="name", show_default=True, help="One line each."
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
    since_ms = int(time.time() * 1000) - parse_duration_ms(since, field="--since")
    client = session.client(control_url)
    asked = {
        "since_ms": str(max(since_ms, 0)),
        "by": by,
        "utc_offset_min": str(time.localtime().tm_gmtoff // 60),
    }
    sums = _sums(client.transport, asked if array is None else {**asked, "array": array})
    if sum(each.tasks for each in sums.rows) < sums.total.tasks:
        messages.warn(f"only the first {len(sums.rows)} lines are shown; `--by` asks for fewer")
    rows = [[each.key or "-", *_cells(each)] for each in sums.rows]
    if len(rows) > 1 and not form.is_data:
        rows.append(["all", *_cells(sums.total)])
    output.rows(
        form,
        "usage",
        (by.upper(), *TITLES),
        rows,
        items=[{by: each.key or "-", **_item(each)} for each in sums.rows],
        ids=[each.key or "-" for each in sums.rows],
        none=f"you had no task in the last {since}"
        if array is None
        else f"no member of {array} ran in the last {since}",
    )


def _sums(transport: Transport, asked: dict[str, str]) -> UsageSums:
    return transport.call("GET", f"{API}/usage?{urlencode(asked)}", UsageSums)


def _cells(each: UsageRow) -> list[str]:
    return [
        str(each.tasks),
        str(each.succeeded),
        str(each.failed),
        f"{each.gpu_ms / HOUR_MS:.1f}",
        f"{each.cpu_ms / HOUR_MS:.1f}",
        "-" if each.busy_percent is None else f"{each.busy_percent} %",
        show_mib(each.peak_gpu_memory_mib) if each.peak_gpu_memory_mib else "-",
    ]


def _item(each: UsageRow) -> dict[str, object]:
    return {
        "tasks": each.tasks,
        "succeeded": each.succeeded,
        "failed": each.failed,
        "gpu_hours": round(each.gpu_ms / HOUR_MS, 4),
        "cpu_hours": round(each.cpu_ms / HOUR_MS, 4),
        "gpu_busy_percent": each.busy_percent,
        "peak_gpu_memory_mib": each.peak_gpu_memory_mib,
    }

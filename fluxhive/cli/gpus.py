"""`fluxhive gpus`: lists the GPUs and who is on them."""

from __future__ import annotations

import click

from fluxhive.cli import options, output, session
from fluxhive.cli.watch import watched
from fluxhive.core.request import show_mib
from fluxhive.protocol.rest import GpuView, NodeView

TITLES = ("GPU", "MODEL", "STATE", "UTIL", "MEM USED", "RESERVED", "TEMP", "POWER", "TASKS")


@click.command()
@watched
@options.control_url
@output.form_options
def command(*, control_url: str | None, form: output.Form) -> None:
    """List the GPUs: utilization, memory, temperature, power, and each task's own memory."""
    found = [(node, gpu) for node in session.client(control_url).nodes() for gpu in node.gpus]
    output.rows(
        form,
        "gpus",
        TITLES,
        [_row(node, gpu) for node, gpu in found],
        items=[{"node_id": node.id, "node_label": node.label, "gpu": gpu} for node, gpu in found],
        ids=[gpu.report.uuid for _, gpu in found],
        none="no node has a GPU; see the nodes with `fluxhive nodes`",
    )


def _row(node: NodeView, gpu: GpuView) -> list[str]:
    report = gpu.report
    used = "-" if report.used_mib is None else show_mib(report.used_mib)
    state = report.state.value
    if report.state_reason:
        state += f" ({report.state_reason})"
    return [
        f"{node.label}:{report.index}",
        report.model,
        f"{state}, reading is old" if report.stale else state,
        _with(report.utilization_percent, "%"),
        f"{used}/{show_mib(report.total_mib)}",
        show_mib(gpu.reserved_mib) + (", exclusive" if gpu.exclusive else ""),
        _with(report.temperature_c, " °C"),
        _with(report.power_w, " W"),
        _tasks(gpu),
    ]


def _with(number: int | None, unit: str) -> str:
    return "-" if number is None else f"{number}{unit}"


def _tasks(gpu: GpuView) -> str:
    used = {str(usage.attempt_id): usage.used_mib for usage in gpu.report.attempts}
    names = [*gpu.attempts, *(attempt for attempt in used if attempt not in gpu.attempts)]
    parts = [f"{name} {show_mib(used[name])}" if name in used else name for name in names]
    if gpu.report.foreign_mib:
        parts.append(f"others {show_mib(gpu.report.foreign_mib)}")
    return ", ".join(parts) or "-"

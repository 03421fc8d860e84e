"""`fluxhive nodes`: lists the nodes of the hive."""

from __future__ import annotations

import click

from fluxhive.cli import options, output, session
from fluxhive.cli.watch import watched
from fluxhive.core.request import show_mib, show_ms
from fluxhive.protocol.rest import NodeView
from fluxhive.sdk.begin import show_time

TITLES = ("ID", "LABEL", "STATE", "CPUS", "MEMORY", "GPUS", "TASKS", "CONTACT", "NOTE")


@click.command()
@watched
@options.control_url
@output.form_options
def command(*, control_url: str | None, form: output.Form) -> None:
    """List the nodes: what they have, what of it is reserved, and how they are."""
    found = session.client(control_url).nodes()
    output.rows(
        form,
        "nodes",
        TITLES,
        [_row(node) for node in found],
        items=found,
        ids=[node.id for node in found],
        none="no node has joined yet; on a machine with GPUs: fluxhive run",
    )


def _row(node: NodeView) -> list[str]:
    used = "-" if node.memory_used_mib is None else show_mib(node.memory_used_mib)
    age = node.last_contact_age_ms
    return [
        node.id,
        node.label,
        "draining" if node.draining else node.state.value,
        f"{node.cpus_reserved}/{node.cpus}",
        f"{used}/{show_mib(node.memory_mib)}",
        str(len(node.gpus)),
        str(len(node.attempts)),
        "-" if age is None else f"{_age(age)} ago",
        "; ".join(_notes(node)) or "-",
    ]


def _age(age_ms: int) -> str:
    """An age in its largest unit: `14:00 ago` would be read as a time of the day."""
    for unit_ms, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min")):
        if age_ms >= unit_ms:
            return f"{age_ms // unit_ms} {unit}"
    return show_ms(age_ms)


def _notes(node: NodeView) -> list[str]:
    notes = [node.problem] if node.problem else []
    if node.drain is not None and node.drain.until_ms is not None:
        notes.append(f"drained until {show_time(node.drain.until_ms)}")
    if node.drain is not None and node.drain.reason:
        notes.append(node.drain.reason)
    if node.only_for:
        notes.append(f"only for {node.only_for}")
    if node.tags:
        notes.append(f"tags {', '.join(node.tags)}")
    most = node.tasks_per_gpu_max
    if most is not None:
        notes.append("GPUs not shared" if most == 1 else f"at most {most} tasks on a GPU")
    return notes

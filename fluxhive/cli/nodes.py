"""`fluxhive nodes`: lists the nodes of the hive."""

from __future__ import annotations

import click

from fluxhive.cli import options, output, session
from fluxhive.core.request import show_mib, show_ms
from fluxhive.protocol.rest import NodeView

TITLES = ("ID", "LABEL", "STATE", "CPUS", "MEMORY", "GPUS", "TASKS", "CONTACT", "NOTE")


@click.command()
@options.control_url
@output.json_option
@output.quiet_option
def command(*, control_url: str | None, is_json: bool, is_quiet: bool) -> None:
    """List the nodes: what they have, what of it is reserved, and how they are."""
    found = session.client(control_url).nodes()
    output.rows(
        output.Form(is_json=is_json, is_quiet=is_quiet),
        "nodes",
        TITLES,
        [_row(node) for node in found],
        items=found,
        ids=[node.id for node in found],
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
        "-" if age is None else f"{show_ms(age)} ago",
        "; ".join(_notes(node)) or "-",
    ]


def _notes(node: NodeView) -> list[str]:
    notes = [node.problem] if node.problem else []
    if node.only_for:
        notes.append(f"only for {node.only_for}")
    if node.tags:
        notes.append(f"tags {', '.join(node.tags)}")
    most = node.tasks_per_gpu_max
    if most is not None:
        notes.append("GPUs not shared" if most == 1 else f"at most {most} tasks on a GPU")
    return notes

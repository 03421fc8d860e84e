"""`--gpus all`: as many as the machine with the most of those that would do has now.

A task's request keeps the number: what joins later changes nothing. Called by submit.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from fluxhive.core.errors import InputError
from fluxhive.core.node import NodeState
from fluxhive.core.request import Request, is_model
from fluxhive.protocol.rest import NodeView

ALL_GPUS = 1 << 62
"""What `all` is until the nodes have been asked; no number that anybody means."""


class GpuCount(click.types.IntParamType):
    """A whole number, or `all`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; ALL_GPUS for `all`."""
        return ALL_GPUS if value == "all" else int(super().convert(value, param, ctx))


def all_gpus(
    nodes: Iterable[NodeView],
    *,
    labels: tuple[str, ...],
    tags: tuple[str, ...],
    model: str | None,
) -> int:
    """How many `all` are. Raises InputError where that is none."""
    would_do = [
        node
        for node in nodes
        if node.state is not NodeState.LOST
        and (not labels or node.label in labels)
        and set(tags) <= set(node.tags)
    ]
    counts = [
        sum(is_model(Request(gpu_model=model), gpu.report.model) for gpu in node.gpus)
        for node in would_do
    ]
    found = max(counts, default=0)
    if not found:
        raise InputError(
            "--gpus: `all` is none: no node that is asked for has a GPU that is asked for",
            field="--gpus",
            value="all",
            hint="list what there is: fluxhive gpus",
        )
    return found

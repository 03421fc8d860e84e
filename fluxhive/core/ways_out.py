"""What a person can do about a task that more room would not start.

Remedies (remedies.py) are single changes with which a task would start now, each tried. This is for
the rest: nothing in the hive is like what is asked, or somebody holds the task. Called by
outlook.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from .choice import listed, never_there
from .explain import WaitCode
from .hive_state import HiveState
from .node import Node
from .node_record import serving
from .request import Request, is_model
from .task import Task

_JOIN = "let such a machine join: `fluxhive run` there"


def ways_out(
    hive: HiveState, request: Request, owner: str, codes: Sequence[WaitCode]
) -> tuple[str, ...]:
    """What would help a task that waits for these reasons, in words; often nothing."""
    nodes = [record.node for record in serving(hive.nodes, owner)]
    if WaitCode.NO_NODES in codes and not nodes:
        return ("let a machine join: `fluxhive run` there (docs/guides/add-a-node.md)",)
    if not {WaitCode.NEVER, WaitCode.NOT_CHOSEN} & set(codes):
        return ()
    told = [
        _others(hive, request, owner),
        _labels(request, nodes),
        _tags(request, nodes),
        _gpus(request, nodes),
    ]
    found = tuple(text for text in told if text)
    n_could = sum(never_there(request, node) is None for node in nodes)
    if not found and 0 < n_could < request.nodes:
        found = (f"ask for {n_could} or fewer with `--nodes`, or {_JOIN}",)
    return found


def ways_out_of_hold(task: Task) -> tuple[str, ...]:
    """What helps a task that is not in line: held, or ended."""
    if task.held_by is not None:
        return (f"let it start: fluxhive release {task.id}",)
    if task.state.is_final:
        return (f"submit it again, with changes where wanted: fluxhive rerun {task.id}",)
    return ()


def _others(hive: HiveState, request: Request, owner: str) -> str:
    """Which of the nodes that are asked for serve somebody else."""
    for node in (record.node for record in hive.nodes.values() if not record.serves(owner)):
        if node.label in request.on_nodes:
            return (
                f"`{node.label}` serves {node.only_for} alone, until an administrator accepts it: "
                f"fluxhive node accept {node.label}"
            )
    return ""


def _labels(request: Request, nodes: list[Node]) -> str:
    known = {node.label for node in nodes}
    if not request.on_nodes or known & set(request.on_nodes):
        return ""
    return f"nodes that are there: {listed(sorted(known), 'and')}"


def _tags(request: Request, nodes: list[Node]) -> str:
    if not request.tags or any(set(request.tags) <= set(node.inventory.tags) for node in nodes):
        return ""
    known = sorted({tag for node in nodes for tag in node.inventory.tags})
    if not known:
        return "no node has a tag; `fluxhive config agent.tags` on its machine gives it some"
    return f"tags that nodes have: {listed(known, 'and')}"


def _gpus(request: Request, nodes: list[Node]) -> str:
    if not request.gpus:
        return ""
    models = sorted({gpu.model for node in nodes for gpu in node.inventory.gpus})
    if not models:
        return f"no node has a GPU: {_JOIN}, or ask for none with `--gpus 0`"
    if not any(is_model(request, model) for model in models):
        return f"models that are there: {listed(models, 'and')}"
    return ""

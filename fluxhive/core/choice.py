"""Requests for nodes by label and tags that no node meets, as a misfit and in words.

Called by explain.py, outlook.py and ways_out.py. Whether a node has room is placement's.
"""

from __future__ import annotations

from collections.abc import Sequence

from .node import Node
from .placement import Misfit, MisfitCode, capacity_misfit
from .request import Request, is_model

#: Names of one kind that a sentence lists.
NAMES_MAX = 8


def never_there(request: Request, node: Node) -> Misfit | None:
    """Why a node, as it is, could never hold the request; None when it could."""
    if request.on_nodes and node.label not in request.on_nodes:
        return Misfit(node_id=node.id, code=MisfitCode.NOT_CHOSEN, forever=True)
    return capacity_misfit(request, node.id, node.inventory)


def never_chosen(request: Request, node: Node, model: str) -> bool:
    """Whether a GPU of this model on this node is none of those that are asked for."""
    is_elsewhere = request.on_nodes and node.label not in request.on_nodes
    lacks_tags = request.tags and not set(request.tags) <= set(node.inventory.tags)
    return bool(is_elsewhere or lacks_tags or not is_model(request, model))


def not_chosen(request: Request) -> str:
    """What no node is, or has, of the labels and the tags that are asked for."""
    parts = []
    if request.on_nodes:
        parts.append(f"the node {listed(request.on_nodes, 'or')}")
    if request.tags:
        parts.append(f"the tags {', '.join(request.tags)}")
    asked = " with ".join(parts)
    there = "no such node is there for it" if request.on_nodes else "no node has them all"
    return f"it asks {asked}, and {there}"


def listed(names: Sequence[str], word: str) -> str:
    """``a, b and c``; of many the first."""
    shown = [f"`{name}`" for name in names[:NAMES_MAX]]
    if len(names) > NAMES_MAX:
        return f"{', '.join(shown)}, …"
    return f" {word} ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))

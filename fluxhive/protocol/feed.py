"""What live readers are told (``GET /api/v1/events``, server-sent events; the tag is the event)."""

from __future__ import annotations

from typing import TypeAlias

from fluxhive.core.node import GpuReport
from fluxhive.core.values import Tagged

from .rest import NodeView, TaskView


class TaskChanged(Tagged, frozen=True, kw_only=True):
    """A task or its attempt changed."""

    task: TaskView


class NodeChanged(Tagged, frozen=True, kw_only=True):
    """A node joined, left, or changed."""

    node: NodeView


class ReadingsChanged(Tagged, frozen=True, kw_only=True):
    """The newest readings of a node's GPUs; the latest wins."""

    node_id: str
    gpus: tuple[GpuReport, ...]


class Lagged(Tagged, frozen=True, kw_only=True):
    """This reader was too slow: so many events were dropped; read the lists again."""

    missed: int


FeedEvent: TypeAlias = TaskChanged | NodeChanged | ReadingsChanged | Lagged

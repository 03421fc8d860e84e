"""What the REST API answers about how a node is (``GET /nodes/{node}/health``)."""

from __future__ import annotations

from fluxhive.core.health import GpuProcesses
from fluxhive.core.values import Value


class XidView(Value, frozen=True, kw_only=True):
    """An error that a GPU's driver reported since the node's agent was started."""

    at_ms: int
    uuid: str
    number: int
    #: In words; empty: the number is not known here.
    text: str = ""
    #: True: it speaks of the GPU itself, which is kept out until it has been well for a while.
    is_fault: bool = False


class NodeHealthView(Value, frozen=True, kw_only=True):
    """How a node is, beyond what stands in the node itself. What is not known is absent."""

    node: str
    #: When it was looked at; None: the node is out of contact, or too old to say.
    at_ms: int | None = None
    #: How far the node's clock is ahead of the server's, in both directions.
    clock_offset_ms: int | None = None
    #: Of the disk where its agent keeps its state.
    disk_free_mib: int | None = None
    disk_total_mib: int | None = None
    gpus: tuple[GpuProcesses, ...] = ()
    #: Oldest first.
    xids: tuple[XidView, ...] = ()

"""How a node and its GPUs are, beyond what placement needs: for people who look. Nothing is decided
by it.

Taken by the agent some times a minute and carried by heartbeats. What is not known is None, never
0.
"""

from __future__ import annotations

from .values import AttemptId, GpuUuid, Mib, Ms, Value


class GpuProcess(Value, frozen=True, kw_only=True):
    """One process on a GPU, whosever it is."""

    pid: int
    #: None: the card does not say.
    used_mib: Mib | None = None
    #: None: it belongs to no attempt of the node.
    attempt_id: AttemptId | None = None
    #: Both empty: the process cannot be seen from where the agent runs.
    user: str = ""
    #: As it was started, cut, with the values of secrets hidden.
    command: str = ""


class GpuProcesses(Value, frozen=True, kw_only=True):
    """Who is on one GPU, the largest first."""

    uuid: GpuUuid
    #: None: the card does not list them.
    processes: tuple[GpuProcess, ...] | None = None
    #: How many more there are.
    n_more: int = 0


class XidSeen(Value, frozen=True, kw_only=True):
    """An error that the driver reported of a GPU."""

    #: The node's boot clock when the agent was told.
    at_ms: Ms
    uuid: GpuUuid
    number: int


class NodeHealth(Value, frozen=True, kw_only=True):
    """One look at a node. Errors are those since the agent was started, oldest first."""

    #: Of the disk where the agent keeps its state.
    disk_free_mib: Mib | None = None
    disk_total_mib: Mib | None = None
    gpus: tuple[GpuProcesses, ...] = ()
    xids: tuple[XidSeen, ...] = ()

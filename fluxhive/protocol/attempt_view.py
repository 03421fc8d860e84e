"""An attempt as people see it: part of a task's answer (rest.py)."""

from __future__ import annotations

from fluxhive.core.outcome import ExitFacts, Outcome
from fluxhive.core.request import Estimate, Reservation
from fluxhive.core.task import AttemptState
from fluxhive.core.values import Value


class MemberView(Value, frozen=True, kw_only=True):
    """A gang's part on one node."""

    rank: int
    node_id: str
    node_label: str
    state: AttemptState
    reservation: Reservation
    pid: int | None = None
    outcome: Outcome | None = None
    facts: ExitFacts | None = None


class AttemptView(Value, frozen=True, kw_only=True):
    """One try at a task."""

    id: str
    number: int
    epoch: int
    state: AttemptState
    node_id: str
    node_label: str
    reservation: Reservation
    reserved_at_ms: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    pid: int | None = None
    outcome: Outcome | None = None
    facts: ExitFacts | None = None
    late_report: Outcome | None = None
    #: GPU memory it uses now by NVML, on all its GPUs; None when not running or not known.
    gpu_memory_used_mib: int | None = None
    #: Where the reserved GPU memory came from; None: whole GPUs, or none.
    estimate: Estimate | None = None
    #: The same as a sentence: ``learned from 14 runs (peak 8.4 GiB)``.
    estimate_text: str = ""
    #: Of a gang: its part on each node, by rank. Empty on one node.
    members: tuple[MemberView, ...] = ()
    #: Of a gang that has ended: the member that the outcome is named after.
    cause_rank: int | None = None
    #: The most that a process of it may take of its GPU where its PyTorch or JAX can be told; None:
    #: it has no cap.
    gpu_cap_mib: int | None = None
    #: Sent ahead: it holds nothing yet and starts when this attempt has ended on its node.
    after: str | None = None

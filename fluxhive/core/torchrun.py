"""How torch's launcher is called for a member: every choice that it would make itself is made.

Rank, number of nodes, address and port come from the server, so that several launchers on one node
never meet by mistake (its own default is one port for all). Pure; called by launch_plan.py.
"""

from __future__ import annotations

import re
from typing import Protocol

from .events import DispatchReceived
from .request import Reservation
from .retry import PORT_TAKEN
from .task import ExecutorKind

#: What torch says when it cannot listen there (its TCPStore, 2.13).
_TAKEN = "port: {port}\\b.*EADDRINUSE"


#: The launcher's last words, when one of its processes failed: which one was first, and how.
_ROOT_CAUSE = re.compile(
    r"^Root Cause \(first observed failure\):\s*$.{0,400}?^\s*rank\s*: (\d+) .{0,200}?"
    r"^\s*exitcode\s*: -(\d+) ",
    re.MULTILINE | re.DOTALL,
)


class _Processes(Protocol):
    @property
    def executor(self) -> ExecutorKind: ...
    @property
    def nproc_per_node(self) -> int | None: ...


def processes_of(launch: _Processes, reservation: Reservation) -> int:
    """How many processes are started on a node: as asked, else one for each GPU, at least one."""
    if launch.executor is not ExecutorKind.TORCHRUN:
        return 1
    return launch.nproc_per_node or max(1, len(reservation.gpus))


def torchrun_words(
    dispatch: DispatchReceived, n_processes: int, command: tuple[str, ...]
) -> tuple[str, ...]:
    """What Python is given: the launcher with its options, then the script or ``-m module``."""
    meet = dispatch.rendezvous
    assert meet is not None, f"{dispatch.attempt_id} has no place to meet"
    return (
        "-m",
        "torch.distributed.run",
        "--rdzv-backend=static",
        f"--rdzv-id={dispatch.attempt_id}",
        f"--nnodes={dispatch.n_nodes}",
        f"--node-rank={dispatch.rank}",
        f"--nproc-per-node={n_processes}",
        f"--master-addr={meet.address}",
        f"--master-port={meet.port}",
        # The hive tries again, with all members and on nodes that are well.
        "--max-restarts=0",
        *command,
    )


def port_taken(dispatch: DispatchReceived) -> str:
    """One sentence about a rendezvous port that somebody else listens at."""
    meet = dispatch.rendezvous
    assert meet is not None, f"{dispatch.attempt_id} has no place to meet"
    return f"{PORT_TAKEN}: port {meet.port}, where its processes were to meet, is in use"


def port_was_taken(dispatch: DispatchReceived, output: str) -> bool:
    """Whether the launcher says that somebody else listens at the port where it should."""
    meet = dispatch.rendezvous
    if meet is None or dispatch.rank != 0:
        return False
    return re.search(_TAKEN.format(port=meet.port), output) is not None


def named_signal(dispatch: DispatchReceived, output: str) -> tuple[int, int] | None:
    """Rank of the process that a signal ended first, and the signal; None: the launcher names none.

    Its own exit code is 1 whatever happened.
    """
    if dispatch.rendezvous is None:
        return None
    found = _ROOT_CAUSE.search(output)
    return None if found is None else (int(found[1]), int(found[2]))

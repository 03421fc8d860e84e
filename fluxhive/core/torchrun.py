"""How torch's launcher is called for a member: every choice that it would make itself is made.

Rank, number of nodes, address and port come from the server, so that several launchers on one node
never meet by mistake (its own default is one port for all). Where it starts several processes, each
has files of its own for its output: they are opened in front of the program, because torchrun's own
ways (``--redirects``, ``--tee``) lose a killed launcher's last lines and take a progress bar apart.
Pure; called by launch_plan.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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


#: The launcher's last words, too: which of its processes on this node failed first.
_FIRST_FAILED = re.compile(
    r"^Root Cause \(first observed failure\):\s*$.{0,400}?\(local_rank: (\d+)\)",
    re.MULTILINE | re.DOTALL,
)
#: Processes on one node whose output is kept apart; of more, all share one.
PROCESSES_MAX = 64
#: By these its user has chosen one of torchrun's own ways with output.
_OWN_WAYS = ("PET_TEE", "PET_REDIRECTS", "PET_LOG_DIR")
#: The launcher, with its own interpreter named for what it starts (it reads PYTHON_EXEC itself).
_LAUNCHER = (
    "import os, sys; os.environ.setdefault('PYTHON_EXEC', sys.executable); "
    "from torch.distributed.run import main; sys.exit(main())"
)
#: One of its processes: its files first, then what it would be without them.
_PROCESS = 'exec "$PYTHON_EXEC" -u "$@" >>"$0/$LOCAL_RANK.stdout" {errors}'


class _Processes(Protocol):
    @property
    def executor(self) -> ExecutorKind: ...
    @property
    def nproc_per_node(self) -> int | None: ...


class _Launch(_Processes, Protocol):
    @property
    def env(self) -> Mapping[str, str]: ...
    @property
    def merge_output(self) -> bool: ...


def processes_of(launch: _Processes, reservation: Reservation) -> int:
    """How many processes are started on a node: as asked, else one for each GPU, at least one."""
    if launch.executor is not ExecutorKind.TORCHRUN:
        return 1
    return launch.nproc_per_node or max(1, len(reservation.gpus))


def processes_apart(launch: _Launch, reservation: Reservation) -> int:
    """How many processes have output of their own; 0: all that are started share the task's."""
    n_processes = processes_of(launch, reservation)
    if n_processes == 1 or n_processes > PROCESSES_MAX or any(n in launch.env for n in _OWN_WAYS):
        return 0
    return n_processes


def torchrun_words(
    dispatch: DispatchReceived, launch: _Launch, command: tuple[str, ...], output: str | None
) -> tuple[str, ...]:
    """What Python is given: the launcher with its options, then the script or ``-m module``.

    ``output``: the directory in which each process has files for its output; None: they share.
    """
    meet = dispatch.rendezvous
    assert meet is not None, f"{dispatch.attempt_id} has no place to meet"
    launcher, program = ("-m", "torch.distributed.run"), command
    if output is not None:
        errors = "2>&1" if launch.merge_output else '2>>"$0/$LOCAL_RANK.stderr"'
        launcher = ("-c", _LAUNCHER)
        program = ("--no-python", "/bin/sh", "-c", _PROCESS.format(errors=errors), output, *command)
    return (
        *launcher,
        "--rdzv-backend=static",
        f"--rdzv-id={dispatch.attempt_id}",
        f"--nnodes={dispatch.n_nodes}",
        f"--node-rank={dispatch.rank}",
        f"--nproc-per-node={processes_of(launch, dispatch.reservation)}",
        f"--master-addr={meet.address}",
        f"--master-port={meet.port}",
        # The hive tries again, with all members and on nodes that are well.
        "--max-restarts=0",
        *program,
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


def first_failed(output: str) -> int | None:
    """Which process of this node failed first, as the launcher's last words say, if they do."""
    found = _FIRST_FAILED.search(output)
    return None if found is None else int(found[1])

"""Whose output somebody asks for: all of an attempt's, a member's, one process's alone.

People count the processes of torchrun as torch does, over all nodes (``RANK``). Where each of them
has output of its own, that is read; where a member has one process, its output is the member's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fluxhive.core.errors import NotFound
from fluxhive.core.task import Attempt, Task
from fluxhive.core.torchrun import PROCESSES_MAX, processes_apart, processes_of
from fluxhive.protocol.wire import (
    FIRST_OF_PROCESSES,
    STDERR,
    STDOUT,
    STREAMS_MAX,
    process_of_stream,
    stream_name,
    stream_of_process,
)

from .log_stream import LogStream
from .logs import LogStore


class Part(NamedTuple):
    """One stream of what is read, and who writes it."""

    name: str
    stream: LogStream
    #: The member.
    rank: int = 0
    #: The process alone, by its rank among all; None: whoever is not told from others.
    process: int | None = None


class LogChoice(NamedTuple):
    """What is read."""

    #: None: all members, in the order of the times.
    rank: int | None = 0
    #: A process by its number on that member's node; None: all that the member writes.
    process: int | None = None
    #: Processes on each node, to tell their ranks by.
    n_per_node: int = 1

    def number(self, stream: int) -> int:
        """The stream that is meant by stdout or stderr, by its number."""
        return stream if self.process is None else stream_of_process(self.process, stream)

    def is_of(self, number: int) -> bool:
        """Whether a stream of the chosen members is among what is read."""
        process = process_of_stream(number)
        if self.process is None:
            return process is not None or number in (STDOUT, STDERR)
        return process == self.process

    def process_rank(self, rank: int, number: int) -> int | None:
        """The rank among all of the process that writes a stream alone; None: none does."""
        process = process_of_stream(number)
        return None if process is None else rank * self.n_per_node + process

    def pair(self) -> tuple[int, int]:
        """The stdout and stderr that are meant first, by their numbers."""
        return self.number(STDOUT), self.number(STDERR)

    def numbers(self) -> list[int]:
        """All streams that there could be."""
        if self.process is not None:
            return [*self.pair()]
        return [*self.pair(), *range(FIRST_OF_PROCESSES, STREAMS_MAX)]


#: What a reader has of an attempt's streams: bytes by process (None: the one that was chosen, or
#: the member itself) and stdout or stderr.
Places = dict[tuple[int | None, int], int]


def offsets_of(choice: LogChoice, places: Places) -> dict[int, int]:
    """Where to go on with each stream, by its number."""
    return {
        choice.number(stream)
        if process is None or choice.process is not None
        else stream_of_process(process % choice.n_per_node, stream): offset
        for (process, stream), offset in places.items()
    }


def choose(task: Task, attempt: Attempt | None, rank: int | None, process: int | None) -> LogChoice:
    """The choice. Raises ``NotFound`` for a member or process that the task does not have."""
    if process is None:
        if rank is not None:
            check_rank(task, rank)
        return LogChoice(rank, n_per_node=1 if attempt is None else _n_per_node(task, attempt))
    n_per_node = 1 if attempt is None else _n_per_node(task, attempt)
    n_processes = task.spec.request.nodes * n_per_node
    if attempt is not None and process >= n_processes:
        raise NotFound(
            f"{task.id} has no process of rank {process}",
            hint="it is one process" if n_processes == 1 else f"ranks: 0 to {n_processes - 1}",
        )
    if attempt is None or n_per_node == 1:
        return LogChoice(min(process, task.spec.request.nodes - 1), n_per_node=1)
    member = attempt.members[process // n_per_node]
    is_apart = processes_apart(task.spec, member.reservation) > 0
    if not is_apart or (member.facts is not None and not member.facts.process_bytes):
        why = "their node, `--prefix-ranks` or a `PET_` variable had it so"
        if n_per_node > PROCESSES_MAX:
            why = f"of more than {PROCESSES_MAX} on a node (here {n_per_node}) none is kept apart"
        raise NotFound(
            f"the processes of {task.id} share one output",
            hint=f"{why}; read it whole: fluxhive logs {task.id}",
        )
    return LogChoice(member.rank, process % n_per_node, n_per_node)


def parts_of(logs: LogStore, attempt: Attempt, choice: LogChoice) -> Iterator[Part]:
    """The streams that are here of what was chosen."""
    for member in attempt.members:
        where = logs.part(attempt.id, member.rank)
        if where is None or choice.rank not in (None, member.rank):
            continue
        for number, stream in where.all_streams():
            if choice.is_of(number):
                process = choice.process_rank(member.rank, number)
                yield Part(stream_name(number), stream, member.rank, process)


def is_over(logs: LogStore, attempt: Attempt, choice: LogChoice) -> bool:
    """Whether all that was chosen is over and here."""
    ranks = range(len(attempt.members)) if choice.rank is None else (choice.rank,)
    return all(
        logs.is_whole(attempt, number, rank=rank)
        for rank in ranks
        for number in _numbers_of(logs, attempt, choice, rank)
    )


def _numbers_of(logs: LogStore, attempt: Attempt, choice: LogChoice, rank: int) -> Iterable[int]:
    """The streams of a member that must be whole; those of a chosen process, known or not."""
    if choice.process is not None:
        return choice.pair()
    return filter(choice.is_of, logs.numbers(attempt.id, rank))


def n_apart(logs: LogStore, attempt: Attempt, choice: LogChoice) -> int:
    """How many processes have output of their own, of all members; 0: none is told from others."""
    members = attempt.members
    is_apart = any(
        process_of_stream(number) is not None
        for member in members
        if (where := logs.part(attempt.id, member.rank)) is not None
        for number, _ in where.all_streams()
    )
    return len(members) * choice.n_per_node if is_apart else 0


def check_rank(task: Task, rank: int) -> None:
    """Raises ``NotFound`` for a member that the task does not have."""
    n_nodes = task.spec.request.nodes
    if rank >= n_nodes:
        raise NotFound(
            f"{task.id} has no rank {rank}",
            hint="it is for one node" if n_nodes == 1 else f"ranks: 0 to {n_nodes - 1}",
        )


def _n_per_node(task: Task, attempt: Attempt) -> int:
    return processes_of(task.spec, attempt.members[0].reservation)

"""`fluxhive logs`: prints what a task wrote, or writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import click

from fluxhive.cli import messages, options, session
from fluxhive.cli.completing import TASK_NAMES
from fluxhive.cli.follow import Printer, ending, follow, show_until_end, tell_gap
from fluxhive.cli.follow_many import follow_many, print_many
from fluxhive.cli.marked_lines import Source
from fluxhive.core.errors import InputError, NotFound
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import LogGapView, TaskView
from fluxhive.sdk import tasks
from fluxhive.sdk.calls import Calls, LogPiece
from fluxhive.sdk.tasks import is_torchrun

STREAMS = ("stdout", "stderr")
LINE_BYTES_GUESS = 1024
TAIL_BYTES_MAX = 8 << 20
"""What one answer of the server may hold; a tail of longer lines is cut at its beginning."""


class Which(NamedTuple):
    """One stream of one member of one attempt, or of one of its processes."""

    stream: str
    attempt: int
    rank: int
    process: int | None = None


@click.command()
@click.argument("task", shell_complete=TASK_NAMES)
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on until the task ends.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Of this attempt.")
@click.option(
    "--rank", type=click.IntRange(0), metavar="R", help="Of this process of torchrun, or member."
)
@click.option("--stream", type=click.Choice(STREAMS), help="Only this stream.")
@click.option("--tail", type=click.IntRange(0), metavar="LINES", help="Only the last lines.")
@click.option("--offset", type=int, metavar="BYTES", help="From this byte of the stream on.")
@click.option("--raw", "is_raw", is_flag=True, help="Pass every escape sequence on.")
@options.control_url
def command(
    *,
    task: str,
    is_followed: bool,
    attempt: int | None,
    rank: int | None,
    stream: str | None,
    tail: int | None,
    offset: int | None,
    is_raw: bool,
    control_url: str | None,
) -> int:
    """Print what a task wrote: its standard output to ours, its errors to our errors.

    With -f it goes on until the task has ended, and ends with the task's own exit code. Of an array
    all members are shown, of several nodes or processes of torchrun all ranks, each line behind its
    mark; with --rank one alone, byte for byte.
    """
    parts = {"stream": stream, "tail": tail, "offset": offset}
    chosen = [name for name, value in parts.items() if value is not None]
    if is_followed and chosen:
        raise InputError(f"`--{chosen[0]}` and `-f` exclude each other", field=f"--{chosen[0]}")
    if offset is not None and (offset < 0 or stream is None or tail is not None):
        raise InputError(
            "`--offset` needs `--stream`, excludes `--tail`, and counts from 0",
            field="--offset",
            value=offset,
            hint="fluxhive logs --stream stdout --offset 1000 TASK",
        )
    client = session.client(control_url)
    found = client.task(task)
    process = rank if is_torchrun(found) else None
    is_many = found.members is not None or (rank is None and found.spec.request.nodes > 1)
    if is_many and is_followed:
        return follow_many(client, found, is_raw=is_raw)
    if is_many:
        shown = STREAMS if stream is None else (stream,)
        read = _reader(client, attempt, tail)
        return print_many(client, found, read, shown, attempt=attempt, is_raw=is_raw)
    member = 0 if rank is None or process is not None else rank
    if is_followed:
        return follow(client, found.id, rank=member, process=process, is_raw=is_raw)
    printer = Printer(is_raw=is_raw)
    if found.state.is_final and not chosen:
        # The whole of an ended task is a followed log that ends at once: streams interleaved.
        show_until_end(client, found.id, printer, attempt=attempt, rank=member, process=process)
        _tell_of_nothing(found, printer)
        return 0
    number = attempt or _last_number(found)
    if is_torchrun(found) and rank is None and not chosen:
        show_until_end(client, found.id, printer, attempt=number, wait=False)
        return 0
    if is_torchrun(found) and rank is None and offset is None:
        shown = STREAMS if stream is None else (stream,)
        read = _reader(client, number, tail)
        return print_many(client, found, read, shown, attempt=number, is_raw=is_raw)
    for name in STREAMS if stream is None else (stream,):
        which = Which(stream=name, attempt=number, rank=member, process=process)
        _print_range(client, found, printer, which, tail=tail, offset=offset or 0)
    return 0


def _tell_of_nothing(task: TaskView, printer: Printer) -> None:
    """How a task ended that failed without a word."""
    if not (printer.has_written or is_torchrun(task) or task.state is TaskState.SUCCEEDED):
        messages.say(f"nothing was written; {ending(task)}")


def _reader(client: Calls, attempt: int | None, tail: int | None) -> Callable[[Source, str], bytes]:
    """Reads a stream of one of many: the newest attempt's, whole or its last lines."""

    def read(source: Source, stream: str) -> bytes:
        task = client.task(source.task_id)
        if not task.attempts:
            return b""
        number = attempt or _last_number(task)
        which = Which(stream=stream, attempt=number, rank=source.rank, process=source.process)
        kept = _Kept()
        _print_range(client, task, kept, which, tail=tail, offset=0)
        return bytes(kept.data)

    return read


class _Kept(Printer):
    """Keeps what would be printed."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def write(self, attempt: str, stream: str, data: bytes) -> None:
        """One stream alone is read through it."""
        self.data += data


def _last_number(task: TaskView) -> int:
    attempt = tasks.last_attempt(task)
    if attempt is None:
        raise NotFound(
            f"{task.id} has not run yet: {task.reason or task.word}",
            hint=f"wait for its output with `fluxhive logs -f {task.id}`",
        )
    return attempt.number


def _print_range(
    client: Calls,
    task: TaskView,
    printer: Printer,
    which: Which,
    *,
    tail: int | None,
    offset: int,
) -> None:
    stream, attempt, rank, process = which
    name = f"{task.id}.{attempt}"
    if tail is not None:
        wanted = min(max(tail, 1) * LINE_BYTES_GUESS, TAIL_BYTES_MAX)
        piece = client.logs(
            task.id, stream, attempt=attempt, tail_bytes=wanted, rank=rank, process=process
        )
        kept = piece.data.splitlines(keepends=True)[-tail:] if tail else []
        shown = b"".join(kept)
        begin = piece.offset + len(piece.data) - len(shown)
        _print_piece(printer, name, stream, piece._replace(data=shown, offset=begin))
        return
    while True:
        piece = client.logs(
            task.id, stream, attempt=attempt, offset=offset, rank=rank, process=process
        )
        _print_piece(printer, name, stream, piece)
        offset = piece.offset + len(piece.data)
        if not piece.data or offset >= piece.size:
            return


def _print_piece(printer: Printer, name: str, stream: str, piece: LogPiece) -> None:
    """Bytes as they were written; where some are missing, a line says so in their place."""
    at, end = piece.offset, piece.offset + len(piece.data)
    for start, until in piece.gaps:
        if not piece.offset <= start < end:
            continue
        printer.write(name, stream, piece.data[at - piece.offset : start - piece.offset])
        tell_gap(name, stream, LogGapView(start=start, end=until, reason="see `fluxhive logs -f`"))
        at = min(max(until, at), end)
    printer.write(name, stream, piece.data[at - piece.offset :])

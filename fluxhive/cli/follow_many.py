"""The output of several at once: all members of an array, all ranks of a gang, each line marked.

Lines are printed whole, each behind the mark of who wrote it, so that what came at the same time
can be told apart. Members of an array are followed as they start; at most `FOLLOWED_MAX` at once,
the others when one of those has ended, from their first byte on: nothing is left out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, Queue
from typing import NamedTuple

from fluxhive.cli import messages
from fluxhive.cli.follow import detach, ending, tell_gap
from fluxhive.cli.marked_lines import MarkedLines, Source
from fluxhive.core.array import split_member
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.values import TaskId
from fluxhive.protocol.rest import LogEnd, LogGapView, TaskView
from fluxhive.sdk import tasks
from fluxhive.sdk.calls import Calls
from fluxhive.sdk.follow import data_of
from fluxhive.sdk.tasks import processes_per_node

FOLLOWED_MAX = 32
#: How often an array is asked for members that have started since.
LOOK_S = 2.0
#: Pieces that may wait to be printed: followers wait, not our memory grows.
PIECES_MAX = 1000


class _News(NamedTuple):
    """What a follower found: output, a gap, or its end (with what went wrong)."""

    source: Source
    stream: str = ""
    data: bytes = b""
    attempt: str = ""
    gap: LogGapView | None = None
    is_end: bool = False
    error: FluxhiveError | None = None


def sources_of(client: Calls, task: TaskView) -> list[Source]:
    """Who writes for this task now: its ranks, or those members of the array that have started."""
    if task.members is None:
        return _ranks(task, "")
    found = sorted(client.tasks(array=task.id), key=lambda member: member.member_index or 0)
    return [source for member in found for source in _ranks(member, _index(member))]


def _index(member: TaskView) -> str:
    parts = split_member(TaskId(member.id))
    return f"[{parts[1] if parts else member.member_index}]"


def _ranks(task: TaskView, mark: str) -> list[Source]:
    n_nodes = task.spec.request.nodes
    if n_nodes == 1:
        return [Source(task.id, 0, mark)]
    # Of torchrun, ranks are those of its processes, which come with what they write.
    word = "node" if processes_per_node(task) > 1 else "rank"
    return [Source(task.id, rank, f"{mark}[{word} {rank}]") for rank in range(n_nodes)]


def _who(source: Source, process: int | None) -> Source:
    """Who wrote it: the source itself, or one of its processes."""
    if process is None:
        return source
    above = source.mark.partition("[node ")[0]
    return source.of_process(process, above)


def _with_processes(client: Calls, source: Source, attempt: int | None) -> list[Source]:
    """A source of what is stored, and those of its processes that have output of their own."""
    found = client.streams(source.task_id, attempt=attempt)
    newest = found[-1].attempt if found else ""
    processes = {
        view.process
        for view in found
        if view.attempt == newest and view.rank == source.rank and view.process is not None
    }
    return [source, *(_who(source, process) for process in sorted(processes))]


def follow_many(client: Calls, task: TaskView, *, is_raw: bool = False) -> int:
    """Follows all of them to the task's end, and gives the exit code to end with."""
    try:
        _Followers(client, task, MarkedLines(is_raw=is_raw)).run()
        ended = client.task(task.id)
    except KeyboardInterrupt:
        return detach(client, task.id)
    except FluxhiveError as error:
        messages.show(error)
        return tasks.TROUBLE_EXIT
    messages.say(ending(ended))
    return tasks.exit_code(ended)


class _Followers:
    """A thread for each source that is followed, and this one that prints."""

    def __init__(self, client: Calls, task: TaskView, lines: MarkedLines) -> None:
        self._client = client
        self._task = task
        self._lines = lines
        self._queue: Queue[_News] = Queue(PIECES_MAX)
        self._known: set[Source] = set()
        self._waiting: list[Source] = []
        self._n_live = 0

    def run(self) -> None:
        """Until the task has ended and all that was written is printed."""
        looked_at, is_over = 0.0, False
        while True:
            if not is_over and time.monotonic() - looked_at >= LOOK_S:
                # The end is asked for first: what starts between the two is found then.
                is_over = self._client.task(self._task.id).state.is_final
                self._find()
                looked_at = time.monotonic()
            if is_over and not self._n_live and not self._waiting:
                return
            try:
                self._take(self._queue.get(timeout=LOOK_S / 4))
            except Empty:
                continue

    def _find(self) -> None:
        for source in sources_of(self._client, self._task):
            if source not in self._known:
                self._known.add(source)
                self._waiting.append(source)
        self._start()

    def _start(self) -> None:
        while self._waiting and self._n_live < FOLLOWED_MAX:
            source = self._waiting.pop(0)
            self._n_live += 1
            threading.Thread(target=self._follow, args=(source,), daemon=True).start()

    def _follow(self, source: Source) -> None:
        try:
            for event in self._client.follow(source.task_id, rank=source.rank):
                if isinstance(event, LogEnd):
                    break
                data = b"" if event.gap is not None else data_of(event)
                news = _News(
                    _who(source, event.process), event.stream, data, event.attempt, event.gap
                )
                self._queue.put(news)
        except FluxhiveError as error:
            self._queue.put(_News(source, is_end=True, error=error))
            return
        self._queue.put(_News(source, is_end=True))

    def _take(self, news: _News) -> None:
        if news.gap is not None:
            tell_gap(news.attempt, news.stream, news.gap)
        elif not news.is_end:
            self._lines.write(news.source, news.stream, news.data)
        else:
            self._lines.end(news.source)
            self._n_live -= 1
            self._start()
            if news.error is not None:
                messages.warn(f"{news.source.mark} {news.error.text}")


def print_many(
    client: Calls,
    task: TaskView,
    read: Callable[[Source, str], bytes],
    streams: tuple[str, ...],
    *,
    attempt: int | None = None,
    is_raw: bool = False,
) -> int:
    """Prints what is stored of all of them, one after the other."""
    lines = MarkedLines(is_raw=is_raw)
    sources = sources_of(client, task)
    if not sources:
        messages.say(f"no member of {task.id} has left the queue yet; `-f` waits for them")
    if processes_per_node(task) > 1:
        sources = [each for one in sources for each in _with_processes(client, one, attempt)]
    for source in sources:
        for stream in streams:
            lines.write(source, stream, read(source, stream))
            lines.end(source)
    return 0

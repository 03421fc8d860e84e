"""Many tasks at once: the members of a map, and any tasks in the order in which they end."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.task import TaskState
from fluxhive.protocol.rest import TaskView

from .calls import Calls
from .failures import WaitTimeout, failure_of
from .task_handle import R, Task
from .watching import watcher_of


class Group(Sequence[Task[R]]):
    """The tasks of a map, in the order of their arguments: members of one array."""

    def __init__(self, calls: Calls, whole: Task[Any], count: int, *, since: int) -> None:
        """``since``: the watcher's connection when it was submitted."""
        #: The array as one task: to cancel, hold and show all of them.
        self.whole = whole
        self._tasks: list[Task[R]] = [
            Task(calls, f"{whole.id}[{index}]", is_trusted=True, since=since)
            for index in range(count)
        ]

    @property
    def id(self) -> str:
        """The array's."""
        return self.whole.id

    def __len__(self) -> int:
        return len(self._tasks)

    @overload
    def __getitem__(self, index: int) -> Task[R]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task[R]]: ...
    def __getitem__(self, index: int | slice) -> Task[R] | list[Task[R]]:
        return self._tasks[index]

    def results(self, timeout: float | None = None) -> list[R]:
        """What all of them returned, in order. Raises what the first one without a result raised.

        That one is known as soon as it has ended; the others go on, unless ``cancel`` is called.
        """
        for task in as_completed(self._tasks, timeout=timeout):
            if task.view.state is not TaskState.SUCCEEDED:
                task.result()
        return [task.result() for task in self._tasks]

    def wait(self, timeout: float | None = None) -> Group[R]:
        """Returns when all have ended, however. Raises ``WaitTimeout``."""
        for _ in as_completed(self._tasks, timeout=timeout):
            pass
        return self

    def cancel(self) -> Group[R]:
        """Cancels all that have not ended."""
        self.whole.cancel()
        return self

    def failures(self) -> dict[int, Exception]:
        """Those that have ended without success, by their place."""
        return {
            index: failure_of(task.view)
            for index, task in enumerate(self._tasks)
            if task.done() and task.view.state is not TaskState.SUCCEEDED
        }

    def __repr__(self) -> str:
        return f"<Group {self.whole!r}>"

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return self.whole._repr_mimebundle_()


def as_completed(tasks: Iterable[Task[R]], *, timeout: float | None = None) -> Iterator[Task[R]]:
    """The tasks in the order in which they end, each once; their ``view`` is of then.

    Raises ``WaitTimeout`` when some have not ended after so many seconds.
    """
    until_s = None if timeout is None else time.monotonic() + timeout
    left = {id(task): task for task in tasks}
    ended: queue.SimpleQueue[tuple[Task[R], TaskView | FluxhiveError]] = queue.SimpleQueue()
    for task in list(left.values()):
        _watch(task, ended)
    while left:
        try:
            left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            task, told = ended.get(timeout=left_s)
        except queue.Empty:
            first = next(iter(left.values()))
            raise WaitTimeout(first.refresh().view, timeout or 0.0) from None
        if isinstance(told, FluxhiveError):
            raise told
        task.seen(told)
        if told.state.is_final and left.pop(id(task), None) is not None:
            yield task


def _watch(
    task: Task[R], ended: queue.SimpleQueue[tuple[Task[R], TaskView | FluxhiveError]]
) -> None:
    view = task.seen_view
    if view is not None and view.state.is_final:
        ended.put((task, view))
    else:
        watcher_of(task.calls).add(
            task.id, lambda told: ended.put((task, told)), since=task.watched_since
        )

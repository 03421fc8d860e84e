"""``fluxhive.Executor``: a ``concurrent.futures.Executor`` whose calls are tasks of a hive.

What expects an executor runs on a hive unchanged. A future that waits can be cancelled; one whose
task runs cannot, as with threads and processes (``future.task.cancel()`` stops the task).
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.task import TaskState
from fluxhive.protocol.bulk import BulkAction
from fluxhive.protocol.rest import TaskView

from .calls import Calls
from .client import Client
from .decorator import default_client
from .options import Options, check_names
from .task_handle import Task
from .watching import watcher_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")

#: Results that are fetched at the same time.
FETCHERS = 4


class TaskFuture(concurrent.futures.Future[T]):
    """A call that is a task. ``running`` once the task has left the queue."""

    def __init__(self, task: Task[T], fetchers: concurrent.futures.Executor) -> None:
        super().__init__()
        #: The task itself.
        self.task = task
        self._fetchers = fetchers
        self._moves = threading.Lock()

    def cancel(self) -> bool:
        """Cancels the task if it waits; False when it runs or has ended."""
        if self.done() or self.running():
            return self.cancelled()
        view = self.task.refresh().view
        if view.state is TaskState.ACTIVE or view.state.is_final:
            return False
        self.task.cancel()
        return self.be_cancelled()

    def told(self, news: TaskView | FluxhiveError) -> None:
        """How the task stands now; called by the watcher, whatever comes twice."""
        if isinstance(news, FluxhiveError):
            self._settle(partial(self.set_exception, news))
            return
        self.task.seen(news)
        if news.state is TaskState.ACTIVE:
            with self._moves:
                if not (self.done() or self.running()):
                    self.set_running_or_notify_cancel()
        elif news.state is TaskState.CANCELLED and not self.running():
            self.be_cancelled()
        elif news.state.is_final:
            self._fetchers.submit(self._fetch)

    def be_cancelled(self) -> bool:
        """Its task was cancelled before it ran: so is the call."""
        with self._moves:
            if self.cancelled():
                return True
            # The second tells those who wait for several futures.
            return super().cancel() and not self.set_running_or_notify_cancel()

    def _fetch(self) -> None:
        if self.done():
            return
        try:
            value = self.task.result()
        except BaseException as error:
            self._settle(partial(self.set_exception, error))
        else:
            self._settle(partial(self.set_result, value))

    def _settle(self, settle: Callable[[], None]) -> None:
        with self._moves:
            if self.done():
                return
            if not self.running():
                self.set_running_or_notify_cancel()
            settle()


def cancel_waiting(calls: Calls, futures: Iterable[TaskFuture[Any]]) -> None:
    """Cancels those whose tasks wait, as far as is known here, by one order for all of them."""
    waiting = {each.task.id: each for each in futures if not (each.done() or each.running())}
    if not waiting:
        return
    for result in calls.bulk(BulkAction.CANCEL, list(waiting)):
        view = result.task
        if view is not None and view.state is TaskState.CANCELLED:
            waiting[result.id].be_cancelled()


class Executor(concurrent.futures.Executor):
    """See the module's docstring. ``options`` are those of ``Client.submit``, for all its tasks."""

    def __init__(self, client: Client | None = None, **options: Unpack[Options]) -> None:
        check_names(options)
        self._client = client or default_client()
        self._options = options
        self._lock = threading.Lock()
        self._is_shut = False
        self._futures: dict[TaskFuture[Any], None] = {}
        self._fetchers = concurrent.futures.ThreadPoolExecutor(FETCHERS, "fluxhive-results")

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> TaskFuture[T]:
        """A task that makes this call; when this returns it is stored."""
        self._check_open()
        since = watcher_of(self._client.calls).begin()
        task: Task[T] = self._client.submit(fn, *args, kwargs=kwargs, **self._options)
        return self._future(task, since)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[T]:
        """The results in order, as they come: one array of tasks, of ``chunksize`` calls each.

        When the iterator is left early, calls that wait are cancelled.
        """
        self._check_open()
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        until_s = None if timeout is None else time.monotonic() + timeout
        calls = list(zip(*iterables, strict=False))
        chunks = [calls[n : n + chunksize] for n in range(0, len(calls), chunksize)]
        if not chunks:
            return iter(())
        since = watcher_of(self._client.calls).begin()
        group = self._client.map(partial(_each, fn), chunks, **self._options)
        futures = [self._future(task, since) for task in group]
        return _in_order(self._client.calls, futures, until_s)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more; waits for what there is unless told otherwise. Tasks never die of it."""
        with self._lock:
            self._is_shut = True
            futures = list(self._futures)
        if cancel_futures:
            cancel_waiting(self._client.calls, futures)
        if wait:
            concurrent.futures.wait(futures)
            self._fetchers.shutdown()

    def _check_open(self) -> None:
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")

    def _future(self, task: Task[T], since: int) -> TaskFuture[T]:
        future = TaskFuture(task, self._fetchers)
        with self._lock:
            self._futures[future] = None
        future.add_done_callback(self._forget)
        watcher_of(self._client.calls).add(task.id, future.told, since=since)
        return future

    def _forget(self, future: Any) -> None:
        with self._lock:
            self._futures.pop(future, None)


def _each(function: Callable[..., T], calls: list[tuple[Any, ...]]) -> list[T]:
    return [function(*args) for args in calls]


def _in_order(
    calls: Calls, futures: list[TaskFuture[list[T]]], until_s: float | None
) -> Iterator[T]:
    try:
        for future in futures:
            left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            yield from future.result(left_s)
    finally:
        cancel_waiting(calls, futures)

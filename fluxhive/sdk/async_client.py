"""The asynchronous twin: the same names, to be awaited. All that is done is done by the client.

Calls run in threads. Waiting for tasks does not: one thread watches for all of them (watching.py),
so thousands may be awaited at once. For asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

import anyio
import anyio.to_thread

from fluxhive.core.errors import FluxhiveError
from fluxhive.core.outcome import Outcome
from fluxhive.core.task import TaskSpec, TaskState
from fluxhive.protocol.metrics import MetricsView
from fluxhive.protocol.rest import NodeView, TaskView
from fluxhive.protocol.why import OutlookView
from fluxhive.transport import Transport

from .client import Client, NodeGpu
from .failures import WaitTimeout
from .groups import Group
from .options import Options
from .task_handle import Task
from .watching import watcher_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

R = TypeVar("R")
T = TypeVar("T")

_News: TypeAlias = TaskView | FluxhiveError

#: Calls under way at once.
THREADS_MAX = 32


class _Threads:
    """Runs blocking calls, so many at once."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, call: Callable[[], T]) -> T:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(THREADS_MAX)
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)


class AsyncTask(Generic[R]):
    """A task to be awaited; ``task`` is the same for programs that block."""

    def __init__(self, task: Task[R], threads: _Threads) -> None:
        self.task = task
        self._threads = threads

    @property
    def id(self) -> str:
        """``t-7f3k``."""
        return self.task.id

    async def in_thread(self, call: Callable[[], T]) -> T:
        """What this call gives, which may block."""
        return await self._threads(call)

    @property
    def view(self) -> TaskView:
        """As it was last seen; of a member of a map, once it was awaited."""
        return self.task.view

    async def refresh(self) -> AsyncTask[R]:
        """Looks how it stands now."""
        await self._threads(self.task.refresh)
        return self

    async def state(self) -> TaskState:
        """How it stands now."""
        return (await self.refresh()).view.state

    async def outcome(self) -> Outcome | None:
        """How it ended; None before that."""
        return (await self.refresh()).view.outcome

    async def why(self) -> OutlookView:
        """Why it waits, when it is likely to start, and what would help."""
        return await self._threads(self.task.why)

    async def wait(self, timeout: float | None = None) -> AsyncTask[R]:
        """Returns when it has ended, however. Raises ``WaitTimeout``."""
        seen = self.task.seen_view
        if seen is not None and seen.state.is_final:
            return self
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        lost: list[FluxhiveError] = []

        def told(news: TaskView | FluxhiveError) -> None:
            if isinstance(news, FluxhiveError):
                lost.append(news)
            else:
                self.task.seen(news)
                if not news.state.is_final:
                    return
            if not loop.is_closed():
                loop.call_soon_threadsafe(ended.set)

        watcher = watcher_of(self.task.calls)
        await self._threads(partial(watcher.add, self.id, told))
        with anyio.move_on_after(timeout):
            await ended.wait()
        if lost:
            raise lost[0]
        if not ended.is_set():
            raise WaitTimeout((await self.refresh()).view, timeout or 0.0)
        return self

    async def result(self, timeout: float | None = None) -> R:
        """What ``Task.result`` gives, and raises."""
        await self.wait(timeout)
        return await self._threads(self.task.result)

    def __await__(self) -> Any:
        """``await task`` is ``await task.result()``."""
        return self.result().__await__()

    async def logs(self, stream: str = "stdout", **options: Any) -> AsyncIterator[bytes]:
        """As ``Task.logs``, piece by piece."""
        pieces = self.task.logs(stream, **options)
        while (piece := await self._threads(partial(next, pieces, None))) is not None:
            yield piece

    async def metrics(self, *names: str, **options: Any) -> MetricsView:
        """The numbers that it reports of itself."""
        return await self._threads(partial(self.task.metrics, *names, **options))

    async def cancel(self) -> AsyncTask[R]:
        """When this returns no new attempt starts."""
        await self._threads(self.task.cancel)
        return self

    async def hold(self) -> AsyncTask[R]:
        """Keeps it from starting until it is released."""
        await self._threads(self.task.hold)
        return self

    async def release(self) -> AsyncTask[R]:
        """Takes the hold of a person away."""
        await self._threads(self.task.release)
        return self

    def __repr__(self) -> str:
        return f"<Async{repr(self.task)[1:]}"


class AsyncGroup(Generic[R]):
    """The tasks of a map."""

    def __init__(self, group: Group[R], threads: _Threads) -> None:
        self.group = group
        self._threads = threads
        self._tasks = [AsyncTask(task, threads) for task in group]

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, index: int) -> AsyncTask[R]:
        return self._tasks[index]

    def __iter__(self) -> Iterator[AsyncTask[R]]:
        return iter(self._tasks)

    async def results(self, timeout: float | None = None) -> list[R]:
        """What all of them returned, in order."""
        async for task in as_completed(self._tasks, timeout=timeout):
            if task.view.state is not TaskState.SUCCEEDED:
                await task.result()
        return [await task.result() for task in self._tasks]

    async def cancel(self) -> AsyncGroup[R]:
        """Cancels all that have not ended."""
        await self._threads(self.group.cancel)
        return self


async def as_completed(
    tasks: Iterable[AsyncTask[R]], *, timeout: float | None = None
) -> AsyncIterator[AsyncTask[R]]:
    """The tasks in the order in which they end. Raises ``WaitTimeout``."""
    left = {task.id: task for task in tasks}
    loop, ended = asyncio.get_running_loop(), asyncio.Queue[tuple[str, _News]]()
    until_s = None if timeout is None else loop.time() + timeout

    def watch(task: AsyncTask[R]) -> None:
        def told(news: _News) -> None:
            if (isinstance(news, FluxhiveError) or news.state.is_final) and not loop.is_closed():
                loop.call_soon_threadsafe(ended.put_nowait, (task.id, news))

        watcher_of(task.task.calls).add(task.id, told)

    for task in left.values():
        await task.in_thread(partial(watch, task))
    while left:
        news: _News | None = None
        with anyio.move_on_after(None if until_s is None else until_s - loop.time()):
            task_id, news = await ended.get()
        if news is None:
            first = await next(iter(left.values())).refresh()
            raise WaitTimeout(first.view, timeout or 0.0)
        if isinstance(news, FluxhiveError):
            raise news
        if task_id in left:
            left[task_id].task.seen(news)
            yield left.pop(task_id)


class AsyncClient:
    """One server, as one user. ``client`` is the same for programs that block."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Without arguments: the server and the token of the configuration."""
        self.client = Client(url, token=token, transport=transport)
        self._threads = _Threads()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _where: TracebackType | None,
    ) -> None:
        await self._threads(self.client.close)

    @overload
    async def submit(
        self,
        what: Callable[..., R],
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = None,
        modules: Sequence[ModuleType] = (),
        **options: Unpack[Options],
    ) -> AsyncTask[R]: ...
    @overload
    async def submit(
        self, what: str | Sequence[str] | TaskSpec, /, *args: object, **options: Unpack[Options]
    ) -> AsyncTask[TaskView]: ...
    async def submit(self, what: Any, /, *args: Any, **options: Any) -> AsyncTask[Any]:
        """As ``Client.submit``."""
        task = await self._threads(partial(self.client.submit, what, *args, **options))
        return AsyncTask(task, self._threads)

    async def map(
        self,
        function: Callable[..., R],
        /,
        *iterables: Iterable[Any],
        modules: Sequence[ModuleType] = (),
        **options: Unpack[Options],
    ) -> AsyncGroup[R]:
        """As ``Client.map``."""
        call = partial(self.client.map, function, *iterables, modules=modules, **options)
        return AsyncGroup(await self._threads(call), self._threads)

    async def dry_run(
        self, what: str | Sequence[str] | TaskSpec, /, *args: str, **options: Unpack[Options]
    ) -> OutlookView:
        """As ``Client.dry_run``."""
        return await self._threads(partial(self.client.dry_run, what, *args, **options))

    async def task(self, task_id: str) -> AsyncTask[Any]:
        """As ``Client.task``."""
        return AsyncTask(await self._threads(partial(self.client.task, task_id)), self._threads)

    async def tasks(self, **filters: Any) -> AsyncIterator[AsyncTask[Any]]:
        """As ``Client.tasks``."""
        found = self.client.tasks(**filters)
        while (task := await self._threads(partial(next, found, None))) is not None:
            yield AsyncTask(task, self._threads)

    async def nodes(self) -> tuple[NodeView, ...]:
        """All nodes with their GPUs."""
        return await self._threads(self.client.nodes)

    async def gpus(self) -> tuple[NodeGpu, ...]:
        """All GPUs, each with its last reading and who holds it."""
        return await self._threads(self.client.gpus)

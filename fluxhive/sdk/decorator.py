"""``@fluxhive.task``: a function that can be called here, or submitted.

::

    @fluxhive.task(gpus=1, gpu_mem="20G")
    def train(lr: float) -> float: ...

    train(1e-3)                                  # here and now
    train.submit(1e-3).result()                  # as a task
    train.map([1e-3, 1e-4]).results()            # as an array of tasks
    train.options(gpus=2).submit(1e-3)           # otherwise, this once
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from .client import Client
from .groups import Group
from .options import Options, check_names
from .task_handle import Task

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")

_lock = threading.Lock()
_clients: list[Client] = []


def default_client() -> Client:
    """The client of whoever names none: of the configuration, made when it is first needed."""
    with _lock:
        if not _clients:
            _clients.append(Client())
        return _clients[0]


class TaskFunction(Generic[P, R]):
    """A function with what its tasks need. Calling it calls the function here."""

    def __init__(
        self, function: Callable[P, R], options: Options, client: Client | None = None
    ) -> None:
        check_names(options)
        functools.update_wrapper(self, function)
        self._function = function
        self._options = options
        self._client = client

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """A task that calls it with these arguments; its result is what it returns."""
        return self._through.submit(self._function, *args, kwargs=kwargs, **self._options)

    def map(self, *iterables: Iterable[Any]) -> Group[R]:
        """Tasks that call it with each of these arguments, as ``map`` does: one array."""
        return self._through.map(self._function, *iterables, **self._options)

    def options(self, **options: Unpack[Options]) -> TaskFunction[P, R]:
        """The same function with other options, or more."""
        return TaskFunction(self._function, {**self._options, **options}, self._client)

    @property
    def _through(self) -> Client:
        return self._client or default_client()

    def __getstate__(self) -> dict[str, Any]:
        """For functions that name it: on a node it is called, and talks to no server."""
        return {**self.__dict__, "_client": None}

    def __repr__(self) -> str:
        return f"<task function {self._function.__qualname__}>"


@overload
def task(function: Callable[P, R], /) -> TaskFunction[P, R]:
    """``@fluxhive.task``."""


@overload
def task(
    *, client: Client | None = None, **options: Unpack[Options]
) -> Callable[[Callable[P, R]], TaskFunction[P, R]]:
    """``@fluxhive.task(gpus=1)``."""


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    client: Client | None = None,
    **options: Unpack[Options],
) -> Any:
    """Makes a function that can be submitted; ``options`` are those of ``Client.submit``."""
    if function is not None:
        return TaskFunction(function, options, client)
    check_names(options)
    return lambda function: TaskFunction(function, options, client)

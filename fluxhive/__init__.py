"""FlowHive: turns a room of GPU machines into one queue.

Public names are loaded when first used, so that ``import fluxhive`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "1.0.0a1"

if TYPE_CHECKING:
    from fluxhive.core.errors import AuthError as AuthError
    from fluxhive.core.errors import Conflict as Conflict
    from fluxhive.core.errors import FluxhiveError as FluxhiveError
    from fluxhive.core.errors import InputError as InputError
    from fluxhive.core.errors import NotFound as NotFound
    from fluxhive.core.errors import QuotaExceeded as QuotaExceeded
    from fluxhive.core.errors import RemoteError as RemoteError
    from fluxhive.core.errors import Unreachable as Unreachable
    from fluxhive.sdk.async_client import AsyncClient as AsyncClient
    from fluxhive.sdk.client import Client as Client
    from fluxhive.sdk.decorator import task as task
    from fluxhive.sdk.executor import Executor as Executor
    from fluxhive.sdk.failures import ResultLost as ResultLost
    from fluxhive.sdk.failures import TaskCancelled as TaskCancelled
    from fluxhive.sdk.failures import TaskFailed as TaskFailed
    from fluxhive.sdk.failures import WaitTimeout as WaitTimeout
    from fluxhive.sdk.failures import WrongPython as WrongPython
    from fluxhive.sdk.functions import CallFailed as CallFailed
    from fluxhive.sdk.groups import as_completed as as_completed
    from fluxhive.sdk.metrics import log as log
    from fluxhive.sdk.task_handle import Task as Task

_ERRORS = (
    "AuthError",
    "Conflict",
    "FluxhiveError",
    "InputError",
    "NotFound",
    "QuotaExceeded",
    "RemoteError",
    "Unreachable",
)
_FAILURES = ("ResultLost", "TaskCancelled", "TaskFailed", "WaitTimeout", "WrongPython")
_WHERE = {
    **dict.fromkeys(_ERRORS, "fluxhive.core.errors"),
    **dict.fromkeys(_FAILURES, "fluxhive.sdk.failures"),
    "CallFailed": "fluxhive.sdk.functions",
    "AsyncClient": "fluxhive.sdk.async_client",
    "Client": "fluxhive.sdk.client",
    "Executor": "fluxhive.sdk.executor",
    "Task": "fluxhive.sdk.task_handle",
    "as_completed": "fluxhive.sdk.groups",
    "log": "fluxhive.sdk.metrics",
    "task": "fluxhive.sdk.decorator",
}

__all__ = ["__version__", *_WHERE]  # names that are loaded when they are used


def __getattr__(name: str) -> object:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})

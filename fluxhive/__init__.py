"""FlowHive: turns a room of GPU machines into one queue.

Public names are loaded when first used, so that ``import fluxhive`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "1.0.0a1"

if TYPE_CHECKING:
    from fluxhive.core.errors import FluxhiveError as FluxhiveError
    from fluxhive.sdk.client import Client as Client
    from fluxhive.sdk.metrics import log as log

_WHERE = {
    "Client": "fluxhive.sdk.client",
    "FluxhiveError": "fluxhive.core.errors",
    "log": "fluxhive.sdk.metrics",
}

__all__ = ["Client", "FluxhiveError", "__version__", "log"]


def __getattr__(name: str) -> object:
    if name in _WHERE:
        from importlib import import_module

        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})

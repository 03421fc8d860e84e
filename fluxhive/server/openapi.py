"""The OpenAPI document of the API: from the routes and msgspec's schemas, nothing written by hand.

``python -m fluxhive.server.openapi`` writes ``docs/reference/openapi.json``; a test says that it is
current. It lives here and not in protocol/, which may not import the routes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from fluxhive import __version__
from fluxhive.protocol.export import described
from fluxhive.protocol.feed import FeedEvent
from fluxhive.protocol.live import LiveMessage, Watch
from fluxhive.protocol.rest import LogEnd, LogEvent, Problem

from . import bridge
from .problems import MEDIA_TYPE

FILE = Path("docs/reference/openapi.json")

_DESCRIPTION = (
    "The control server of FlowHive. Bearer tokens; errors are problem documents (RFC 9457). "
    "Agents connect by WebSocket at `/api/v1/agent`, described in docs/protocol.md."
)
_REF = "#/components/schemas/{name}"
#: Events of streams: no route names them, readers need them.
_EVENTS = (LogEvent, LogEnd, FeedEvent, Watch, LiveMessage)


def document(app: FastAPI) -> dict[str, Any]:
    """The document of these routes."""
    made = get_openapi(
        title="FlowHive", version=__version__, description=_DESCRIPTION, routes=app.routes
    )
    _, schemas = msgspec.json.schema_components(
        [*bridge.described, Problem, *_EVENTS], ref_template=_REF
    )
    components = made.setdefault("components", {})
    # FastAPI's own schemas are those of query parameters (enums); its error model is not ours.
    own = {
        name: schema
        for name, schema in components.get("schemas", {}).items()
        if name not in ("HTTPValidationError", "ValidationError")
    }
    components["schemas"] = dict(sorted({**own, **described(schemas)}.items()))
    components["responses"] = {
        "Problem": {
            "description": "What is wrong, and what to do about it.",
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}},
        }
    }
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    made["security"] = [{"bearer": []}]
    return made


def text(app: FastAPI) -> str:
    """The document as the file holds it."""
    return msgspec.json.format(msgspec.json.encode(document(app)), indent=1).decode() + "\n"


def main() -> int:
    """Writes the file."""
    from .web import create_app

    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text(create_app()), encoding="utf-8")
    sys.stderr.write(f"wrote {FILE}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

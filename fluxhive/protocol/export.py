"""Writes ``docs/reference/messages.schema.json``: every message of the agent's WebSocket, for those
who write an agent in another language.

``python -m fluxhive.protocol.export``; a test says that the file is current. The REST API's
document is made by the server (fluxhive/server/openapi.py).
"""

from __future__ import annotations

import sys
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from .agent import AgentMessage, ServerMessage

FILE = Path("docs/reference/messages.schema.json")


def text() -> str:
    """The schema as the file holds it (JSON Schema 2020-12)."""
    (from_agent, from_server), parts = msgspec.json.schema_components(
        [AgentMessage, ServerMessage], ref_template="#/$defs/{name}"
    )
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "FlowHive, agent protocol, fluxhive.v1",
        "description": "Bodies of the messages in an envelope; docs/protocol.md has the rules.",
        "$defs": {
            **dict(sorted(described(parts).items())),
            "AgentMessage": from_agent,
            "ServerMessage": from_server,
        },
    }
    return msgspec.json.format(msgspec.json.encode(schema), indent=1).decode() + "\n"


def described(parts: dict[str, Any]) -> dict[str, Any]:
    """Schemas of components, their descriptions without the indentation of docstrings.

    Python takes it away itself from 3.13 on; the files are the same on each.
    """
    return {
        name: {**part, "description": cleandoc(part["description"])}
        if "description" in part
        else part
        for name, part in parts.items()
    }


def main() -> int:
    """Writes the file."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
    sys.stderr.write(f"wrote {FILE}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The command line with an agent that behaves like those from before capabilities.

Its hello says nothing about launches, and a dispatch with an executor that is no `shell` or `exec`
is no message to it: it closes the connection. Run as a program in place of `fluxhive`.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from fluxhive.agent import runner
from fluxhive.cli.fluxhive import main
from fluxhive.protocol.agent import Dispatch, ServerMessage
from fluxhive.protocol.wire import Codec, WireError


class OlderCodec(Codec[ServerMessage]):
    """Knows two executors."""

    def decode(self, body: bytes | msgspec.Raw) -> ServerMessage | None:
        """Raises ``WireError`` for any other."""
        message = super().decode(body)
        launch = message.launch if isinstance(message, Dispatch) else None
        if launch is not None and launch.executor.value not in ("shell", "exec"):
            raise WireError(f"not a message: Invalid enum value '{launch.executor.value}'")
        return message


def older_codec() -> Any:
    """In place of the agent's own."""
    return OlderCodec(ServerMessage)


if __name__ == "__main__":
    runner.CAPABILITIES = ()
    runner.server_codec = older_codec
    sys.exit(main())

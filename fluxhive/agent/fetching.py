"""What an agent asks the server for beside its connection: launches and code. Blocks."""

from __future__ import annotations

from contextlib import closing

from fluxhive.config import Settings
from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import Launch
from fluxhive.transport import Transport

from .identity import IdentityFile


class Fetching:
    """Asks as the node; called in worker threads. Raises what the transport raises."""

    def __init__(self, settings: Settings, identity: IdentityFile) -> None:
        self._settings = settings
        self._identity = identity

    def launch(self, attempt_id: AttemptId) -> Launch:
        """What to start for an attempt whose dispatch did not bring it."""
        with closing(self._transport()) as transport:
            return transport.call("GET", f"/api/v1/agent/launches/{attempt_id}", Launch)

    def code(self, attempt_id: AttemptId, offset: int, limit: int) -> bytes:
        """Bytes of the code of an attempt's task."""
        path = f"/api/v1/agent/code/{attempt_id}"
        with closing(self._transport()) as transport:
            return transport.fetch("GET", path, query={"offset": offset, "limit": limit})

    def _transport(self) -> Transport:
        return Transport(
            self._settings.control_base_url,
            token=self._identity.current.token,
            ca_file=self._settings.ca_file,
        )

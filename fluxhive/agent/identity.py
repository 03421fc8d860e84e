"""Who this node is to the server: an id and a token of its own, kept in the state directory.

A person's credentials are exchanged once for the node's token; from then on the agent needs neither
name nor password. Blocks; the connection calls it in a worker thread.
"""

from __future__ import annotations

import logging
import platform
import socket
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from fluxhive import places
from fluxhive.config import Settings
from fluxhive.core.errors import AuthError, Conflict
from fluxhive.core.values import Value
from fluxhive.protocol.rest import Login, NodeCredentials, NodeRegistration, TokenGrant
from fluxhive.transport import Transport

log = logging.getLogger(__name__)

FILE_NAME = "node.json"


class Identity(Value, frozen=True, kw_only=True):
    """What a node remembers of itself. The file holds a secret: mode 0600."""

    #: Empty before the first registration.
    node_id: str = ""
    token: str = ""
    #: The server that gave both.
    url: str = ""
    #: How often the agent was started here; the server tells late words of an earlier life by it.
    incarnation: int = 0
    #: Inode of the state directory, and the boot, at the last start: a copy has another inode.
    inode: int = 0
    boot_id: str = ""


class IdentityFile:
    """The node's identity on disk."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self.current = self._read()

    def begin_life(self, boot_id: str) -> int:
        """Counts this start of the agent and returns the number.

        Raises ``Conflict`` for a directory that was copied while the machine ran: what its run
        directories tell is about processes of the agent it was copied from, and those it would end.
        """
        inode = self._path.parent.stat().st_ino
        known = self.current
        if known.inode not in (0, inode) and known.boot_id == boot_id:
            raise Conflict(
                f"the state directory `{self._path.parent}` is a copy of another agent's",
                hint="move it instead of copying it, while no agent runs; for another node let "
                "FLOWHIVE_STATE_DIR name an empty directory",
            )
        self._write(
            msgspec.structs.replace(
                known, incarnation=known.incarnation + 1, inode=inode, boot_id=boot_id
            )
        )
        return self.current.incarnation

    def is_known_to(self, url: str) -> bool:
        """Whether there is a token for the server at this address.

        Another port of the same host is taken for the same server: `fluxhive up` moves to a free
        port when its own is in use. A token is never shown to another host.
        """
        kept = urlsplit(self.current.url)
        asked = urlsplit(url)
        return bool(self.current.token) and (kept.scheme, kept.hostname) == (
            asked.scheme,
            asked.hostname,
        )

    def register(self, settings: Settings) -> NodeCredentials:
        """Makes this machine a node of the server and keeps what it answers.

        Raises the errors of ``Transport`` and ``AuthError`` when there is nothing to log in with.
        """
        transport = Transport(settings.control_base_url, ca_file=settings.ca_file)
        try:
            transport.token = settings.token or _log_in(transport, settings)
            hostname = socket.gethostname()
            asked = NodeRegistration(
                label=label_of(settings),
                machine_id=places.machine_id(),
                hostname=hostname,
                node_id=self.current.node_id or None,
            )
            given = transport.call("POST", "/api/v1/nodes", NodeCredentials, body=asked)
        finally:
            transport.close()
        self._write(
            msgspec.structs.replace(
                self.current,
                node_id=given.node_id,
                token=given.token,
                url=settings.control_base_url,
            )
        )
        return given

    def _read(self) -> Identity:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Identity)
        except FileNotFoundError:
            return Identity()
        except (OSError, msgspec.MsgspecError) as error:
            # The server knows the machine by its machine id and gives it the same node again.
            log.warning(
                "identity cannot be read, registering again",
                extra={"path": str(self._path), "reason": str(error)},
            )
            return Identity()

    def _write(self, identity: Identity) -> None:
        try:
            places.write_private(self._path, msgspec.json.encode(identity) + b"\n")
        except OSError as error:
            raise Conflict(
                f"cannot write the node's identity to `{self._path}`: {error.strerror}",
                hint="is the disk full or read-only? What runs here runs on; start the agent again "
                "once there is room",
            ) from error
        self.current = identity


def label_of(settings: Settings) -> str:
    """The node's human name."""
    return settings.label or socket.gethostname() or platform.system()


def _log_in(transport: Transport, settings: Settings) -> str:
    if not settings.username or not settings.password:
        raise AuthError(
            "nothing to log in with: neither a token nor a name and a password are configured",
            hint=f"log in first: fluxhive login --control-url {transport.base_url}, or: fluxhive "
            "config user.username NAME and fluxhive config user.password -",
        )
    asked = Login(username=settings.username, password=settings.password, purpose="node")
    try:
        return transport.call("POST", "/api/v1/auth/login", TokenGrant, body=asked).token
    except AuthError as error:
        raise AuthError(
            error.text,
            hint=f"the name is `{settings.username}` (from "
            f"{settings.origins.get('user.username', 'the configuration')}); correct it: "
            "fluxhive config user.username NAME, fluxhive config user.password -",
        ) from error

"""The first start of a server: its administrator, who gets in by files and links, not passwords.

The command line of the user who started the server reads a token from a file of mode 0600; the
browser gets a one-time link. Every start sees to it that the file's token works.
"""

from __future__ import annotations

import getpass
import logging
import re
from pathlib import Path
from typing import NamedTuple

from fluxhive import places
from fluxhive.core.errors import AuthError
from fluxhive.protocol.rest import NewUser, Role, TokenRequest

from .accounts import USERNAME
from .services import Services

log = logging.getLogger(__name__)

TOKEN_FILE = "admin-token"
TOKEN_NAME = "local administrator"


class Administrator(NamedTuple):
    """Who runs this server."""

    username: str
    #: Code of the one-time link; None: there was a first start before.
    code: str | None


async def local_administrator(services: Services, directory: Path) -> Administrator:
    """Makes the first administrator when there is no user, and a token file that works."""
    auth, accounts = services.auth, services.accounts
    code: str | None = None
    administrators = sorted(
        (user for user in auth.users.values() if user.role is Role.ADMINISTRATOR),
        key=lambda user: (user.created_at_ms, user.username),
    )
    if administrators:
        username = administrators[0].username
    else:
        username = os_username()
        wanted = NewUser(username=username, role=Role.ADMINISTRATOR)
        _, code, _ = await accounts.invite(wanted, active=True)
    path = directory / TOKEN_FILE
    if not _works(services, path):
        grant = await auth.issue(username, TokenRequest(name=TOKEN_NAME))
        places.write_private(path, grant.token.encode() + b"\n")
        log.info("token of the local administrator written", extra={"path": path})
    return Administrator(username, code)


def os_username() -> str:
    """The name of who runs this process, as a name that a user may have."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = ""  # no entry in the password database, as in some containers
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64]
    return plain if USERNAME.fullmatch(plain) else "administrator"


def _works(services: Services, path: Path) -> bool:
    try:
        if path.stat().st_mode & 0o077:
            log.warning("others could read the token file: it is replaced", extra={"path": path})
            return False
        text = path.read_text(encoding="ascii").strip()
        return services.auth.caller_of(f"Bearer {text}").is_administrator
    except (OSError, UnicodeDecodeError, AuthError):
        return False

"""The client that a command talks through: the right server, the right token."""

from __future__ import annotations

from fluxhive import config, places
from fluxhive.sdk.calls import Calls
from fluxhive.transport import Transport


def client(control_url: str | None = None, *, may_log_in: bool = True) -> Calls:
    """A client for the configured server, logged in when a token or a password is at hand.

    A password is used once: what it is exchanged for is kept, and used from then on.
    """
    settings = config.load({"control_base_url": control_url})
    made = Calls(
        transport=Transport(
            settings.control_base_url, token=settings.token, ca_file=settings.ca_file
        )
    )
    if may_log_in and settings.token is None and settings.username and settings.password:
        grant = made.login(settings.username, settings.password, purpose="command line")
        places.write_login(made.url, grant.token)
    return made

"""Which means the agent uses for processes and files: Linux's own, or those that every system has.

Asked wherever the two differ. On Linux the portable ones can be chosen (``FLOWHIVE_PORTABLE``):
that is how they are proven there, with real processes.
"""

from __future__ import annotations

import logging
import sys

from fluxhive import env
from fluxhive.core.errors import FluxhiveError

log = logging.getLogger(__name__)

IS_LINUX = sys.platform == "linux" and env.get(env.PORTABLE) is None
"""Whether pidfds, cgroups, subreapers, inotify and holes in files are used."""
NAMES = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
NAME = NAMES.get(sys.platform, sys.platform) + (
    "" if IS_LINUX or sys.platform != "linux" else " with portable means"
)
"""For people."""


def check_here(platform: str = sys.platform) -> None:
    """Raises ``FluxhiveError`` where an agent is not whole yet; says where less holds."""
    refuse_unbuilt(platform)
    if not IS_LINUX:
        log.warning("less holds here than on Linux", extra={"system": NAME})


def refuse_unbuilt(platform: str = sys.platform) -> None:
    """Raises ``FluxhiveError`` where an agent is not whole yet."""
    if platform == "win32":
        raise FluxhiveError(
            "agents and servers do not run on Windows yet: job objects are written for it, but "
            "nobody has run them there, and logs and code need calls that Windows lacks",
            hint="run them on Linux, or in WSL 2; client and SDK work here",
        )

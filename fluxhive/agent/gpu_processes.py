"""Who is on the GPUs: user and command of each process that the driver lists, as far as ``/proc``
shows it.

Looked at some times a minute, in the thread of the readings; what a process is does not change, so
it is read once. A command is cut, and values that look like secrets are hidden: whoever may look at
the dashboard need not have an account on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fluxhive.core.gpu_monitor import Reading
from fluxhive.core.health import GpuProcess, GpuProcesses
from fluxhive.core.values import AttemptId

from . import proctree

#: Of each GPU so many are named, the largest first.
PROCESSES_MAX = 32
COMMAND_MAX = 200
_REMEMBERED_MAX = 4_096
#: ``--api-key x``, ``--token=x``, ``PASSWORD=x``.
_SECRET = re.compile(r"(?i)(?:^|[-_.])(?:api[-_]?)?(?:key|token|secret|password|passwd|pwd)$")
#: ``https://user:password@host``.
_IN_ADDRESS = re.compile(r"(://)[^/\s@]+@")
HIDDEN = "***"


class GpuUsers:
    """Remembers who is who. For one thread."""

    def __init__(self) -> None:
        #: By pid and start time.
        self._known: dict[tuple[int, int], tuple[str, str]] = {}

    def look(
        self, reading: Reading, owners: Mapping[int, AttemptId | None], *, sees_all_pids: bool
    ) -> GpuProcesses:
        """Who is on one GPU. ``sees_all_pids``: the driver's pids are those of our ``/proc``."""
        if reading.processes is None:
            return GpuProcesses(uuid=reading.uuid)
        sorted_ = sorted(reading.processes, key=lambda each: (-(each.used_mib or 0), each.pid))
        found = []
        for each in sorted_[:PROCESSES_MAX]:
            owner = owners.get(each.pid)
            is_ours_to_see = sees_all_pids or owner is not None
            user, command = self._who(each.pid) if is_ours_to_see else ("", "")
            found.append(
                GpuProcess(
                    pid=each.pid,
                    used_mib=each.used_mib,
                    attempt_id=owner,
                    user=user,
                    command=command,
                )
            )
        n_more = max(0, len(sorted_) - PROCESSES_MAX)
        return GpuProcesses(uuid=reading.uuid, processes=tuple(found), n_more=n_more)

    def _who(self, pid: int) -> tuple[str, str]:
        key = pid, proctree.start_ticks(pid)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            known = self._known[key] = _user_of(pid), _command_of(pid)
        return known


def shown_command(words: list[str]) -> str:
    """A command line for others to see: values after words that name secrets are hidden, and it is
    cut."""
    shown: list[str] = []
    hides = False
    for word in words:
        name, sign, _ = word.partition("=")
        if hides:
            shown.append(HIDDEN)
        elif sign and _SECRET.search(name):
            shown.append(f"{name}={HIDDEN}")
        else:
            shown.append(word)
        hides = not hides and not sign and word.startswith("-") and bool(_SECRET.search(word))
    text = _IN_ADDRESS.sub(rf"\g<1>{HIDDEN}@", " ".join(" ".join(shown).split()))
    return text if len(text) <= COMMAND_MAX else text[: COMMAND_MAX - 1] + "…"


def _command_of(pid: int) -> str:
    raw = proctree.read_all(f"/proc/{pid}/cmdline").rstrip(b"\0")
    if raw:
        return shown_command(raw.decode("utf-8", "replace").split("\0"))
    # A kernel thread, or one that is gone: its name in brackets, as `ps` writes it.
    name = proctree.read_all(f"/proc/{pid}/comm").decode("utf-8", "replace").strip()
    return f"[{name}]" if name else ""


def _user_of(pid: int) -> str:
    uid = _uid_of(pid)
    if uid is None:
        return ""
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name
    except (ImportError, KeyError):
        return str(uid)  # of a container, or of a directory that is not asked here


def _uid_of(pid: int) -> int | None:
    status = proctree.read_all(f"/proc/{pid}/status")
    match = re.search(rb"^Uid:\s+\d+\s+(\d+)", status, re.MULTILINE)
    return None if match is None else int(match[1])

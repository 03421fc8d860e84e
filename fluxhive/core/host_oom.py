"""Whether the host's memory ran out under an attempt, and how that is known.

The kernel counts whom it killed; a program that was refused memory says so itself. A kill by a
person looks the same from outside, so SIGKILL alone is nothing. Called by judge.py.
"""

from __future__ import annotations

import re

from .outcome import ExitFacts
from .request import show_mib
from .sign_words import Says
from .signs import Verdict
from .values import Mib

SIGKILL = 9
#: What a shell answers when its program was killed, and what a launcher in Python passes on.
KILLED_CODES = (128 + SIGKILL, 256 - SIGKILL)
#: A program that had less than this part of what the node had left was stopped by a limit of its
#: own (``ulimit``), not by the node.
_SMALL_PART = 4

#: So much of the program's own words is shown.
_QUOTE_CHARS = 120
_SIZE = re.compile(r"(\d[\d,]*(?:\.\d+)?) ?(bytes|[KMGTP]iB)")
_UNIT_BYTES = {
    "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50,
}  # fmt: skip


def host_oom(facts: ExitFacts, verdict: Verdict, reserved_mib: Mib) -> str:
    """How it is known that host memory ran out, as a clause; empty: it did not."""
    host = facts.host
    was_killed = facts.signal == SIGKILL or facts.exit_code in KILLED_CODES
    if host is not None and host.own_kills:
        return f"the kernel killed a process of it for lack of host memory{_used(facts)}"
    # Where its own are counted, and none were killed, those on the node were others'.
    is_suspect = host is not None and host.own_kills is None and host.node_kills > 0
    if is_suspect and was_killed:
        return f"killed when the node ran out of host memory{_used(facts)}"
    if is_suspect and verdict.says is Says.CHILD_KILLED:
        return f"a process of it was killed when the node ran out of host memory{_used(facts)}"
    if facts.signal == SIGKILL and 0 < reserved_mib <= facts.peak_memory_mib:
        used, reserved = show_mib(facts.peak_memory_mib), show_mib(reserved_mib)
        return f"killed at {used} of host memory, {reserved} reserved"
    words = " ".join(verdict.text.partition("\n")[0].split())[:_QUOTE_CHARS]
    if verdict.says is Says.SHARED_MEMORY:
        return f"shared memory (/dev/shm) ran out, its output says `{words}`"
    if verdict.says is Says.HOST_OOM and not _was_limited(facts, verdict):
        return f"host memory ran out, its output says `{words}`{_used(facts)}"
    return ""


def _used(facts: ExitFacts) -> str:
    return f" ({show_mib(facts.peak_memory_mib)} used)" if facts.peak_memory_mib else ""


def _was_limited(facts: ExitFacts, verdict: Verdict) -> bool:
    """Whether the node had plenty when the program was refused: then a limit of its own did it."""
    host = facts.host
    if host is None or host.available_mib is None:
        return False
    wanted_mib = max((_mib(match) for match in _SIZE.finditer(verdict.text)), default=0)
    # What it had itself is free again by the time of the look.
    return max(wanted_mib, facts.peak_memory_mib) < host.available_mib // _SMALL_PART


def _mib(match: re.Match[str]) -> Mib:
    return int(float(match[1].replace(",", "")) * _UNIT_BYTES[match[2]]) >> 20

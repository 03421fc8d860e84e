"""``spec.json`` as a shim takes it, and why a program could not be started: on every system.

Part of the shim (``shim.py``), under the same rules: standard library only, run by path.
"""

from __future__ import annotations

import errno
import json
import os

TYPE_CHECKING = False  # as in typing, which would cost every shim a megabyte
if TYPE_CHECKING:
    from typing import Any

#: A time in milliseconds is never longer.
CONTACT_BYTES = 64
_SPEC_NUMBERS = ("time_limit_ms", "failover_ms", "grace_ms", "linger_ms")
_SPEC_KEYS = frozenset(
    ("attempt", "argv", "env", "cwd", "cookie", "merge_output", "oom_score_adj", "cgroup")
)


class Unprepared(Exception):
    """The attempt could not be started: an errno and one sentence for a person."""

    def __init__(self, cause: OSError | int, detail: str) -> None:
        number = cause if isinstance(cause, int) else cause.errno or errno.EIO
        if not isinstance(cause, int):
            detail = f"{detail}: {os.strerror(number)}"
        super().__init__(detail)
        self.number = number
        self.detail = detail


def read_spec(descriptor: int, version: int) -> dict[str, Any]:
    """``spec.json`` of this format version, whole. Raises Unprepared, and OSError."""
    try:
        spec: dict[str, Any] = json.loads(os.read(descriptor, os.fstat(descriptor).st_size))
        if spec["format"] != version:
            raise Unprepared(errno.EPROTO, f"spec.json has format {spec['format']!r}")
        for key in _SPEC_NUMBERS:
            int(spec[key] or 0)
        if missing := _SPEC_KEYS - spec.keys():
            raise KeyError(*missing)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unprepared(errno.EPROTO, f"spec.json cannot be used: {error!r}") from error
    return spec


def limits_of(spec: dict[str, Any], started_at: int, now: int) -> tuple[int | None, int | None]:
    """When its time limit and its lease are over, None for never. Raises Unprepared."""
    time_limit_at = lease_at = None
    if spec["time_limit_ms"] is not None:
        time_limit_at = started_at + int(spec["time_limit_ms"])
    if spec["failover_ms"] is not None and spec.get("contact_path") is not None:
        lease_at = lease_end(spec, now)
        if lease_at is None:
            raise Unprepared(errno.EINVAL, f"no contact time in {spec['contact_path']}")
        if now >= lease_at:
            # Whoever asked for it was paused on the way: by now it may run elsewhere.
            text = "out of contact for its failover length before it was started"
            raise Unprepared(errno.ECANCELED, text)
    return time_limit_at, lease_at


def lease_end(spec: dict[str, Any], now: int) -> int | None:
    """The failover length after the node's last contact; None when nobody can say.

    A time ahead of the clock was written before a reboot and says nothing.
    """
    try:
        descriptor = os.open(spec["contact_path"], os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            contact = int(os.read(descriptor, CONTACT_BYTES))
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    return contact + int(spec["failover_ms"]) if contact <= now else None


def find_program(spec: dict[str, Any]) -> str:
    """The path to execute, by the PATH of the task. Raises Unprepared when there is none."""
    argv = spec["argv"]
    if not argv:
        raise Unprepared(errno.EINVAL, "the command is empty")
    program: str = argv[0]
    if "/" in program:
        return program
    found = ""
    for folder in spec["env"].get("PATH", os.defpath).split(":") if program else ():
        path = f"{folder or '.'}/{program}"
        there = os.path.join(spec["cwd"], path)
        try:
            if os.access(there, os.X_OK) and not os.path.isdir(there):
                return path
            if not found and os.path.isfile(there):
                found = path
        except ValueError:
            break  # a NUL byte: said where the arguments are made ready
    if not found and "\0" not in program:
        raise Unprepared(errno.ENOENT, f"program {program} is not on the task's PATH")
    return found or program  # one that may not be executed: exec says so


def checked_name(name: str) -> str:
    """The name of an environment variable. Raises Unprepared for one that cannot be."""
    if not name or "=" in name:
        raise Unprepared(errno.EINVAL, f"{name!r} is no name for an environment variable")
    return name


def check_words(spec: dict[str, Any]) -> None:
    """Command and environment are what a program can be given. Raises Unprepared."""
    find_program(spec)
    words = [*spec["argv"]]
    for key, value in spec["env"].items():
        words += [checked_name(key), value]
    try:
        encoded = [os.fsencode(word) for word in words]
    except UnicodeEncodeError as error:
        raise Unprepared(errno.EINVAL, "the command or its environment is no text") from error
    if any(b"\0" in word for word in encoded):
        raise Unprepared(errno.EINVAL, "the command or its environment holds a NUL byte")


def why_not(spec: dict[str, Any], step: bytes, number: int) -> str:
    """One sentence on a start that failed in ``step`` with errno ``number``."""
    argv, cwd = spec["argv"], spec["cwd"]
    if step == b"prepare":
        return f"cannot start the main process: {os.strerror(number)}"
    if step == b"user":
        return f"cannot run it as user {spec['uid']}: {os.strerror(number)}"
    if step == b"chdir" and number == errno.ENOENT:
        return f"working directory {cwd} does not exist"
    if step == b"chdir":
        return f"working directory {cwd} cannot be entered: {os.strerror(number)}"
    program = argv[0]
    if number == errno.ENOEXEC:
        return f"{program} is no program and has no interpreter line (#!)"
    if number != errno.ENOENT:
        return f"program {program} cannot be executed: {os.strerror(number)}"
    if os.path.exists(os.path.join(cwd, program)):
        return f"the interpreter that {program} names does not exist"
    return f"program {program} does not exist"

"""What stands in a run directory, read and written from the agent's side.

The run directory is all that agent and shim share (``shim.py`` is the other side): an agent of
another version can adopt a running attempt by it. This module knows the files and what they mean
together; it starts, watches and signals nothing (``process.py``).
"""

from __future__ import annotations

import json
import os
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from fluxhive.agent import file_lock
from fluxhive.core.errors import InternalError

FORMAT = 1
READABLE_FORMATS = (1,)
"""Formats that this agent can adopt: its own and the one before, once there is one."""


class RunSpec(Struct, frozen=True, kw_only=True):
    """``spec.json``: all that a shim is told. Strings may hold surrogate escapes (PEP 383)."""

    attempt: str
    argv: list[str]
    env: dict[str, str]
    """The complete environment; ``FLUXHIVE_COOKIE`` in it is ``cookie``."""
    cwd: str
    cookie: str
    """Random and long: by it the processes of the attempt are known again."""
    grace_ms: int = 30_000
    time_limit_ms: int | None = None
    failover_ms: int | None = None
    """How long the attempt runs on after the last contact in ``contact_path``; None for ever."""
    contact_path: str | None = None
    merge_output: bool = False
    linger_ms: int = 0
    """How long a shim whose end nobody has taken note of stays."""
    oom_score_adj: int | None = None
    cgroup: str | None = None
    leads: bool = False
    """The main process passes the ladder on to what it leads: it alone gets SIGTERM, and SIGUSR1
    before the tree is killed."""
    reusable: bool = False
    """Whether the shim may be given another attempt after this one, once nothing is left of it."""
    uid: int | None = None
    """As whom the program runs, where the shim is root's; None: as the shim."""
    gid: int | None = None
    groups: list[int] = []
    dispatch: dict[str, Any] | None = None
    """What the server asked, for an agent that lost its journal; nothing to the shim."""
    format: int = FORMAT


class Started(Struct, frozen=True, kw_only=True, tag_field="event", tag="started"):
    """The main process runs. Also the file ``started``, where ``dir`` is empty."""

    format: int
    attempt: str
    shim_pid: int
    shim_start: int
    """Start time in clock ticks: with pid and boot id the name of a process."""
    pid: int
    pid_start: int
    boot_id: str
    at_boottime_ms: int
    dir: str = ""


class Exited(Struct, frozen=True, kw_only=True, tag_field="event", tag="exited"):
    """The attempt is over and its tree is gone. Also the file ``exit``, where ``dir`` is empty."""

    format: int
    attempt: str
    code: int | None
    signal: int | None
    """Code and signal are both None when nothing was executed, or nothing could be killed."""
    exec_errno: int
    exec_error: str | None
    stopped_by: Literal["stop", "time-limit", "lease"] | None
    started_boottime_ms: int
    ended_boottime_ms: int
    """When the main process ended; its leftovers may have taken two seconds more."""
    maxrss_kib: int
    """The largest process of the tree; never below the 9 MiB of a forked shim."""
    cpu_ms: int
    leftovers: int
    """How many processes outlived the main one and were killed."""
    unkillable: list[int]
    detail: str | None = None
    """One sentence for a person, when nothing was executed."""
    dir: str = ""


class ShimDied(Struct, frozen=True, kw_only=True, tag_field="event", tag="shim-died"):
    """A shim ended without a record, or could not be forked. Its tree is to be killed by us."""

    dir: str
    status: int | None
    """Exit code, or a signal's number below zero; None when it was never forked."""
    detail: str | None = None


class RunPhase(Enum):
    """What the files of a run directory say together."""

    NOT_STARTED = "not-started"
    """No shim has claimed it. Claim it yourself (``give_up_start``) before you say so to others."""
    RUNNING = "running"
    ENDED = "ended"
    SUPERVISOR_LOST = "supervisor-lost"
    """A shim had it and left no record: the program may have run."""
    CORRUPT = "corrupt"


class RunState(Struct, frozen=True, kw_only=True):
    """One look at a run directory."""

    phase: RunPhase
    started: Started | None = None
    """None also where a shim was cut short, or the disk was full, before it wrote this."""
    exited: Exited | None = None
    problem: str | None = None
    """What is wrong with the files, when something is."""


_started_decoder = msgspec.json.Decoder(Started)
_exited_decoder = msgspec.json.Decoder(Exited)


def write_spec(run_dir: str | Path, spec: RunSpec) -> None:
    """Write ``spec.json``, readable by this user alone: it holds the task's secrets."""
    try:
        text = msgspec.json.encode(spec)
    except UnicodeEncodeError:
        # Only json writes a surrogate escape so that it comes back as it was, in ten times as long.
        text = json.dumps(msgspec.structs.asdict(spec)).encode()
    descriptor = os.open(f"{run_dir}/spec.json", os.O_WRONLY | os.O_CREAT, 0o600)
    with open(descriptor, "wb", buffering=0) as file:
        # Over the blanks of a directory that is used again (spare_rooms.py).
        file.write(text.ljust(os.fstat(descriptor).st_size))


def read_spec(run_dir: str | Path) -> RunSpec:
    """The spec again. Raises InternalError when it is not there or not readable."""
    try:
        raw: Any = json.loads(Path(run_dir, "spec.json").read_bytes())
        spec = RunSpec(**raw)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InternalError(f"cannot read the spec in {run_dir}: {error}") from error
    if spec.format not in READABLE_FORMATS:
        raise InternalError(f"spec in {run_dir} has format {spec.format!r}")
    return spec


def inspect_run(run_dir: str | Path) -> RunState:
    """What has become of the attempt of ``run_dir``, without touching anything.

    Safe at any moment of a shim's life: the lock is only looked at once ``started`` exists, which
    a shim makes under the lock.
    """
    exited, problem = _read_exit(run_dir, "exit")
    if exited is not None or problem is not None:
        phase = RunPhase.ENDED if exited is not None else RunPhase.CORRUPT
        return RunState(
            phase=phase, started=_read_started(run_dir)[0], exited=exited, problem=problem
        )
    if not os.path.exists(Path(run_dir, "started")):
        return RunState(phase=RunPhase.NOT_STARTED)
    is_held = is_lock_held(run_dir)
    started, started_problem = _read_started(run_dir)
    if is_held:
        return RunState(phase=RunPhase.RUNNING, started=started, problem=started_problem)
    if os.path.exists(Path(run_dir, "exit")):
        return inspect_run(run_dir)  # it ended between the two looks
    # A shim that died between writing the record and renaming it has still recorded the end.
    exited, _ = _read_exit(run_dir, ".exit.tmp")
    phase = RunPhase.SUPERVISOR_LOST if exited is None else RunPhase.ENDED
    return RunState(phase=phase, started=started, exited=exited, problem=started_problem)


def is_lock_held(run_dir: str | Path) -> bool:
    """Whether a shim lives in ``run_dir``: a test that no reused pid can deceive."""
    return file_lock.is_held(Path(run_dir, "shim.lock"))


def give_up_start(run_dir: str | Path) -> bool:
    """Make sure that an attempt not started yet never will be.

    False when a shim was faster: then it runs, or has ended. Afterwards the directory reads as
    ``SUPERVISOR_LOST``, since nothing but the caller knows better.
    """
    try:
        os.close(os.open(Path(run_dir, "started"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def acknowledge(run_dir: str | Path) -> None:
    """Let a lingering shim go: its end has been taken note of for good."""
    Path(run_dir, "done").touch(mode=0o600)


def _read_exit(run_dir: str | Path, name: str) -> tuple[Exited | None, str | None]:
    try:
        content = Path(run_dir, name).read_bytes()
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"{name} cannot be read: {error.strerror}"
    try:
        exited = _exited_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, f"{name} is damaged: {error}"
    if exited.format not in READABLE_FORMATS:
        return None, f"{name} has format {exited.format}, which this agent does not know"
    return exited, None


def _read_started(run_dir: str | Path) -> tuple[Started | None, str | None]:
    try:
        content = Path(run_dir, "started").read_bytes()
    except OSError as error:
        return None, f"started cannot be read: {error.strerror}"
    if not content.strip():
        return None, None
    try:
        started = _started_decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return None, f"started is damaged: {error}"
    if started.format not in READABLE_FORMATS:
        return None, f"started has format {started.format}, which this agent does not know"
    return started, None

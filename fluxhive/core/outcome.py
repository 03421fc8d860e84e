"""How an attempt ended: the facts a node collects, and the one outcome made from them.

The facts travel with the outcome, so that a newer server can judge again.
"""

from __future__ import annotations

from enum import Enum

from .values import GpuUuid, Mib, Ms, Value


class OutcomeKind(Enum):
    """Why an attempt ended. Everything finer is ``Outcome.detail``."""

    SUCCESS = "success"
    FAILURE = "failure"
    GPU_OOM = "gpu-oom"
    HOST_OOM = "host-oom"
    TIME_LIMIT = "time-limit"
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"
    GPU_FAULT = "gpu-fault"
    NODE_LOST = "node-lost"
    NODE_REBOOT = "node-reboot"
    LAUNCH_FAILED = "launch-failed"
    REFUSED = "refused"
    SUPERVISOR_LOST = "supervisor-lost"
    LEASE_EXPIRED = "lease-expired"


class Outcome(Value, frozen=True, kw_only=True):
    """Why an attempt ended, for programs (kind, code, signal) and people (detail)."""

    kind: OutcomeKind
    exit_code: int | None = None
    signal: int | None = None
    #: One clause that completes "attempt 2 ended: failure, …", or empty.
    detail: str = ""


class StopCause(Enum):
    """Why an attempt is being stopped."""

    CANCEL = "cancel"
    TIME_LIMIT = "time-limit"
    PREEMPT = "preempt"
    #: The server knows better: the attempt is ended, given up or of another epoch.
    FENCED = "fenced"
    LEASE = "lease"
    SHUTDOWN = "shutdown"


class GpuPeak(Value, frozen=True, kw_only=True):
    """The most memory an attempt was seen to use on one GPU."""

    uuid: GpuUuid
    peak_mib: Mib


class ExitFacts(Value, frozen=True, kw_only=True):
    """What a node knows about the end of an attempt."""

    exit_code: int | None = None
    signal: int | None = None
    #: Name of the errno when the program could not be started, such as ``ENOENT``.
    exec_error: str | None = None
    #: Sentence of the supervisor about a failed launch, such as the directory that is missing.
    launch_detail: str = ""
    #: Why the node stopped it, if it did.
    stopped_by: StopCause | None = None
    duration_ms: Ms = 0
    cpu_ms: Ms = 0
    peak_memory_mib: Mib = 0
    gpu_peaks: tuple[GpuPeak, ...] = ()
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    #: Processes that outlived the main one and were ended with it.
    leftovers: int = 0
    #: Processes that could not be ended; their GPUs stay out of use.
    unkillable: tuple[int, ...] = ()
    #: The end of stderr (of stdout where stderr is empty or merged), at most 4 KiB.
    last_output: str = ""

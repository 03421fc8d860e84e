"""How an attempt ended: the facts a node collects, and the one outcome made from them.

The facts travel with the outcome, so that a newer server can judge again.
"""

from __future__ import annotations

from enum import Enum

from .values import AttemptId, GpuUuid, Mib, Ms, Value


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


class Blame(Enum):
    """Who filled a GPU that ran out of memory: whoever went beyond what was reserved."""

    #: The attempt itself: it needs a larger reservation.
    OWN = "own"
    #: Another attempt, or a process that is no attempt's: this one's reservation was right.
    NEIGHBOUR = "neighbour"


class GpuOom(Value, frozen=True, kw_only=True):
    """What is known about GPU memory that ran out (``blame.py`` finds it out)."""

    blame: Blame
    #: The GPU, where it can be told which of the attempt's it was.
    gpu: GpuUuid | None = None
    #: What the refused allocation asked for, as the allocator's message says.
    requested_mib: Mib | None = None
    #: What the attempt itself used of the GPU when it was refused.
    used_mib: Mib | None = None
    #: What it had reserved there.
    reserved_mib: Mib | None = None
    #: With ``Blame.NEIGHBOUR``: the attempt that exceeded its reservation most; None: a process
    #: that belongs to no attempt.
    culprit: AttemptId | None = None


class Outcome(Value, frozen=True, kw_only=True):
    """Why an attempt ended, for programs (kind, code, signal) and people (detail)."""

    kind: OutcomeKind
    exit_code: int | None = None
    signal: int | None = None
    #: One clause that completes "attempt 2 ended: failure, …", or empty.
    detail: str = ""
    #: With ``gpu-oom``: whose doing it was and how much was wanted; None from older nodes.
    oom: GpuOom | None = None


class StopCause(Enum):
    """Why an attempt is being stopped."""

    CANCEL = "cancel"
    TIME_LIMIT = "time-limit"
    PREEMPT = "preempt"
    #: The server knows better: the attempt is ended, given up or of another epoch.
    FENCED = "fenced"
    LEASE = "lease"
    SHUTDOWN = "shutdown"
    #: Another member of its gang ended.
    GANG = "gang"


class GpuPeak(Value, frozen=True, kw_only=True):
    """The most memory an attempt was seen to use on one GPU."""

    uuid: GpuUuid
    peak_mib: Mib
    #: Its mean use over all readings; None from older nodes.
    mean_mib: Mib | None = None
    #: Mean utilization of the whole GPU while the attempt was on it, neighbours' work included.
    utilization_percent: int | None = None


class Sign(Value, frozen=True, kw_only=True):
    """A line of an attempt's last output that may say why it ended (``signs.py`` picks them)."""

    #: ``stdout`` or ``stderr``.
    stream: str
    text: str
    #: Ordinary lines that came after it in its stream: a program that goes on was not ended by it.
    lines_after: int = 0


class Neighbour(Value, frozen=True, kw_only=True):
    """Another attempt that was on the same GPU."""

    attempt_id: AttemptId
    used_mib: Mib
    reserved_mib: Mib


class GpuScene(Value, frozen=True, kw_only=True):
    """One GPU of an attempt around its end: the highest figures of the last readings."""

    uuid: GpuUuid
    index: int
    total_mib: Mib = 0
    reserved_mib: Mib = 0
    #: What the attempt used; None: no reading showed it.
    used_mib: Mib | None = None
    #: The least that was free on the GPU; None: not known.
    free_mib: Mib | None = None
    foreign_mib: Mib = 0
    neighbours: tuple[Neighbour, ...] = ()
    #: Why the GPU is out of use since, such as an Xid; empty: it is not.
    fault: str = ""


class HostScene(Value, frozen=True, kw_only=True):
    """The node's own memory around the end of an attempt."""

    #: Processes of the attempt's own cgroup that the kernel killed for lack of memory; None where
    #: nothing counts them.
    own_kills: int | None = None
    #: Processes anywhere on the node that the kernel killed for it in the attempt's last seconds.
    node_kills: int = 0
    #: What a program could still have had, after the end.
    available_mib: Mib | None = None


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
    #: Telling lines of the last 64 KiB of each stream, in their order.
    signs: tuple[Sign, ...] = ()
    gpus: tuple[GpuScene, ...] = ()
    host: HostScene | None = None
    #: Version of the judge that named this end; 0: an older node, which sent less.
    judged: int = 0
    #: Lengths of what it wrote beside its output: its metrics, and the result of its function.
    metrics_bytes: int = 0
    result_bytes: int = 0
    #: Lengths of the output of each process that has its own, stdout and stderr in turn.
    process_bytes: tuple[int, ...] = ()

"""From the facts about an attempt's end to the one outcome that names it.

A node judges when an attempt's processes are gone; a newer server may judge the same facts again.
No single sign is enough (docs: what running out of memory looks like): text, exit status, the
attempt's own memory and the state of its GPUs are looked at together.
"""

from __future__ import annotations

import re

from .outcome import ExitFacts, Outcome, OutcomeKind, StopCause
from .request import Reservation, show_mib

_STOPPED = {
    StopCause.CANCEL: OutcomeKind.CANCELLED,
    StopCause.TIME_LIMIT: OutcomeKind.TIME_LIMIT,
    StopCause.PREEMPT: OutcomeKind.PREEMPTED,
    # The server had given it up: whatever it decides now, the task itself is not to blame.
    StopCause.FENCED: OutcomeKind.NODE_LOST,
    StopCause.LEASE: OutcomeKind.LEASE_EXPIRED,
    StopCause.SHUTDOWN: OutcomeKind.PREEMPTED,
    StopCause.GANG: OutcomeKind.CANCELLED,
}
_WHY_STOPPED = {
    StopCause.CANCEL: "stopped on request",
    StopCause.TIME_LIMIT: "stopped at its time limit",
    StopCause.PREEMPT: "stopped to make room",
    StopCause.FENCED: "stopped because the server had given it up",
    StopCause.LEASE: "stopped because the node was out of contact for its failover length",
    StopCause.SHUTDOWN: "stopped with its node",
    StopCause.GANG: "stopped because another member of its gang ended",
}

SIGKILL = 9
_SIGNAL_NAMES = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    5: "SIGTRAP",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    10: "SIGUSR1",
    11: "SIGSEGV",
    12: "SIGUSR2",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}

#: What frameworks and drivers print when a GPU has no memory left (measured: docs, GPU facts).
_GPU_OOM = re.compile(
    r"CUDA out of memory"
    r"|torch\.(?:cuda\.)?OutOfMemoryError"
    r"|RESOURCE_EXHAUSTED: Out of memory"
    r"|cupy\.cuda\.memory\.OutOfMemoryError"
    r"|cudaErrorMemoryAllocation"
    r"|CUDA_ERROR_OUT_OF_MEMORY"
    r"|CU(?:BLAS|DNN)_STATUS_ALLOC_FAILED"
    r"|(?:NCCL|[Cc]uda|CUDA)[^\n]{0,120}out of memory"
)
#: What they print when the GPU itself is gone or broken.
_GPU_FAULT = re.compile(
    r"GPU is lost|fallen off the bus|uncorrectable ECC error|CUDA_ERROR_ECC_UNCORRECTABLE"
    r"|cudaErrorECCUncorrectable|cudaErrorDevicesUnavailable"
)


def judge(
    facts: ExitFacts,
    *,
    stop_cause: StopCause | None = None,
    reservation: Reservation | None = None,
    supervisor_lost: bool = False,
    rebooted: bool = False,
    gpu_faults: tuple[str, ...] = (),
) -> Outcome:
    """How the attempt ended.

    ``stop_cause``: why the node was ending it, if it was. ``gpu_faults``: one sentence for each of
    its GPUs that is faulty now.
    """
    if rebooted:
        return Outcome(kind=OutcomeKind.NODE_REBOOT, detail="the node was restarted")
    cause = _effective_cause(facts, stop_cause)
    if cause is not None:
        return Outcome(
            kind=_STOPPED[cause],
            exit_code=facts.exit_code,
            signal=facts.signal,
            detail=_WHY_STOPPED[cause],
        )
    if facts.exec_error is not None or (not _has_exited(facts) and facts.launch_detail):
        detail = facts.launch_detail or f"cannot be started: {facts.exec_error}"
        return Outcome(kind=OutcomeKind.LAUNCH_FAILED, detail=detail)
    if supervisor_lost:
        return Outcome(
            kind=OutcomeKind.SUPERVISOR_LOST,
            detail="its supervisor died, and its processes were ended",
        )
    if facts.exit_code == 0:
        return Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)
    return _failure(facts, reservation, gpu_faults)


def stopped_early(cause: StopCause, when: str) -> Outcome:
    """The outcome of an attempt that was stopped and of which nothing ran."""
    return Outcome(kind=_STOPPED[cause], detail=f"{_WHY_STOPPED[cause]} {when}")


def _has_exited(facts: ExitFacts) -> bool:
    return facts.exit_code is not None or facts.signal is not None


def _effective_cause(facts: ExitFacts, stop_cause: StopCause | None) -> StopCause | None:
    """Why it was stopped; None when it ended by itself, be it while a stop was on its way.

    The supervisor knows which came first. Where it does not say (the agent ended the tree, or
    there is no record), any end but success is the stop's doing.
    """
    if facts.stopped_by is StopCause.CANCEL:
        # All a supervisor knows is that it was asked; where we did not ask, the machine did.
        return stop_cause or StopCause.SHUTDOWN
    if facts.stopped_by is not None:
        return facts.stopped_by
    return None if facts.exit_code == 0 else stop_cause


def _failure(
    facts: ExitFacts, reservation: Reservation | None, gpu_faults: tuple[str, ...]
) -> Outcome:
    def outcome(kind: OutcomeKind, detail: str) -> Outcome:
        return Outcome(kind=kind, exit_code=facts.exit_code, signal=facts.signal, detail=detail)

    has_gpus = reservation is not None and bool(reservation.gpus)
    if gpu_faults:
        return outcome(OutcomeKind.GPU_FAULT, "; ".join(gpu_faults))
    if has_gpus and (found := _GPU_FAULT.search(facts.last_output)):
        return outcome(OutcomeKind.GPU_FAULT, f"its output says `{found[0]}`")
    if has_gpus and _GPU_OOM.search(facts.last_output):
        assert reservation is not None
        return outcome(OutcomeKind.GPU_OOM, _memory_sentence(facts, reservation))
    if facts.signal == SIGKILL and reservation is not None:
        limit_mib = reservation.memory_mib
        if 0 < limit_mib <= facts.peak_memory_mib:
            used, reserved = show_mib(facts.peak_memory_mib), show_mib(limit_mib)
            return outcome(
                OutcomeKind.HOST_OOM, f"killed at {used} of host memory, {reserved} reserved"
            )
    if facts.signal is not None:
        name = _SIGNAL_NAMES.get(facts.signal)
        return outcome(
            OutcomeKind.FAILURE, f"signal {facts.signal} ({name})" if name is not None else ""
        )
    if facts.exit_code is None and facts.unkillable:
        pids = ", ".join(str(pid) for pid in facts.unkillable)
        return outcome(OutcomeKind.FAILURE, f"processes cannot be ended: {pids}")
    return outcome(OutcomeKind.FAILURE, "")


def _memory_sentence(facts: ExitFacts, reservation: Reservation) -> str:
    """Whose fault it was, as far as the readings tell."""
    peaks = {peak.uuid: peak.peak_mib for peak in facts.gpu_peaks}
    parts = []
    for share in reservation.gpus:
        peak_mib = peaks.get(share.uuid)
        if peak_mib is not None:
            parts.append(
                f"{show_mib(peak_mib)} seen of {show_mib(share.gpu_memory_mib)} reserved "
                f"on GPU {share.index}"
            )
    used = ", ".join(parts)
    return f"ran out of GPU memory: {used}" if used else "ran out of GPU memory"

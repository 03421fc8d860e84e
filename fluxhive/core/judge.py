"""From the facts about an attempt's end to the one outcome that names it.

A node judges when an attempt's processes are gone; a newer server may judge the same facts again.
No single sign is enough (docs/outcomes.md): text, exit status, the attempt's own memory, its
GPUs' and the node's are looked at together.
"""

from __future__ import annotations

from .blame import find_blame
from .host_oom import KILLED_CODES, host_oom
from .outcome import ExitFacts, GpuOom, Outcome, OutcomeKind, Sign, StopCause
from .request import Reservation
from .sign_words import Says
from .signs import Verdict, find_signs, read_signs
from .values import Mib

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

#: Raised with every change of what facts are made into; a server judges what an older one judged
#: again (``judge_again``).
JUDGE_VERSION = 1
#: Ends that are told apart by what the facts say, and may be told apart better later.
_BY_FACTS = frozenset(
    {OutcomeKind.FAILURE, OutcomeKind.GPU_OOM, OutcomeKind.HOST_OOM, OutcomeKind.GPU_FAULT}
)
#: A GPU with less than this left was full for whoever asked.
FULL_GPU_MIB: Mib = 1024
FULL_GPU_PER_CENT = 2
#: The part of an error's line that is shown.
QUOTE_CHARS = 160


def judge(
    facts: ExitFacts,
    *,
    stop_cause: StopCause | None = None,
    reservation: Reservation | None = None,
    supervisor_lost: bool = False,
    rebooted: bool = False,
) -> Outcome:
    """How the attempt ended. ``stop_cause``: why the node was ending it, if it was."""
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
    if facts.exec_error is not None or (not has_exited(facts) and facts.launch_detail):
        detail = facts.launch_detail or f"cannot be started: {facts.exec_error}"
        return Outcome(kind=OutcomeKind.LAUNCH_FAILED, detail=detail)
    if supervisor_lost:
        return Outcome(
            kind=OutcomeKind.SUPERVISOR_LOST,
            detail="its supervisor died, and its processes were ended",
        )
    if facts.exit_code == 0:
        return Outcome(kind=OutcomeKind.SUCCESS, exit_code=0)
    return _failure(facts, reservation)


def judge_again(outcome: Outcome, facts: ExitFacts, reservation: Reservation) -> Outcome:
    """What this judge makes of an end that an older one has named, from the facts it left.

    What a node knows and facts do not say (who stopped it, a reboot) stays as it was named, and so
    does what a node without such facts has named.
    """
    if not 0 < facts.judged < JUDGE_VERSION or outcome.kind not in _BY_FACTS:
        return outcome
    return _failure(facts, reservation)


def stopped_early(cause: StopCause, when: str) -> Outcome:
    """The outcome of an attempt that was stopped and of which nothing ran."""
    return Outcome(kind=_STOPPED[cause], detail=f"{_WHY_STOPPED[cause]} {when}")


def has_exited(facts: ExitFacts) -> bool:
    """Whether a program ran and its end is known."""
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


def _failure(facts: ExitFacts, reservation: Reservation | None) -> Outcome:
    """Names an end that was nobody's wish: what broke, what ran out, or what the program said."""

    def outcome(kind: OutcomeKind, detail: str, oom: GpuOom | None = None) -> Outcome:
        return Outcome(
            kind=kind, exit_code=facts.exit_code, signal=facts.signal, detail=detail, oom=oom
        )

    faults = [f"GPU {scene.index}: {scene.fault}" for scene in facts.gpus if scene.fault]
    if faults:
        return outcome(OutcomeKind.GPU_FAULT, "; ".join(faults))
    verdict = read_signs(facts.signs if facts.judged else _signs_of_an_older_node(facts))
    if reservation is not None and reservation.gpus:
        if verdict.says is Says.GPU_FAULT:
            return outcome(OutcomeKind.GPU_FAULT, f"its output says {_quote(verdict.text)}")
        if verdict.says is Says.GPU_OOM or (
            verdict.says is Says.PERHAPS_GPU_OOM and _was_full(facts)
        ):
            oom, detail = find_blame(facts, reservation, verdict.text)
            return outcome(OutcomeKind.GPU_OOM, detail, oom)
    found = host_oom(facts, verdict, 0 if reservation is None else reservation.memory_mib)
    if found:
        return outcome(OutcomeKind.HOST_OOM, found)
    return outcome(OutcomeKind.FAILURE, _own_words(facts, verdict))


def _signs_of_an_older_node(facts: ExitFacts) -> tuple[Sign, ...]:
    """Such a node sends the end of one stream and picks nothing."""
    return facts.signs or find_signs(stderr=facts.last_output, stdout="")


def _was_full(facts: ExitFacts) -> bool:
    """Whether a GPU of it had nothing to give in the last readings."""
    return any(
        scene.free_mib is not None
        and scene.free_mib < max(FULL_GPU_MIB, scene.total_mib * FULL_GPU_PER_CENT // 100)
        for scene in facts.gpus
    )


def _own_words(facts: ExitFacts, verdict: Verdict) -> str:
    """What a failure is said to be: the signal, the code, and the error that the program named."""
    if facts.signal is not None:
        name = _SIGNAL_NAMES.get(facts.signal)
        told = f"signal {facts.signal} ({name})" if name is not None else ""
    elif facts.exit_code is not None:
        told = f"exit code {facts.exit_code}"
        if facts.exit_code in KILLED_CODES:
            told += " (a process of it was killed by SIGKILL)"
    elif facts.unkillable:
        pids = ", ".join(str(pid) for pid in facts.unkillable)
        return f"processes cannot be ended: {pids}"
    else:
        return ""
    if not verdict.text:
        is_plain = facts.signal is None and facts.exit_code not in KILLED_CODES
        return "" if is_plain else told  # the code itself is all there is to say
    if not told:
        return _quote(verdict.text)
    return f"{told}, {_quote(verdict.text)}"


def _quote(text: str) -> str:
    words = " ".join(text.partition("\n")[0].split()).replace("`", "'")
    return f"`{words if len(words) <= QUOTE_CHARS else words[:QUOTE_CHARS] + ' …'}`"

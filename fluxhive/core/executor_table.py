"""What a node does when something happens to an attempt: one table, every cell filled.

Late, repeated and unexpected events are the normal case. ``Executor`` looks every event up here and
carries the move out; nothing else decides what may follow what.
"""

from __future__ import annotations

from enum import Enum

from .effects import NodeAttempt
from .events import (
    NodeEvent,
    ProcessExited,
    ProcessStarted,
    StopReceived,
    WorkspaceFailed,
    WorkspaceReady,
)
from .node import HeldPhase
from .outcome import StopCause


class Stand(Enum):
    """Where an attempt stands on its node, as the table sees it."""

    UNKNOWN = "unknown"
    PREPARING = "preparing"
    #: Asked to stop while its workspace is being made: never launched.
    WITHDRAWN = "withdrawn"
    #: Ready, and starts when the attempt whose place it takes has ended.
    WAITING = "waiting"
    LAUNCHING = "launching"
    RUNNING = "running"
    STOPPING = "stopping"
    #: Its processes are gone, the memory of its GPUs is awaited.
    CLEARING = "clearing"
    #: The final word is said; kept until the server forgets it.
    EXITED = "exited"

    #: Each is there once: what tells it apart is enough, and asked for with each move.
    __hash__ = object.__hash__


_STAND_OF_PHASE = {phase: Stand(phase.value) for phase in HeldPhase}


def stand_of(attempt: NodeAttempt | None) -> Stand:
    """Where the attempt stands."""
    if attempt is None:
        return Stand.UNKNOWN
    if attempt.phase is HeldPhase.EXITED:
        return Stand.EXITED
    if attempt.exited is not None:
        return Stand.CLEARING
    if attempt.phase is HeldPhase.PREPARING and attempt.stop_cause is not None:
        return Stand.WITHDRAWN
    if attempt.phase is HeldPhase.PREPARING and attempt.is_ready:
        return Stand.WAITING
    return _STAND_OF_PHASE[attempt.phase]


def told_phase(attempt: NodeAttempt) -> HeldPhase:
    """The phase that the server is told: it knows fewer than the table."""
    if stand_of(attempt) in (Stand.WITHDRAWN, Stand.CLEARING):
        return HeldPhase.STOPPING
    return attempt.phase


class Happening(Enum):
    """What can happen to one attempt: events, and deadlines that time passed."""

    DISPATCH_RECEIVED = "dispatch-received"
    STOP_RECEIVED = "stop-received"
    FORGET_RECEIVED = "forget-received"
    WORKSPACE_READY = "workspace-ready"
    WORKSPACE_FAILED = "workspace-failed"
    PROCESS_STARTED = "process-started"
    PROCESS_EXITED = "process-exited"
    #: No GPU of it holds its memory any more.
    MEMORY_RETURNED = "memory-returned"
    MEMORY_WAIT_OVER = "memory-wait-over"
    GRACE_OVER = "grace-over"
    TIME_LIMIT_OVER = "time-limit-over"
    #: Out of contact for the attempt's failover length.
    LEASE_OVER = "lease-over"
    #: The attempt before it has ended, or has run on for longer than it waits.
    TURN_CAME = "turn-came"
    TURN_MISSED = "turn-missed"


#: What workspace and supervisor say.
OF_PROCESS: dict[type[NodeEvent], Happening] = {
    WorkspaceReady: Happening.WORKSPACE_READY,
    WorkspaceFailed: Happening.WORKSPACE_FAILED,
    ProcessStarted: Happening.PROCESS_STARTED,
    ProcessExited: Happening.PROCESS_EXITED,
}
#: Why an attempt is stopped when a deadline passes.
DEADLINE_CAUSES = {
    Happening.TIME_LIMIT_OVER: StopCause.TIME_LIMIT,
    Happening.LEASE_OVER: StopCause.LEASE,
}


def cause_of(happening: Happening, event: NodeEvent | None) -> StopCause:
    """Why an attempt is stopped when this happens to it."""
    return event.cause if isinstance(event, StopReceived) else DEADLINE_CAUSES[happening]


class Move(Enum):
    """What is done about it."""

    #: A repeat, a late word, or none of this node's business.
    NOTHING = "nothing"
    #: Take it on, or refuse it by what this node sees now.
    ADMIT = "admit"
    SAY_ACCEPTED = "say accepted"
    SAY_STARTED = "say started"
    SAY_FINAL = "say the final word"
    #: It is not here and never will be.
    SAY_UNKNOWN = "say that it is not here"
    LAUNCH = "launch"
    RUN = "run"
    #: The workspace failed: refuse it for this node, or end it as launch-failed.
    NOT_LAUNCHED = "end it, not launched"
    #: The program certainly did not run: the attempt is handed back.
    HAND_BACK = "hand it back"
    #: Nothing runs yet: remember that nothing may.
    WITHDRAW = "withdraw"
    END_WITHDRAWN = "end it, never started"
    #: Nothing of it runs or is being made: both at once.
    WITHDRAW_AND_END = "withdraw and end it"
    #: What it waits for runs on: it is handed back, for another place.
    GIVE_UP_TURN = "hand it back, its turn has not come"
    #: Ask the tree to end; the grace begins.
    STOP = "stop"
    #: The first stop that the server repeats within a session kills at once.
    STOP_AGAIN = "stop again"
    #: It started after the stop, or was found again: the tree is asked to end now.
    SIGNAL = "signal"
    KILL = "kill"
    #: The processes are gone: judge the end, or wait for the memory of its GPUs first.
    CLEAR = "clear"
    #: Already clearing; only news of a reboot ends the wait.
    CLEAR_AGAIN = "clear again"
    CONCLUDE = "conclude"
    DISCARD = "discard"


S, H, M = Stand, Happening, Move

ON_HAPPENING: dict[Happening, dict[Stand, Move]] = {
    H.DISPATCH_RECEIVED: {
        S.UNKNOWN: M.ADMIT,
        S.PREPARING: M.SAY_ACCEPTED,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.SAY_ACCEPTED,
        S.LAUNCHING: M.SAY_ACCEPTED,
        S.RUNNING: M.SAY_STARTED,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.NOTHING,
        # Answered again, never a second start.
        S.EXITED: M.SAY_FINAL,
    },
    H.STOP_RECEIVED: {
        S.UNKNOWN: M.SAY_UNKNOWN,
        S.PREPARING: M.WITHDRAW,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.WITHDRAW_AND_END,
        S.LAUNCHING: M.STOP,
        S.RUNNING: M.STOP,
        S.STOPPING: M.STOP_AGAIN,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.SAY_FINAL,
    },
    H.FORGET_RECEIVED: {
        S.UNKNOWN: M.NOTHING,
        # The server broke the protocol: the attempt is kept.
        S.PREPARING: M.NOTHING,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.NOTHING,
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.DISCARD,
    },
    H.WORKSPACE_READY: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.LAUNCH,
        S.WITHDRAWN: M.END_WITHDRAWN,
        S.WAITING: M.NOTHING,
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.NOTHING,
    },
    H.WORKSPACE_FAILED: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.NOT_LAUNCHED,
        S.WITHDRAWN: M.END_WITHDRAWN,
        S.WAITING: M.NOTHING,
        # Too late: a shim may have it by now, and the shim's word counts.
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.NOTHING,
    },
    H.PROCESS_STARTED: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.NOTHING,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.NOTHING,
        S.LAUNCHING: M.RUN,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.SIGNAL,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.NOTHING,
    },
    H.PROCESS_EXITED: {
        S.UNKNOWN: M.NOTHING,
        # The agent was restarted before it launched it.
        S.PREPARING: M.HAND_BACK,
        S.WITHDRAWN: M.END_WITHDRAWN,
        S.WAITING: M.HAND_BACK,
        S.LAUNCHING: M.CLEAR,
        S.RUNNING: M.CLEAR,
        S.STOPPING: M.CLEAR,
        S.CLEARING: M.CLEAR_AGAIN,
        S.EXITED: M.NOTHING,
    },
    H.MEMORY_RETURNED: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.NOTHING,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.NOTHING,
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.CONCLUDE,
        S.EXITED: M.NOTHING,
    },
    H.MEMORY_WAIT_OVER: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.NOTHING,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.NOTHING,
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.CONCLUDE,
        S.EXITED: M.NOTHING,
    },
    H.GRACE_OVER: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.NOTHING,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.NOTHING,
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.KILL,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.NOTHING,
    },
    H.TIME_LIMIT_OVER: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.NOTHING,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.NOTHING,
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.STOP,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.NOTHING,
    },
    H.LEASE_OVER: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.WITHDRAW,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.WITHDRAW_AND_END,
        S.LAUNCHING: M.STOP,
        S.RUNNING: M.STOP,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.NOTHING,
    },
    H.TURN_CAME: {
        S.UNKNOWN: M.NOTHING,
        # It is launched as soon as it is ready.
        S.PREPARING: M.NOTHING,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.LAUNCH,
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.NOTHING,
    },
    H.TURN_MISSED: {
        S.UNKNOWN: M.NOTHING,
        S.PREPARING: M.NOTHING,
        S.WITHDRAWN: M.NOTHING,
        S.WAITING: M.GIVE_UP_TURN,
        S.LAUNCHING: M.NOTHING,
        S.RUNNING: M.NOTHING,
        S.STOPPING: M.NOTHING,
        S.CLEARING: M.NOTHING,
        S.EXITED: M.NOTHING,
    },
}

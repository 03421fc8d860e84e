"""Tells a story to one node's executor, and looks at what it asks for."""

from __future__ import annotations

from collections.abc import Iterable

from fluxhive.core.effects import (
    Discard,
    KillTree,
    NodeAttempt,
    NodeEffect,
    PrepareWorkspace,
    SaveHeld,
    Say,
    Signal,
    Spawn,
    WriteContact,
)
from fluxhive.core.events import (
    ContactRenewed,
    DispatchReceived,
    ForgetReceived,
    NodeEvent,
    ProcessExited,
    ProcessStarted,
    ReadingTaken,
    SessionOpened,
    StopReceived,
    TimePassed,
    WorkspaceFailed,
    WorkspaceReady,
)
from fluxhive.core.executor import Executor
from fluxhive.core.node import GpuReport
from fluxhive.core.outcome import ExitFacts, StopCause
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptRefused, AttemptStarted
from fluxhive.core.request import GpuShare, Rendezvous, Reservation
from fluxhive.core.values import AttemptId, GpuUuid, NodeId, TaskId
from tests.helpers.factories import gpu, mib, ms

SUCCESS = ExitFacts(exit_code=0)
KILLED = ExitFacts(signal=9)


class NodeStory:
    """A node with an open session, fresh contact and, if named, GPUs that were just read."""

    def __init__(self, *, gpus: Iterable[GpuReport] = ()) -> None:
        self.executor = Executor()
        self.now_ms = 1_000_000
        self.session = 1
        self.seen: list[NodeEffect] = []
        self.gpus = tuple(gpus)
        self.happens(SessionOpened(session=1))
        self.contact()
        self.happens(ReadingTaken(gpus=self.gpus))

    # ── what happens ──────────────────────────────────────────────────────────────────────────

    def happens(self, *events: NodeEvent) -> list[NodeEffect]:
        """Hands events in; the effects of the last one."""
        effects: list[NodeEffect] = []
        for event in events:
            effects = self.executor.handle(event, self.now_ms)
            self.seen += effects
        return effects

    def contact(self) -> list[NodeEffect]:
        """The server acknowledged a heartbeat of just now."""
        return self.happens(ContactRenewed(sent_at_ms=self.now_ms))

    def dispatch(self, attempt: str = "t1.1", **more: object) -> list[NodeEffect]:
        """The server sends an attempt; see ``dispatch_of``."""
        return self.happens(dispatch_of(attempt, session=self.session, **more))  # type: ignore[arg-type]

    def ready(self, attempt: str = "t1.1") -> list[NodeEffect]:
        """Its run directory is made."""
        return self.happens(WorkspaceReady(attempt_id=AttemptId(attempt)))

    def unready(
        self, attempt: str = "t1.1", *, why: str = "no such directory", elsewhere: bool = False
    ) -> list[NodeEffect]:
        """Its run directory cannot be made."""
        event = WorkspaceFailed(attempt_id=AttemptId(attempt), detail=why, elsewhere=elsewhere)
        return self.happens(event)

    def starts(self, attempt: str = "t1.1", pid: int = 4711) -> list[NodeEffect]:
        """Its supervisor says that the program runs."""
        return self.happens(
            ProcessStarted(attempt_id=AttemptId(attempt), pid=pid, started_at_ms=self.now_ms)
        )

    def exits(
        self, attempt: str = "t1.1", facts: ExitFacts = SUCCESS, **more: bool
    ) -> list[NodeEffect]:
        """Its processes are gone."""
        return self.happens(ProcessExited(attempt_id=AttemptId(attempt), facts=facts, **more))

    def stop(
        self, attempt: str = "t1.1", *, epoch: int = 1, cause: StopCause = StopCause.CANCEL
    ) -> list[NodeEffect]:
        """The server wants it to end."""
        event = StopReceived(
            session=self.session, attempt_id=AttemptId(attempt), epoch=epoch, cause=cause
        )
        return self.happens(event)

    def forget(self, *attempts: str) -> list[NodeEffect]:
        """The server has the end of these."""
        ids = tuple(AttemptId(each) for each in attempts or ("t1.1",))
        return self.happens(ForgetReceived(session=self.session, attempt_ids=ids))

    def reads(self, *gpus: GpuReport) -> list[NodeEffect]:
        """The GPUs are looked at."""
        self.gpus = gpus
        return self.happens(ReadingTaken(gpus=gpus))

    def waits(self, length: str | int) -> list[NodeEffect]:
        """Time passes, with wakeups when the executor wants them; all that follows."""
        end_ms = self.now_ms + (ms(length) or 0)
        effects: list[NodeEffect] = []
        while (due_ms := self.executor.next_wakeup()) is not None and due_ms <= end_ms:
            self.now_ms = max(self.now_ms, due_ms)
            effects += self.happens(TimePassed())
            after_ms = self.executor.next_wakeup()
            assert after_ms is None or after_ms > due_ms, "law 14: a wakeup moves on"
        self.now_ms = end_ms
        return effects

    def reconnects(self) -> None:
        """The connection was lost and is there again, with a higher session."""
        self.session += 1
        self.happens(SessionOpened(session=self.session))

    def restarts(self) -> None:
        """The agent is killed and starts again with its journal."""
        self.executor = Executor.restore(self.executor.snapshot())
        self.reconnects()
        self.contact()
        self.happens(ReadingTaken(gpus=self.gpus))

    # ── what can be looked at ─────────────────────────────────────────────────────────────────

    def runs(self, attempt: str = "t1.1", **more: object) -> None:
        """From dispatch to a running program."""
        self.dispatch(attempt, **more)
        self.ready(attempt)
        self.starts(attempt)

    def record(self, attempt: str = "t1.1") -> NodeAttempt:
        """What the node remembers about it."""
        found = self.executor.attempt(AttemptId(attempt))
        assert found is not None
        return found

    def final(self, attempt: str = "t1.1") -> AttemptEnded | AttemptRefused | None:
        """The last word about it; None before it is said."""
        return self.record(attempt).final


def dispatch_of(
    attempt: str = "t1.1",
    *,
    session: int = 1,
    epoch: int | None = None,
    gpus: dict[str, str | int] | None = None,
    exclusive: bool = False,
    grace: str | int = "30s",
    time_limit: str | int | None = None,
    failover: str | int | None = None,
    node: str = "n1",
    cpus: int = 1,
    rank: int = 0,
    n_nodes: int = 1,
    port: int | None = None,
    after: str | None = None,
    turn: str | int = "5s",
) -> DispatchReceived:
    """A dispatch; ``gpus`` is the reserved memory by UUID, the epoch is the attempt's number."""
    task, _, number = attempt.rpartition(".")
    return DispatchReceived(
        session=session,
        attempt_id=AttemptId(attempt),
        task_id=TaskId(task),
        epoch=int(number) if epoch is None else epoch,
        channel=7,
        reservation=Reservation(
            node_id=NodeId(node),
            gpus=tuple(
                GpuShare(uuid=GpuUuid(uuid), index=index, gpu_memory_mib=mib(size) or 0)
                for index, (uuid, size) in enumerate((gpus or {}).items())
            ),
            exclusive=exclusive,
            cpus=cpus,
        ),
        grace_ms=ms(grace) or 0,
        time_limit_ms=ms(time_limit),
        failover_ms=ms(failover),
        rank=rank,
        n_nodes=n_nodes,
        rendezvous=None if port is None else Rendezvous(address="10.0.0.1", port=port),
        after=None if after is None else AttemptId(after),
        turn_ms=0 if after is None else ms(turn) or 0,
    )


def words(effects: Iterable[NodeEffect]) -> list[str]:
    """Effects as short words, saves left out: ``say accepted t1.1``, ``signal t1.1 cancel``."""
    return [_word(effect) for effect in effects if not isinstance(effect, SaveHeld)]


def _word(effect: NodeEffect) -> str:
    match effect:
        case Say(report=report):
            kind = {
                AttemptAccepted: "accepted",
                AttemptRefused: "refused",
                AttemptStarted: "started",
                AttemptEnded: "ended",
            }[type(report)]
            outcome = f": {report.outcome.kind.value}" if isinstance(report, AttemptEnded) else ""
            return f"say {kind} {report.attempt_id}{outcome}"
        case Signal():
            return f"signal {effect.attempt_id} {effect.cause.value}"
        case PrepareWorkspace():
            return f"prepare {effect.attempt_id}"
        case Spawn():
            return f"spawn {effect.attempt_id}"
        case KillTree():
            return f"kill {effect.attempt_id}"
        case Discard():
            return f"discard {effect.attempt_id}"
        case WriteContact():
            return f"contact {effect.contact_at_ms}"
        case SaveHeld():
            return f"save {effect.held.dispatch.attempt_id}"


__all__ = ["KILLED", "SUCCESS", "NodeStory", "dispatch_of", "gpu", "words"]

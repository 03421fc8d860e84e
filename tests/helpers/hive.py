"""The story driver: a hive without wires, told in short sentences and answered in short lines.

Every step is checked against the laws. ``sees`` accounts for *all* effects since the last look, in
order; what always goes together is told once:

* saves are not told (the laws check that each change has one save and one publish);
* a welcome is told by ``n1 ready``, and the first hello by ``node`` is not told at all;
* ``t1 active`` and ``t1.1 reserved`` are told by ``dispatch t1.1 …``, as is ``t1 queued`` when the
  task starts at once.

Nodes send heartbeats by themselves while time passes, unless they are ``quiet``.
"""

from __future__ import annotations

from msgspec import structs

from fluxhive.core.capability import CAPABILITIES
from fluxhive.core.effects import (
    TurnAway,
)
from fluxhive.core.events import (
    NodeJoined,
    NodeLeft,
    NodeReported,
    NodeSaid,
    TimePassed,
)
from fluxhive.core.going_back import attempt_gone_back, task_gone_back
from fluxhive.core.hive_settings import DEFAULT_SETTINGS, HiveSettings
from fluxhive.core.node import GpuReport, HeldAttempt, HeldPhase, Journal
from fluxhive.core.outcome import ExitFacts, GpuOom, GpuPeak, Outcome, OutcomeKind
from fluxhive.core.reports import (
    AttemptAccepted,
    AttemptEnded,
    AttemptRefused,
    AttemptStarted,
    Report,
)
from fluxhive.core.step_laws import StepLaws
from fluxhive.core.task_manager import HiveSnapshot, TaskManager
from fluxhive.core.values import AttemptId, GpuUuid, NodeId

from . import factories
from .factories import mib, ms
from .peopled_hive import PeopledHive


class Hive(PeopledHive):
    """A hive, its people, its nodes and its clock."""

    def __init__(self, settings: HiveSettings = DEFAULT_SETTINGS) -> None:
        super().__init__(settings)
        self._session = 0
        self._joins: dict[str, NodeJoined] = {}
        self._quiet: set[str] = set()
        self._gpus: dict[str, tuple[GpuReport, ...]] = {}
        self._beat_ms: dict[str, int] = {}

    # ── nodes ─────────────────────────────────────────────────────────────────────────────────

    def node(
        self,
        name: str,
        *,
        gpus: list[str] | None = None,
        cpus: int = 8,
        memory: str = "64G",
        only_for: str | None = None,
        address: str = "",
        capabilities: tuple[str, ...] = CAPABILITIES,
    ) -> None:
        """A node joins for the first time, with GPUs of these sizes; not told by ``sees``."""
        reports = tuple(
            factories.gpu(f"{name}-gpu{index}", index, size)
            for index, size in enumerate(gpus or [])
        )
        self._join(
            NodeJoined(
                node_id=NodeId(name),
                session=self._next_session(),
                incarnation=1,
                label=name,
                only_for=only_for,
                inventory=factories.inventory(*reports, cpus=cpus, memory=memory, address=address),
                boot_id=f"{name}-boot1",
                capabilities=capabilities,
            )
        )
        self._unseen.remove(f"{name} ready: {name} joined")

    def rejoins(
        self,
        name: str,
        *held: str,
        journal: str = "intact",
        journal_id: str = "",
        sent_at_ms: int = 0,
        rebooted: bool = False,
        epoch: int | None = None,
        capabilities: tuple[str, ...] | None = None,
    ) -> None:
        """A node says hello again and holds attempts, such as ``t1.1 running``."""
        claims = []
        for word_pair in held:
            attempt_id, phase = word_pair.split()
            known = self.manager.attempt(AttemptId(attempt_id))
            real_epoch = 1 if known is None else known.epoch
            claims.append(
                HeldAttempt(
                    attempt_id=AttemptId(attempt_id),
                    epoch=real_epoch if epoch is None else epoch,
                    phase=HeldPhase(phase),
                )
            )
        old = self._joins[name]
        self._join(
            NodeJoined(
                node_id=old.node_id,
                session=self._next_session(),
                incarnation=old.incarnation + 1,
                label=old.label,
                only_for=old.only_for,
                inventory=factories.inventory(
                    *self._gpus[name], cpus=old.inventory.cpus, memory=old.inventory.memory_mib
                ),
                held=tuple(claims),
                journal=Journal(journal),
                journal_id=journal_id,
                sent_at_ms=sent_at_ms,
                boot_id=old.boot_id + "'" if rebooted else old.boot_id,
                capabilities=old.capabilities if capabilities is None else capabilities,
            )
        )

    def clones(self, name: str, twin: str) -> None:
        """Another agent says hello with the GPUs of a node we know."""
        hello = structs.replace(
            self._joins[name],
            node_id=NodeId(twin),
            label=twin,
            session=self._next_session(),
        )
        self._join(hello)

    def hello_of(self, name: str) -> NodeJoined:
        """A node's latest hello."""
        return self._joins[name]

    def loses_gpu(self, name: str, uuid: str) -> None:
        """From now on the node does not name this GPU."""
        self._gpus[name] = tuple(gpu for gpu in self._gpus[name] if gpu.uuid != uuid)

    def quiet(self, name: str) -> None:
        """The node's heartbeats stop; the connection stays open."""
        self._quiet.add(name)

    def heard(self, name: str) -> None:
        """The node's heartbeats come again, on the same connection; one comes now."""
        self._quiet.discard(name)
        self.beat(name)

    def leaves(self, name: str, reason: str = "connection reset") -> None:
        """The node's connection closes."""
        self._quiet.add(name)
        session = self._joins[name].session
        self.handle(NodeLeft(node_id=NodeId(name), session=session, reason=reason))

    def beat(self, name: str, *reports: GpuReport) -> None:
        """A heartbeat; with reports, the node's GPUs are like that from now on."""
        if reports:
            new = {report.uuid: report for report in reports}
            old = {report.uuid: report for report in self._gpus[name]}
            self._gpus[name] = tuple({**old, **new}.values())
        self._beat_ms[name] = self.now_ms
        self.handle(
            NodeReported(
                node_id=NodeId(name),
                session=self._joins[name].session,
                gpus=self._gpus[name],
            )
        )

    # ── what nodes say about attempts ─────────────────────────────────────────────────────────

    def accepts(self, attempt: str, *, on: str | None = None) -> None:
        """The node has journalled the attempt; ``on``: another than rank 0's."""
        report = AttemptAccepted(attempt_id=AttemptId(attempt), epoch=self._epoch(attempt))
        self.says(report, node=on)

    def starts(
        self, attempt: str, pid: int = 4242, age: str | int = 0, *, on: str | None = None
    ) -> None:
        """The attempt's process runs."""
        self.says(
            AttemptStarted(
                attempt_id=AttemptId(attempt),
                epoch=self._epoch(attempt),
                pid=pid,
                age_ms=ms(age) or 0,
            ),
            node=on,
        )

    def refuses(
        self, attempt: str, reason: str, *, permanent: bool = False, on: str | None = None
    ) -> None:
        """The node hands the attempt back."""
        self.says(
            AttemptRefused(
                attempt_id=AttemptId(attempt),
                epoch=self._epoch(attempt),
                reason=reason,
                permanent_here=permanent,
            ),
            node=on,
        )

    def ends(
        self,
        attempt: str,
        outcome: str = "success",
        *,
        exit_code: int | None = None,
        detail: str = "",
        exec_error: str | None = None,
        peak: str | None = None,
        memory: str | None = None,
        dirty: tuple[str, ...] = (),
        after: str | None = None,
        on: str | None = None,
        oom: GpuOom | None = None,
    ) -> None:
        """The attempt is over, ``after`` so long; ``memory``: the most it took of the host."""
        if after is not None:
            self.waits(after)
        if exit_code is None and outcome in ("success", "failure"):
            exit_code = int(outcome == "failure")
        known = self.manager.attempt(AttemptId(attempt))
        shares = known.reservation.gpus if known is not None else ()
        peaks = tuple(GpuPeak(uuid=share.uuid, peak_mib=mib(peak) or 0) for share in shares)
        self.says(
            AttemptEnded(
                attempt_id=AttemptId(attempt),
                epoch=self._epoch(attempt),
                outcome=Outcome(
                    kind=OutcomeKind(outcome), exit_code=exit_code, detail=detail, oom=oom
                ),
                facts=ExitFacts(
                    exit_code=exit_code,
                    exec_error=exec_error,
                    gpu_peaks=peaks if peak else (),
                    peak_memory_mib=mib(memory) or 0,
                ),
                dirty_gpus=tuple(GpuUuid(uuid) for uuid in dirty),
            ),
            node=on,
        )

    def runs_after_dispatch(self, *attempts: str) -> None:
        """What was dispatched is accepted and started; everything so far has been seen."""
        for attempt in attempts:
            self.accepts(attempt)
            self.starts(attempt)
            told = self._unseen[-3:]
            assert told[0].startswith(f"dispatch {attempt} "), f"not dispatched: {attempt}: {told}"
            assert told[1].startswith(f"{attempt} starting"), told
            assert told[2].startswith(f"{attempt} running"), told
            del self._unseen[-3:]

    def says(self, report: Report, *, node: str | None = None, session: int | None = None) -> None:
        """Any report, from the attempt's own node and session unless told otherwise."""
        known = self.manager.attempt(report.attempt_id)
        where = node or (known.node_id if known is not None else next(iter(self._joins)))
        current = self._joins[where].session
        self.handle(
            NodeSaid(
                node_id=NodeId(where),
                session=current if session is None else session,
                report=report,
            )
        )

    # ── time ──────────────────────────────────────────────────────────────────────────────────

    def waits(self, length: str | int) -> None:
        """Time passes, event by event: heartbeats, and wake-ups when the hive asks for them."""
        until = self.now_ms + (ms(length) or 0)
        while True:
            at_ms, who = until, ""
            wakeup = self.manager.next_wakeup()
            if wakeup is not None and wakeup < at_ms:
                at_ms, who = wakeup, "wakeup"
            for name, last_ms in self._beat_ms.items():
                next_ms = last_ms + self.settings.heartbeat_ms
                if name not in self._quiet and next_ms < at_ms:
                    at_ms, who = next_ms, name
            self.now_ms = max(self.now_ms, at_ms)
            if who == "":
                self.handle(TimePassed())
                return
            if who == "wakeup":
                self.handle(TimePassed())
            else:
                self.beat(who)

    def goes_back(self, stored: HiveSnapshot) -> None:
        """A backup that was this snapshot is restored, and the server started from it."""
        self.restarts(
            structs.replace(
                stored,
                tasks=tuple(task_gone_back(task, hold=True) for task in stored.tasks),
                attempts=tuple(attempt_gone_back(attempt) for attempt in stored.attempts),
            )
        )

    def restarts(self, stored: HiveSnapshot | None = None) -> None:
        """The server is started again from what it stored; nodes have to join again."""
        stored = self.manager.snapshot() if stored is None else stored
        self.manager = TaskManager.restore(stored, self.now_ms, settings=self.settings)
        self._laws = StepLaws.since(self.manager)
        self._quiet.update(self._joins)
        self._story.append("──── the server is started again")

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _join(self, event: NodeJoined) -> None:
        name = event.node_id
        self._joins[name] = event
        self._gpus[name] = event.inventory.gpus
        self._beat_ms[name] = self.now_ms
        self._quiet.discard(name)
        effects = self.handle(event)
        if any(isinstance(effect, TurnAway) for effect in effects):
            self._quiet.add(name)

    def _next_session(self) -> int:
        self._session += 1
        return self._session

    def _epoch(self, attempt: str) -> int:
        known = self.manager.attempt(AttemptId(attempt))
        return 1 if known is None else known.epoch

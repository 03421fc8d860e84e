"""A hive of GPUs on paper: the real brain places tasks of which this world knows the truth.

What is simulated: how tasks slow each other down on one GPU, how their memory grows, who runs out
of it when a GPU is full, and what a node would read and say of all that. The brain hears of it only
in events, as from real nodes; readings come when true use changes. The figures of the physics stand
below with their sources (docs/measurements, policy).
"""

from __future__ import annotations

import random
from collections import deque

from fluxhive.core.capability import CAPABILITIES
from fluxhive.core.effects import Dispatch
from fluxhive.core.events import (
    HiveEvent,
    NodeJoined,
    NodeReported,
    NodeSaid,
    TaskSubmitted,
    TimePassed,
)
from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.node import Inventory
from fluxhive.core.outcome import Blame, ExitFacts, GpuOom, GpuPeak, Outcome, OutcomeKind
from fluxhive.core.pieces import whole
from fluxhive.core.policy import DurationFrom, Policy
from fluxhive.core.reports import AttemptEnded, AttemptStarted
from fluxhive.core.request import Request, Reservation
from fluxhive.core.task import Attempt, TaskSpec, TaskState
from fluxhive.core.task_manager import HiveSnapshot, TaskManager
from fluxhive.core.values import AttemptId, GpuUuid, Mib, Ms, NodeId, TaskId

from .agenda import Agenda
from .sharing import Card, Run, slowdown
from .tally import Tally
from .workload import Job

#: A task takes so much of its peak from the start on.
START_PERCENT = 30
#: When a GPU is full, whoever grows is refused memory; one in five times a neighbour asks first.
NEIGHBOUR_ASKS = 0.2
#: What a refused allocation asked for, as part of the task's peak.
ASKED_PERCENT = 10
#: Nodes do not fall silent here.
_FOR_EVER_MS: Ms = 2**50
_CPUS, _MEMORY_MIB = 4096, 16 * 1024 * 1024


class PolicyWorld:
    """One run of a workload under one policy."""

    def __init__(
        self,
        jobs: list[Job],
        policy: Policy,
        *,
        n_nodes: int,
        gpu_mib: tuple[Mib, ...],
        seed: int = 1,
        snapshot: HiveSnapshot | None = None,
        trial_every_ms: Ms = 0,
    ) -> None:
        settings = HiveSettings(
            policy=policy,
            silent_after_ms=_FOR_EVER_MS,
            ended_tasks_max=1_000,
            heartbeat_ms=1_000,
            trial_every_ms=trial_every_ms,
        )
        self._policy = policy
        if snapshot is None:
            self.manager = TaskManager(settings=settings)
        else:
            self.manager = TaskManager.restore(snapshot, 0, settings=settings)
        self.agenda = Agenda()
        self.tally = Tally(jobs, n_gpus=n_nodes * len(gpu_mib))
        self._jobs = jobs
        self._gpus_per_node = len(gpu_mib)
        self._chance = random.Random(seed)
        #: Of one moment, and heard in this order: ends by GPU, what else nodes say, who comes.
        self._ends: list[tuple[NodeId, int, HiveEvent]] = []
        self._waiting: deque[HiveEvent] = deque()
        self._coming: deque[HiveEvent] = deque()
        self._cards: dict[GpuUuid, Card] = {}
        self._nodes: dict[NodeId, tuple[Card, ...]] = {}
        self._changed: dict[NodeId, None] = {}
        self._runs: dict[AttemptId, Run] = {}
        for index in range(n_nodes):
            self._add_node(NodeId(f"node-{index:03}"), gpu_mib)

    def run(self) -> Tally:
        """Every task to its end. Raises ``AssertionError`` when some can never end."""
        for job in self._jobs:
            self.agenda.at(job.submit_ms, self._submit, job)
        manager, agenda = self.manager, self.agenda
        while self.tally.n_open:
            self._settle()
            at_ms, due_ms = agenda.next_at_ms(), manager.next_wakeup()
            if due_ms is not None and due_ms < _FOR_EVER_MS and (at_ms is None or due_ms < at_ms):
                self._pass_to(due_ms)
                agenda.now_ms = due_ms
                self._hear(TimePassed())
                continue
            assert at_ms is not None, f"{self.tally.n_open} tasks wait for ever"
            self._pass_to(at_ms)
            # All of one moment happens before the hive hears any of it.
            while agenda.next_at_ms() == at_ms:
                agenda.step()
        return self.tally

    # ── what the hive hears and wants ─────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """All that is to be heard at this moment; readings last, as nodes take them."""
        while self._ends or self._waiting or self._coming or self._changed:
            while self._ends or self._waiting or self._coming:
                self._hear(self._next())
            changed, self._changed = self._changed, {}
            for node_id in changed:
                cards = self._nodes[node_id]
                reports = tuple(card.report() for card in cards)
                self._hear(NodeReported(node_id=node_id, session=1, gpus=reports))

    def _next(self) -> HiveEvent:
        if self._ends:
            self._ends.sort(key=lambda each: each[:2])
            return self._ends.pop(0)[2]
        return (self._waiting or self._coming).popleft()

    def _hear(self, event: HiveEvent) -> None:
        for effect in self.manager.handle(event, self.agenda.now_ms):
            if isinstance(effect, Dispatch) and effect.rank == 0:
                self._begin(effect.attempt)
        whole(self.manager.trial(event))

    def _say(self, attempt: Attempt, held: Reservation, outcome: Outcome, facts: ExitFacts) -> None:
        report = AttemptEnded(
            attempt_id=attempt.id, epoch=attempt.epoch, outcome=outcome, facts=facts
        )
        said = NodeSaid(node_id=held.node_id, session=1, report=report)
        self._ends.append((held.node_id, held.gpus[0].index, said))

    def _submit(self, job: Job) -> None:
        per_node = min(job.gpus, self._gpus_per_node)
        goes_by_limit = self._policy.duration is DurationFrom.LIMIT
        spec = TaskSpec(
            command=("python", f"{job.signature}.py"),
            project=job.project,
            request=Request(
                gpus=per_node,
                nodes=-(-job.gpus // per_node),
                gpu_memory_mib=job.declared_mib if job.gpus == 1 else None,
            ),
            time_limit_ms=job.limit_ms if goes_by_limit else None,
        )
        self._coming.append(
            TaskSubmitted(
                task_id=TaskId(f"t{job.number}"), number=job.number, owner=job.user, spec=spec
            )
        )

    # ── physics ───────────────────────────────────────────────────────────────────────────────

    def _begin(self, attempt: Attempt) -> None:
        job = self._jobs[int(attempt.task_id[1:])]
        cards = [self._cards[share.uuid] for held in attempt.reservations for share in held.gpus]
        used_mib = job.peak_mib * START_PERCENT // 100
        run = Run(job, attempt, cards, used_mib, self.agenda.now_ms)
        self._runs[attempt.id] = run
        self.tally.started(run)
        for card in cards:
            card.add(run)
            self._changed[card.node_id] = None
        for member in attempt.members:
            started = AttemptStarted(attempt_id=attempt.id, epoch=attempt.epoch, pid=1)
            self._waiting.append(NodeSaid(node_id=member.node_id, session=1, report=started))
        self._set_pace(cards)
        if len(cards) == 1:
            alone_ms = min(job.peak_after_ms, job.duration_ms / 2)
            self.agenda.after(round(alone_ms / run.pace), self._grow, run)

    def _set_pace(self, cards: list[Card]) -> None:
        """Whoever is on these GPUs goes on as fast as their company allows."""
        now_ms = self.agenda.now_ms
        for card in cards:
            pace = 1.0 / slowdown(card.runs)
            for run in card.runs:
                if run.pace != pace:
                    run.go_on(now_ms, pace)
                    self.agenda.at(now_ms + run.left_ms(), self._finish, run, run.version)
            if len(cards) > 1:
                return  # a gang has its GPUs alone: one is as good as all

    def _grow(self, run: Run) -> None:
        """It comes to its peak; what does not fit on the GPU ends somebody."""
        if run.is_over or run.has_peaked:
            return
        card = run.cards[0]
        others_mib = card.used_mib - run.used_mib
        run.has_peaked = True
        before_mib, run.used_mib = run.used_mib, run.job.peak_mib
        self._changed[card.node_id] = None
        if others_mib + run.used_mib <= card.total_mib:
            return
        refused = run
        if len(card.runs) > 1 and self._chance.random() < NEIGHBOUR_ASKS:
            refused = self._chance.choice(card.runs)
        if refused is run:
            self._run_out(run, card.total_mib - others_mib, before_mib)
        else:
            self._run_out(refused, refused.used_mib, refused.used_mib)

    def _run_out(self, run: Run, reached_mib: Mib, seen_mib: Mib) -> None:
        """A run is refused memory: it got as far as the GPU went, and dies."""
        peak_mib = run.job.peak_mib
        asked_mib = max(1, min(peak_mib * ASKED_PERCENT // 100, peak_mib - reached_mib))
        card = run.cards[0]
        share = run.attempt.reservation.gpus[0]
        own = reached_mib + asked_mib > share.gpu_memory_mib
        beyond = [each for each in card.runs if each is not run and each.exceeds]
        oom = GpuOom(
            blame=Blame.OWN if own else Blame.NEIGHBOUR,
            gpu=card.uuid,
            requested_mib=asked_mib,
            used_mib=reached_mib,
            reserved_mib=share.gpu_memory_mib,
            culprit=None if own or not beyond else beyond[0].attempt.id,
        )
        self.tally.ran_out(run, self.agenda.now_ms, len(card.runs))
        outcome = Outcome(kind=OutcomeKind.GPU_OOM, exit_code=1, detail="", oom=oom)
        self._end(run, outcome, seen_mib)

    def _finish(self, run: Run, version: int) -> None:
        if run.version == version and not run.is_over:
            self.tally.finished(run.job, self.agenda.now_ms)
            self._end(run, Outcome(kind=OutcomeKind.SUCCESS, exit_code=0), run.used_mib)

    def _end(self, run: Run, outcome: Outcome, peak_mib: Mib) -> None:
        run.is_over = True
        del self._runs[run.attempt.id]
        for card in run.cards:
            card.remove(run)
            self._changed[card.node_id] = None
        self.tally.left(run.cards)
        for member in run.attempt.members:
            facts = ExitFacts(
                exit_code=outcome.exit_code,
                gpu_peaks=tuple(
                    GpuPeak(uuid=share.uuid, peak_mib=peak_mib) for share in member.reservation.gpus
                ),
            )
            self._say(run.attempt, member.reservation, outcome, facts)
        if len(run.cards) == 1:
            self._set_pace(run.cards)
        if outcome.kind is not OutcomeKind.SUCCESS:
            # The hive decides what follows; a task that it fails is at its end.
            self.agenda.after(0, self._see_whether_failed, run.job)

    def _see_whether_failed(self, job: Job) -> None:
        self._settle()
        task = self.manager.task(TaskId(f"t{job.number}"))
        if task is not None and task.state is TaskState.FAILED:
            self.tally.failed(job)

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _pass_to(self, at_ms: Ms) -> None:
        self.tally.pass_to(at_ms, is_waiting=self.manager.n_queued() > 0)

    def _add_node(self, node_id: NodeId, gpu_mib: tuple[Mib, ...]) -> None:
        cards = tuple(
            Card(GpuUuid(f"{node_id}-{index}"), index, node_id, total_mib)
            for index, total_mib in enumerate(gpu_mib)
        )
        self._nodes[node_id] = cards
        self._cards.update((card.uuid, card) for card in cards)
        inventory = Inventory(
            cpus=_CPUS, memory_mib=_MEMORY_MIB, gpus=tuple(card.report() for card in cards)
        )
        self._hear(
            NodeJoined(
                node_id=node_id,
                session=1,
                incarnation=1,
                label=str(node_id),
                inventory=inventory,
                capabilities=CAPABILITIES,
            )
        )

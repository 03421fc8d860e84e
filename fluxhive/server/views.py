"""Tasks, attempts and nodes as people see them, made from the core's records and live readings.

Pure apart from reading memory; a page of a thousand tasks is made without a query.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from fluxhive.core.array import MemberCounts
from fluxhive.core.explain import Reason, warnings, word, word_of_array
from fluxhive.core.gang import live_members
from fluxhive.core.lines import LineKey
from fluxhive.core.memory import describe
from fluxhive.core.node import GpuReport, Node
from fluxhive.core.node_record import GpuReserved
from fluxhive.core.task import Attempt, AttemptState, Member, Task, TaskSpec
from fluxhive.core.values import AttemptId, Mib, NodeId
from fluxhive.protocol.rest import AttemptView, GpuView, MemberView, NodeView, ReasonView, TaskView

from .auth import Caller
from .hive import Hive
from .lookup import Found

#: Most different waits that one list explains: each asks every node.
LINES_EXPLAINED_MAX = 100
#: Stands for the value of an environment variable that the reader may not see.
MASK = "***"


class Views:
    """Makes views for one answer: nodes are looked up once. Short-lived."""

    def __init__(self, hive: Hive) -> None:
        self._hive = hive
        self._manager = hive.brain.manager
        self._nodes: dict[NodeId, Node | None] = {}
        self._used: dict[NodeId, dict[AttemptId, Mib]] = {}
        self._waits: dict[LineKey, list[Reason]] = {}

    # ── tasks ─────────────────────────────────────────────────────────────────────────────────

    def task(
        self, found: Found, caller: Caller, *, is_single: bool = False, warns: bool = False
    ) -> TaskView:
        """A task; ``is_single``: with all about why it waits; ``warns``: with what its author
        should know."""
        task, attempts = found
        live = attempts[-1] if attempts and attempts[-1].state is not AttemptState.ENDED else None
        nodes = () if live is None else [self._node(m.node_id) for m in live_members(live)]
        reasons = self._reasons(task, is_single=is_single)
        started = [a.started_at_ms for a in attempts if a.started_at_ms is not None]
        return TaskView(
            id=task.id,
            number=task.number,
            name=task.spec.name,
            owner=task.owner,
            state=task.state,
            word=word_of_array(task, self._manager.members_of(task.id))
            if task.spec.array is not None
            else word(task, live, nodes),
            reason=_reason(task, live),
            spec=shown_spec(task.spec, task.owner, caller),
            submitted_at_ms=task.submitted_at_ms,
            started_at_ms=started[0] if started else None,
            ended_at_ms=task.ended_at_ms,
            outcome=task.outcome,
            attempts=tuple(self._attempt(attempt) for attempt in attempts),
            waiting=tuple(shown_reason(reason) for reason in reasons),
            warnings=tuple(self.warnings(task.spec, task.owner)) if warns else (),
            project=task.project,
            priority=task.priority,
            original=None
            if task.original is None
            else shown_spec(task.original, task.owner, caller),
            edits=task.edits,
            members=self._members(task),
            array_id=task.array_id,
            member_index=task.member_index,
        )

    def _members(self, task: Task) -> MemberCounts | None:
        """How the members of an array stand; None: it is none."""
        if task.spec.array is None:
            return None
        if not task.state.is_final:
            return self._manager.members_of(task.id)
        return task.members or MemberCounts(cancelled=task.spec.array.count)

    def tasks(self, found: Iterable[Found], caller: Caller) -> tuple[TaskView, ...]:
        """Several tasks; those in line with why, as far as that costs little."""
        return tuple(self.task(each, caller) for each in found)

    def brief(self, found: Found, caller: Caller) -> TaskView:
        """A task as a list shows it: no environment, no history, the last attempt without facts."""
        view = self.task(found, caller)
        return replace(
            view,
            spec=replace(view.spec, env={}),
            attempts=tuple(
                replace(attempt, facts=None, members=(), late_report=None, estimate=None)
                for attempt in view.attempts[-1:]
            ),
            original=None,
            edits=(),
        )

    def _reasons(self, task: Task, *, is_single: bool) -> list[Reason]:
        if task.state.is_final:
            return []
        if is_single:
            return self._manager.explain(task.id)
        line = self._manager.line_of(task.id)
        if line is None:
            return []
        if line not in self._waits and len(self._waits) < LINES_EXPLAINED_MAX:
            self._waits[line] = self._manager.explain(task.id)
        return self._waits.get(line, [])

    def warnings(self, spec: TaskSpec, owner: str) -> list[str]:
        """What the author of a task should know at once."""
        return warnings(spec, self._manager.nodes(), owner)

    def _attempt(self, attempt: Attempt) -> AttemptView:
        node = self._node(attempt.node_id)
        return AttemptView(
            gpu_cap_mib=attempt.gpu_cap_mib,
            after=None if attempt.turn is None else attempt.turn.after,
            estimate=attempt.estimate,
            estimate_text="" if attempt.estimate is None else describe(attempt.estimate),
            id=attempt.id,
            number=attempt.number,
            epoch=attempt.epoch,
            state=attempt.state,
            node_id=attempt.node_id,
            node_label=attempt.node_id if node is None else node.label,
            reservation=attempt.reservation,
            reserved_at_ms=attempt.reserved_at_ms,
            started_at_ms=attempt.started_at_ms,
            ended_at_ms=attempt.ended_at_ms,
            pid=attempt.pid,
            outcome=attempt.outcome,
            facts=attempt.facts,
            late_report=attempt.late_report,
            gpu_memory_used_mib=self._gpu_memory_used(attempt),
            members=tuple(self._member(member) for member in attempt.gang),
            cause_rank=attempt.cause_rank,
        )

    def _member(self, member: Member) -> MemberView:
        node = self._node(member.node_id)
        return MemberView(
            rank=member.rank,
            node_id=member.node_id,
            node_label=member.node_id if node is None else node.label,
            state=member.state,
            reservation=member.reservation,
            pid=member.pid,
            outcome=member.outcome,
            facts=member.facts,
        )

    def _gpu_memory_used(self, attempt: Attempt) -> Mib | None:
        if attempt.state not in (AttemptState.RUNNING, AttemptState.STOPPING):
            return None
        if not attempt.reservation.gpus:
            return None
        held = (self._used_on(member.node_id).get(attempt.id) for member in attempt.members)
        known = [mib for mib in held if mib is not None]
        return sum(known) if known else None

    def _used_on(self, node_id: NodeId) -> dict[AttemptId, Mib]:
        used = self._used.get(node_id)
        if used is None:
            used = self._used[node_id] = {}
            readings = self._hive.sessions.latest(node_id)
            for gpu in () if readings is None else readings.gpus:
                for usage in gpu.attempts:
                    used[usage.attempt_id] = used.get(usage.attempt_id, 0) + usage.used_mib
        return used

    def _node(self, node_id: NodeId) -> Node | None:
        if node_id not in self._nodes:
            self._nodes[node_id] = self._manager.node(node_id)
        return self._nodes[node_id]

    # ── nodes ─────────────────────────────────────────────────────────────────────────────────

    def _problem(self, node: Node, problem: str) -> str:
        n_unknown = len(self._manager.unknown_on(node.id))
        if problem or not n_unknown:
            return problem
        return f"holds {n_unknown} attempts that this server does not know"

    def node(self, node: Node) -> NodeView:
        """A node with its newest readings and what is reserved on it."""
        readings = self._hive.sessions.latest(node.id)
        reserved = self._manager.reserved_on(node.id)
        held = {gpu.uuid: gpu for gpu in reserved.gpus}
        reports = {gpu.uuid: gpu for gpu in node.inventory.gpus}
        # The heartbeat's figures; whether a GPU is dirty or stale, the core knows best.
        for gpu in () if readings is None else readings.gpus:
            known = reports.get(gpu.uuid)
            if known is not None:
                reports[gpu.uuid] = _newest(gpu, known)
        inventory = node.inventory
        contact_at_ms = node.last_contact_at_ms
        age_ms = max(0, self._hive.clock.now_ms() - contact_at_ms) if contact_at_ms else None
        return NodeView(
            id=node.id,
            label=node.label,
            hostname=inventory.hostname,
            state=node.state,
            draining=node.draining,
            drain=node.drain,
            only_for=node.only_for,
            agent_version=node.agent_version,
            system=inventory.system,
            driver=inventory.driver,
            cpus=inventory.cpus,
            cpus_reserved=reserved.cpus,
            memory_mib=inventory.memory_mib,
            memory_used_mib=None if readings is None else readings.memory_used_mib,
            cpu_percent=None if readings is None else readings.cpu_percent,
            last_contact_age_ms=age_ms,
            problem=self._problem(node, "" if readings is None else readings.problem),
            unknown=self._manager.unknown_on(node.id),
            tags=inventory.tags,
            tasks_per_gpu_max=inventory.tasks_per_gpu_max,
            gpus=tuple(_gpu(report, held.get(report.uuid)) for report in reports.values()),
            attempts=tuple(attempt.id for attempt in self._manager.running_on(node.id)),
        )


def _reason(task: Task, live: Attempt | None) -> str:
    """Why it is in its state; of one that waits for another's place on its node also for whose."""
    if live is None or live.turn is None:
        return task.reason
    return f"{task.reason}, next after {live.turn.after}"


def shown_reason(reason: Reason) -> ReasonView:
    """A reason as people see it."""
    return ReasonView(
        code=reason.code.value,
        text=reason.text,
        blockers=reason.blockers,
        until_ms=reason.until_ms,
    )


def shown_spec(spec: TaskSpec, owner: str, caller: Caller) -> TaskSpec:
    """The spec, with the values of its environment hidden from those who may not see them."""
    if not spec.env or caller.may_see_secrets(owner):
        return spec
    return replace(spec, env=dict.fromkeys(spec.env, MASK))


def _newest(read: GpuReport, known: GpuReport) -> GpuReport:
    return replace(read, state=known.state, state_reason=known.state_reason, stale=known.stale)


def _gpu(report: GpuReport, held: GpuReserved | None) -> GpuView:
    if held is None:
        return GpuView(report=report)
    return GpuView(
        report=report,
        reserved_mib=held.reserved_mib,
        exclusive=held.exclusive,
        attempts=held.attempts,
    )

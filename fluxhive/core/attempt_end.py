"""How attempts are stopped and ended, and what that makes of their tasks.

Every end goes through ``end_member``: by the node's word, by the fence, or because a person gave
the node up. Called by task_manager.py, attempt_reports.py and node_contact.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from . import deadlines, nodes_off, use_watch
from .capability import missing, needed
from .gang import cause_of, live_members, outcome_of, with_members
from .going_back import HELD_BY_RESTORE, HELD_REASON
from .hive_state import HiveState
from .judge import has_exited, judge_again
from .node import NodeState
from .node_record import serving
from .oom_repair import repair
from .outcome import ExitFacts, Outcome, OutcomeKind, StopCause
from .placement import capacity_misfit
from .request import is_model
from .retry import Counted, RetryDecision, decide, describe, describe_detail
from .task import Attempt, AttemptState, Member, Task, TaskState
from .timers import TimerKind
from .values import Ms, NodeId

#: Times of preemptions that a task remembers; more than a day may have.
PREEMPTIONS_KEPT = 10


def stop_attempt(hive: HiveState, attempt: Attempt, cause: StopCause, why: str) -> None:
    """Begin to end all of an attempt that is not yet stopping."""
    stopping = _stopping(live_members(attempt))
    if not stopping:
        return
    attempt = replace(attempt, stop_cause=cause)
    hive.timers.cancel(TimerKind.LINGER, attempt.id)
    hive.put_attempt(with_members(attempt, *stopping), why)
    for member in stopping:
        hive.say_stop(member.node_id, attempt.id, attempt.epoch, cause)


def stop_unseen(hive: HiveState, attempt: Attempt) -> None:
    """Ask again after what is being cancelled where its node does not know it.

    The word to stop, or the answer to it, may be lost with a connection, and no hello names what a
    node does not know. That it is not there ends it: what a person cancels starts nowhere again,
    so that nothing runs twice even if it runs on unseen.
    """
    if hive.tasks[attempt.task_id].cancelled_by is None:
        return
    for member in live_members(attempt):
        if member.state is AttemptState.STOPPING and member.fenced_at_ms is not None:
            hive.say_stop(member.node_id, attempt.id, attempt.epoch, StopCause.CANCEL)


def end_member(
    hive: HiveState,
    attempt: Attempt,
    member: Member,
    outcome: Outcome,
    *,
    facts: ExitFacts | None = None,
    fenced_at_ms: Ms | None = None,
    excludes_node: bool = False,
) -> None:
    """Write down that a part of an attempt has ended; with the last part the attempt ends.

    ``facts`` come with the node's word; ``fenced_at_ms`` stands for an end without it.
    """
    if facts is not None:
        outcome = judge_again(outcome, facts, member.reservation)
    ended = replace(
        member,
        state=AttemptState.ENDED,
        ended_at_ms=hive.now_ms,
        outcome=outcome,
        facts=facts,
        fenced_at_ms=fenced_at_ms,
        excludes_node=excludes_node,
    )
    if fenced_at_ms is None:
        hive.nodes[member.node_id].clear_usage(attempt.id)
    hive.timers.cancel(TimerKind.FENCE, attempt.id, other=member.node_id)
    if excludes_node:
        nodes_off.exclude(hive, attempt.task_id, member.node_id)
    if attempt.gang:
        attempt = replace(attempt, cause_rank=cause_of(attempt, ended))
    over = with_members(attempt, ended)
    if over.state is AttemptState.ENDED:
        _end_attempt(hive, over)
    else:
        _end_others(hive, over, ended)


def _end_others(hive: HiveState, attempt: Attempt, ended: Member) -> None:
    """A member of a gang has ended: so do the others, at once or when they had their time."""
    assert ended.outcome is not None
    label = hive.nodes[ended.node_id].node.label
    why = f"rank {ended.rank} on {label} ended: {describe(ended.outcome)}"
    others = _stopping(live_members(attempt))
    if ended.outcome.kind is OutcomeKind.SUCCESS and len(others) == len(live_members(attempt)):
        hive.put_attempt(attempt, why)
        deadlines.watch_linger(hive, attempt)
        return
    hive.timers.cancel(TimerKind.LINGER, attempt.id)
    cause = attempt.stop_cause or StopCause.GANG
    hive.put_attempt(replace(with_members(attempt, *others), stop_cause=cause), why)
    for member in others:
        hive.say_stop(member.node_id, attempt.id, attempt.epoch, cause)


def _stopping(members: tuple[Member, ...]) -> tuple[Member, ...]:
    """Those that are not stopping yet, as stopping."""
    return tuple(
        replace(member, state=AttemptState.STOPPING)
        for member in members
        if member.state is not AttemptState.STOPPING
    )


def _end_attempt(hive: HiveState, attempt: Attempt) -> None:
    """All of it has ended: write that down, give back what it held, decide about its task."""
    task = hive.tasks[attempt.task_id]
    members = attempt.members
    cause = members[attempt.cause_rank or 0]
    assert cause.outcome is not None, f"{attempt.id} has ended as nothing"
    outcome = cause.outcome
    if attempt.gang:
        label = hive.nodes[cause.node_id].node.label
        outcome = outcome_of(attempt, describe_detail(outcome), label)
    if task.cancelled_by is not None and outcome.kind is not OutcomeKind.CANCELLED:
        # Cancel is final: whatever the exit says, the task was not wanted any more.
        outcome = replace(outcome, kind=OutcomeKind.CANCELLED)
    use_watch.ended(hive, attempt, outcome, cause.facts)
    ended = replace(attempt, ended_at_ms=hive.now_ms, outcome=outcome, facts=cause.facts)
    hive.put_attempt(ended, describe(outcome))
    if outcome.kind is OutcomeKind.GPU_OOM:
        task, decision = _repair(hive, task, ended, cause)
    else:
        decision = decide(task, outcome, cause.facts)
    if task.spec.at_most_once and decision.to is TaskState.QUEUED and _may_have_run(attempt):
        why = f"{describe(outcome)}; a part of it may have run, and it may be started only once"
        decision = RetryDecision(to=TaskState.FAILED, reason=why)
    excludes = any(member.excludes_node for member in members)
    if excludes and decision.to is TaskState.QUEUED and not _has_choice(hive, task):
        decision = RetryDecision(to=TaskState.FAILED, reason=_no_choice(task, outcome))
    elif decision.elsewhere or (outcome.kind is OutcomeKind.REFUSED and not cause.excludes_node):
        nodes_off.block(hive, task.id, cause.node_id)
    if decision.counted is Counted.RETRY and task.spec.retry_elsewhere:
        task = _keep_off(hive, task, cause.node_id)
    _carry_out(hive, task, decision, outcome)


def _may_have_run(attempt: Attempt) -> bool:
    """Whether any part of it was started, or nobody can say that it was not."""
    return any(
        member.started_at_ms is not None
        or member.fenced_at_ms is not None
        or (member.facts is not None and has_exited(member.facts))
        for member in attempt.members
    )


def _keep_off(hive: HiveState, task: Task, node_id: NodeId) -> Task:
    """The task, never placed on this node again if another is there that could hold it."""
    if node_id in task.kept_off or not _has_choice(hive, task, without=node_id):
        return task
    nodes_off.exclude(hive, task.id, node_id)
    return replace(task, kept_off=(*task.kept_off, node_id))


def _repair(
    hive: HiveState, task: Task, attempt: Attempt, cause: Member
) -> tuple[Task, RetryDecision]:
    """It ran out of GPU memory: what follows, and what its signature is known to need."""
    assert attempt.outcome is not None
    request = task.spec.request
    sizes = [
        report.total_mib
        for record in serving(hive.nodes, task.owner)
        for report in record.node.inventory.gpus
        if record.node.state is not NodeState.LOST and is_model(request, report.model)
    ]
    gpus = hive.nodes[cause.node_id].gpus
    held = [gpus[share.uuid] for share in cause.reservation.gpus if share.uuid in gpus]
    gpu_mib = max((gpu.report.total_mib for gpu in held), default=0)
    largest_mib = max(sizes, default=gpu_mib)
    found = repair(task, attempt, attempt.outcome, gpu_mib=gpu_mib, largest_mib=largest_mib)
    if found.floor_mib and task.signature:
        hive.book.learn_oom(task.signature, found.floor_mib)
    return found.task, found.decision


def _carry_out(hive: HiveState, task: Task, decision: RetryDecision, outcome: Outcome) -> None:
    again = decision.to is TaskState.QUEUED
    counted = decision.counted
    is_held = again and _may_run_elsewhere(hive, task)
    hive.put_task(
        replace(
            task,
            state=TaskState.HELD if is_held else decision.to,
            held_by=HELD_BY_RESTORE if is_held else None,
            ended_at_ms=None if again else hive.now_ms,
            not_before_ms=hive.now_ms + decision.delay_ms if again else 0,
            retries_used=task.retries_used + (counted is Counted.RETRY),
            restarts_used=task.restarts_used + (counted is Counted.RESTART),
            refusals=task.refusals + 1 if counted is Counted.REFUSAL else 0,
            outcome=outcome,
            preemptions=task.preemptions + (counted is Counted.PREEMPTION),
            preempted_at_ms=(*task.preempted_at_ms, hive.now_ms)[-PREEMPTIONS_KEPT:]
            if counted is Counted.PREEMPTION
            else task.preempted_at_ms,
            reason=f"{decision.reason}; {HELD_REASON}" if is_held else decision.reason,
        )
    )


def _may_run_elsewhere(hive: HiveState, task: Task) -> bool:
    """A backup was restored, so that the epoch is ahead of the attempts: a later one may run."""
    return hive.attempts[hive.attempts_of[task.id][-1]].epoch < task.epoch


def _has_choice(hive: HiveState, task: Task, *, without: NodeId | None = None) -> bool:
    """Whether enough nodes are there that could hold it and have not handed it back for good."""
    words = needed(task.spec)
    n_choices = sum(
        record.node.state is NodeState.READY
        and record.node.id != without
        and not nodes_off.is_excluded(hive, task.id, record.node.id)
        and not missing(words, record.node.capabilities)
        and capacity_misfit(task.spec.request, record.node.id, record.node.inventory) is None
        for record in serving(hive.nodes, task.owner)
    )
    return n_choices >= task.spec.request.nodes


def _no_choice(task: Task, outcome: Outcome) -> str:
    why = outcome.detail or "refused"
    if "; " in why:  # the node named the remedy
        return f"no node can run it: {why}"
    remedy = "give it what is missing there, or submit it for what the nodes have"
    if task.spec.workdir is not None:
        remedy = "submit it from a directory that exists on the nodes, or name one with `--workdir`"
    return f"no node can run it: {why}; {remedy}"

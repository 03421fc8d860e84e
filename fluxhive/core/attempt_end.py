"""How attempts are stopped and ended, and what that makes of their tasks.

Every end goes through ``end_attempt``: by the node's word, by the fence, or because a person gave
the node up. Called by task_manager.py and node_contact.py.
"""

from __future__ import annotations

from msgspec.structs import replace

from .hive_state import HiveState
from .node import NodeState
from .node_record import serving
from .outcome import ExitFacts, Outcome, OutcomeKind, StopCause
from .placement import capacity_misfit
from .retry import Counted, RetryDecision, decide, describe
from .task import Attempt, AttemptState, Task, TaskState
from .values import Ms


def stop_attempt(hive: HiveState, attempt: Attempt, cause: StopCause, why: str) -> None:
    """Begin to end an attempt that is not yet stopping."""
    hive.put_attempt(replace(attempt, state=AttemptState.STOPPING, stop_cause=cause), why)
    hive.say_stop(attempt.node_id, attempt.id, attempt.epoch, cause)


def end_attempt(
    hive: HiveState,
    attempt: Attempt,
    outcome: Outcome,
    *,
    facts: ExitFacts | None = None,
    fenced_at_ms: Ms | None = None,
    excludes_node: bool = False,
) -> None:
    """Write an attempt's end down, give its reservation back, and decide about its task.

    ``facts`` come with the node's word; ``fenced_at_ms`` stands for an end without it.
    """
    task = hive.tasks[attempt.task_id]
    if task.cancelled_by is not None and outcome.kind is not OutcomeKind.CANCELLED:
        # Cancel is final: whatever the exit says, the task was not wanted any more.
        outcome = replace(outcome, kind=OutcomeKind.CANCELLED)
    ended = replace(
        attempt,
        state=AttemptState.ENDED,
        ended_at_ms=hive.now_ms,
        outcome=outcome,
        facts=facts,
        fenced_at_ms=fenced_at_ms,
        excludes_node=excludes_node,
    )
    if fenced_at_ms is None:
        hive.nodes[attempt.node_id].clear_usage(attempt.id)
    hive.put_attempt(ended, describe(outcome))
    if excludes_node:
        hive.exclude(task.id, attempt.node_id)
    decision = decide(task, outcome, facts)
    if excludes_node and decision.to is TaskState.QUEUED and not _has_choice(hive, task):
        decision = RetryDecision(to=TaskState.FAILED, reason=_no_choice(task, outcome))
    elif decision.elsewhere or (decision.counted is Counted.REFUSAL and not excludes_node):
        hive.block(task.id, attempt.node_id)
    _carry_out(hive, task, decision, outcome)


def _carry_out(hive: HiveState, task: Task, decision: RetryDecision, outcome: Outcome) -> None:
    again = decision.to is TaskState.QUEUED
    counted = decision.counted
    hive.put_task(
        replace(
            task,
            state=decision.to,
            ended_at_ms=None if again else hive.now_ms,
            not_before_ms=hive.now_ms + decision.delay_ms if again else 0,
            retries_used=task.retries_used + (counted is Counted.RETRY),
            restarts_used=task.restarts_used + (counted is Counted.RESTART),
            refusals=task.refusals + 1 if counted is Counted.REFUSAL else 0,
            outcome=outcome,
            reason=decision.reason,
        )
    )


def _has_choice(hive: HiveState, task: Task) -> bool:
    """Whether some node that is there could hold the task and has not handed it back for good."""
    return any(
        record.node.state is NodeState.READY
        and not hive.is_excluded(task.id, record.node.id)
        and capacity_misfit(task.spec.request, record.node.id, record.node.inventory) is None
        for record in serving(hive.nodes, task.owner)
    )


def _no_choice(task: Task, outcome: Outcome) -> str:
    why = outcome.detail or "refused"
    remedy = "give it what is missing there, or submit it for what the nodes have"
    if task.spec.workdir is not None:
        remedy = "submit it from a directory that exists on the nodes, or name one with `--workdir`"
    return f"no node can run it: {why}; {remedy}"

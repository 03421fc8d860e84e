"""A hello that tells the truth as a hive knows it."""

from __future__ import annotations

from fluxhive.core.events import NodeJoined
from fluxhive.core.gang import member_of
from fluxhive.core.node import HeldAttempt, HeldPhase
from fluxhive.core.task import AttemptState
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import NodeId

_PHASES = {
    AttemptState.RESERVED: HeldPhase.PREPARING,
    AttemptState.STARTING: HeldPhase.LAUNCHING,
    AttemptState.RUNNING: HeldPhase.RUNNING,
    AttemptState.STOPPING: HeldPhase.STOPPING,
}


def true_hello(manager: TaskManager, node_id: NodeId, session: int) -> NodeJoined:
    """The node holds exactly what the hive believes of it."""
    node = manager.node(node_id)
    assert node is not None
    held = [(one, member_of(one, node_id).state) for one in manager.running_on(node_id)]
    return NodeJoined(
        node_id=node_id,
        session=session,
        incarnation=session,
        label=node.label,
        only_for=node.only_for,
        inventory=node.inventory,
        held=tuple(
            HeldAttempt(attempt_id=attempt.id, epoch=attempt.epoch, phase=_PHASES[state])
            for attempt, state in held
            if state is not AttemptState.ENDED
        ),
        boot_id=node.boot_id,
        capabilities=node.capabilities,
    )

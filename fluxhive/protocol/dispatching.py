"""From what the brain decided to the message, and from messages to what either machine is told.

Used at both ends of the wire, by a hive in one process, which has no wire, and by the simulator.
"""

from __future__ import annotations

from fluxhive.core import effects
from fluxhive.core.events import (
    ContactRenewed,
    DispatchReceived,
    ForgetReceived,
    NodeEvent,
    NodeJoined,
    StopReceived,
)
from fluxhive.core.task import TURN_MS, Task
from fluxhive.core.values import NodeId

from .agent import Dispatch, Forget, HeartbeatAck, Hello, Launch, ServerMessage, Stop


def launch_of(task: Task) -> Launch:
    """What a node needs of a task's spec to start it."""
    spec = task.spec
    return Launch(
        command=spec.command,
        executor=spec.executor,
        env=spec.env,
        workdir=spec.workdir,
        venv=spec.venv,
        merge_output=spec.merge_output,
        task_name=spec.name,
        owner=task.owner,
        python=spec.python,
        nproc_per_node=spec.nproc_per_node,
        code=spec.code,
        image=spec.image,
        mounts=spec.mounts,
    )


def dispatch_of(effect: effects.Dispatch, launch: Launch | None) -> Dispatch:
    """The message; without its launch where that travels another way."""
    attempt, spec, turn = effect.attempt, effect.task.spec, effect.attempt.turn
    member = attempt.members[effect.rank]
    return Dispatch(
        session=effect.session,
        attempt_id=attempt.id,
        task_id=attempt.task_id,
        epoch=attempt.epoch,
        channel=attempt.channel_of(member.rank),
        reservation=member.reservation if turn is None else turn.reservation,
        grace_ms=spec.grace_ms,
        time_limit_ms=spec.time_limit_ms,
        failover_ms=spec.failover_ms,
        checkpoint_signal=spec.checkpoint_signal,
        launch=launch,
        rank=member.rank,
        n_nodes=len(attempt.members),
        rendezvous=effect.rendezvous,
        gpu_cap_mib=attempt.gpu_cap_mib,
        after=None if turn is None else turn.after,
        turn_ms=0 if turn is None else TURN_MS,
    )


def received(message: Dispatch) -> DispatchReceived:
    """What the executor is told; the launch stays with the hands."""
    return DispatchReceived(
        session=message.session,
        attempt_id=message.attempt_id,
        task_id=message.task_id,
        epoch=message.epoch,
        channel=message.channel,
        reservation=message.reservation,
        grace_ms=message.grace_ms,
        time_limit_ms=message.time_limit_ms,
        failover_ms=message.failover_ms,
        checkpoint_signal=message.checkpoint_signal,
        rank=message.rank,
        n_nodes=message.n_nodes,
        rendezvous=message.rendezvous,
        gpu_cap_mib=message.gpu_cap_mib,
        after=message.after,
        turn_ms=message.turn_ms,
    )


def stop_of(effect: effects.Stop) -> Stop:
    """The message."""
    return Stop(
        session=effect.session,
        attempt_id=effect.attempt_id,
        epoch=effect.epoch,
        cause=effect.cause,
    )


def joined(hello: Hello, node_id: NodeId, session: int, only_for: str | None) -> NodeJoined:
    """What the brain is told of a hello, from a node whose token was checked."""
    return NodeJoined(
        node_id=node_id,
        session=session,
        incarnation=hello.incarnation,
        label=hello.label,
        only_for=only_for,
        inventory=hello.inventory,
        held=hello.held,
        journal=hello.journal,
        agent_version=hello.agent_version,
        boot_id=hello.boot_id,
        journal_id=hello.journal_id,
        sent_at_ms=hello.sent_at_ms,
        capabilities=hello.capabilities,
    )


def node_event(message: ServerMessage) -> NodeEvent | None:
    """What the executor is told of a message; None: it is not the executor's business."""
    match message:
        case HeartbeatAck():
            return ContactRenewed(sent_at_ms=message.sent_at_ms)
        case Dispatch():
            return received(message)
        case Stop():
            return StopReceived(
                session=message.session,
                attempt_id=message.attempt_id,
                epoch=message.epoch,
                cause=message.cause,
            )
        case Forget():
            return ForgetReceived(session=message.session, attempt_ids=message.attempt_ids)
        case _:
            return None

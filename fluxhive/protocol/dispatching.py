"""From what the brain decided to the message, and from the message to what the executor is told.

Used at both ends of the wire, and by a hive in one process, which has no wire.
"""

from __future__ import annotations

from fluxhive.core import effects
from fluxhive.core.events import DispatchReceived
from fluxhive.core.task import Task

from .agent import Dispatch, Launch


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
    )


def dispatch_of(effect: effects.Dispatch, launch: Launch | None) -> Dispatch:
    """The message; without its launch where that travels another way."""
    attempt, spec = effect.attempt, effect.task.spec
    member = attempt.members[effect.rank]
    return Dispatch(
        session=effect.session,
        attempt_id=attempt.id,
        task_id=attempt.task_id,
        epoch=attempt.epoch,
        channel=attempt.channel_of(member.rank),
        reservation=member.reservation,
        grace_ms=spec.grace_ms,
        time_limit_ms=spec.time_limit_ms,
        failover_ms=spec.failover_ms,
        launch=launch,
        rank=member.rank,
        n_nodes=len(attempt.members),
        rendezvous=effect.rendezvous,
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
        rank=message.rank,
        n_nodes=message.n_nodes,
        rendezvous=message.rendezvous,
    )

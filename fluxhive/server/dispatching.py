"""A ``Dispatch`` on the wire: made from what the brain decided and what the author wrote."""

from __future__ import annotations

from fluxhive.core import effects
from fluxhive.core.task import Task
from fluxhive.protocol.agent import Dispatch, Launch
from fluxhive.protocol.wire import encode_message

#: Larger launches are fetched by the node, so that a frame stays below 256 KiB.
LAUNCH_BYTES_MAX = 192 * 1024


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
    )


def encoded_dispatch(effect: effects.Dispatch) -> bytes:
    """Encoded once; without its launch when that is too large for a frame."""
    body = encode_message(_dispatch(effect, launch_of(effect.task)))
    if len(body) > LAUNCH_BYTES_MAX:
        body = encode_message(_dispatch(effect, None))
    return body


def _dispatch(effect: effects.Dispatch, launch: Launch | None) -> Dispatch:
    attempt, spec = effect.attempt, effect.task.spec
    return Dispatch(
        session=effect.session,
        attempt_id=attempt.id,
        task_id=attempt.task_id,
        epoch=attempt.epoch,
        channel=attempt.channel,
        reservation=attempt.reservation,
        grace_ms=spec.grace_ms,
        time_limit_ms=spec.time_limit_ms,
        failover_ms=spec.failover_ms,
        launch=launch,
    )

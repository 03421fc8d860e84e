"""A ``Dispatch`` in bytes, small enough for a frame."""

from __future__ import annotations

from fluxhive.core import effects
from fluxhive.protocol.dispatching import dispatch_of, launch_of
from fluxhive.protocol.wire import encode_message

#: Larger launches are fetched by the node, so that a frame stays below 256 KiB.
LAUNCH_BYTES_MAX = 192 * 1024


def encoded_dispatch(effect: effects.Dispatch) -> bytes:
    """Encoded once; without its launch when that is too large for a frame, or has secrets.

    Secrets are read when the node fetches the launch: none lies in a queue or is sent twice.
    """
    if effect.task.spec.secrets:
        return encode_message(dispatch_of(effect, None))
    body = encode_message(dispatch_of(effect, launch_of(effect.task)))
    if len(body) > LAUNCH_BYTES_MAX:
        body = encode_message(dispatch_of(effect, None))
    return body

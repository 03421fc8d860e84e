"""`fluxhive submit --code`: what is uploaded, said while it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fluxhive.cli import messages
from fluxhive.core.code import CodeSnapshot
from fluxhive.sdk.calls import Calls

if TYPE_CHECKING:
    from fluxhive.sdk.snapshot import Tree

LEFT_OUT_SHOWN = 5


def upload_code(client: Calls, directory: str) -> CodeSnapshot:
    """The snapshot of a directory, on the server."""
    return client.upload_code(directory, on_look=_say)


def _say(tree: Tree) -> None:
    from fluxhive.sdk.snapshot import show_bytes

    n_files = len(tree.files)
    messages.say(f"code: {show_bytes(tree.n_bytes)}, {n_files} file{'s' * (n_files != 1)}")
    for name, reason in tree.left_out[:LEFT_OUT_SHOWN]:
        messages.warn(f"left out: `{name}` {reason}")
    more = len(tree.left_out) - LEFT_OUT_SHOWN
    if more > 0:
        messages.warn(f"left out: {more} more")

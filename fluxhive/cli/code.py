"""`fluxhive submit --code`, `--mount`, `--workdir`: what is uploaded, and where the task runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fluxhive.cli import messages
from fluxhive.core.code import CodeSnapshot
from fluxhive.core.container import Mount
from fluxhive.core.errors import InputError
from fluxhive.sdk.client import Client

if TYPE_CHECKING:
    from fluxhive.sdk.snapshot import Tree

LEFT_OUT_SHOWN = 5


def upload_code(client: Client, directory: str) -> CodeSnapshot:
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


def mount(text: str) -> Mount:
    """What `--mount SRC:DST[:ro]` says."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or (len(parts) == 3 and parts[2] not in ("ro", "rw")):
        raise InputError(
            f"`--mount` takes SRC:DST or SRC:DST:ro: `{text[:100]}`",
            field="--mount",
            value=text,
            hint="such as --mount /data/imagenet:/data:ro; paths as they are on the nodes",
        )
    return Mount(source=parts[0], target=parts[1], read_only=parts[2:] == ["ro"])


def workdir(given: str | None, *, has_own_place: bool) -> str | None:
    """Where the task runs: here, unless it has a place of its own: its code, or a container."""
    if has_own_place:
        inside = None if given is None else os.path.normpath(given)
        return None if inside == "." else inside
    if given is not None:
        return os.path.abspath(given)
    try:
        here = os.getcwd()
    except FileNotFoundError as error:
        raise InputError(
            "this directory does not exist any more", field="--workdir", hint="cd to another one"
        ) from error
    # The path as the person sees it: a link to a shared file system is often the same everywhere.
    seen = os.environ.get("PWD", "")
    is_same = os.path.isabs(seen) and os.path.isdir(seen) and os.path.samefile(seen, here)
    return seen if is_same else here

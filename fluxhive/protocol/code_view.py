"""``GET /tasks/{task}/code``: the files of a task's code, and the text of one."""

from __future__ import annotations

from fluxhive.core.values import Value


class CodeFile(Value, frozen=True, kw_only=True):
    """A file of a snapshot: its path below the tree, and its size."""

    name: str
    n_bytes: int


class CodeListing(Value, frozen=True, kw_only=True):
    """Files of a snapshot in the order of their names, from the one that was asked for on."""

    sha256: str
    files: tuple[CodeFile, ...]
    #: How many there are with the text that was asked for in their names.
    total: int
    #: Where to go on; None: these are the last.
    next: int | None = None


class CodeText(Value, frozen=True, kw_only=True):
    """What one of them holds."""

    name: str
    n_bytes: int
    #: From its beginning; None: it is no text (UTF-8 without NUL).
    text: str | None
    #: The file goes on beyond it.
    is_cut: bool = False

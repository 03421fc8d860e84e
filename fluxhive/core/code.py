"""A snapshot of code: how a task names one, how large it may be, and what its archive may hold.

An archive is a plain tar (POSIX pax) of regular files, sorted by name, without owners, times or
compression, so that the same files always give the same bytes and the same hash. Whoever unpacks
one trusts nothing in it: ``entry_problem`` says of each entry whether it may be made at all. Pure:
archives are written in ``sdk/snapshot.py`` and unpacked in ``agent/unpack.py``.
"""

from __future__ import annotations

import re

from .errors import InputError
from .values import Value

#: Larger trees hold data, not code; they belong on a file system that the nodes share.
CODE_BYTES_MAX = 256 * 1024 * 1024
CODE_FILES_MAX = 50_000
#: Of a name within the tree: Linux takes 4,096 with the path of the run directory before it.
NAME_BYTES_MAX = 2_048
#: NAME_MAX of the usual file systems.
PART_BYTES_MAX = 255
DEPTH_MAX = 64
#: Each file costs a header, and its contents are padded to whole blocks.
BLOCK_BYTES = 512
END_BYTES = 10_240

_SHA256 = re.compile(r"[0-9a-f]{64}")
#: Type flags of entries that are no regular file (POSIX ustar, GNU tar), in words.
_KINDS = {
    "1": "a hard link",
    "2": "a symbolic link",
    "3": "a character device",
    "4": "a block device",
    "5": "a directory entry",
    "6": "a FIFO",
    "7": "a contiguous file",
    "g": "a global header",
    "K": "a long link name of GNU tar",
    "L": "a long name of GNU tar",
    "S": "a sparse file",
}
REGULAR = "0"
_SPECIAL_BITS = 0o7000


class CodeSnapshot(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code of a task as it was at ``submit``: the name of an archive that was uploaded."""

    #: SHA-256 of the archive, in hex.
    sha256: str
    n_bytes: int
    n_files: int


class Entry(Value, frozen=True, kw_only=True):
    """What an archive says about one of its entries."""

    name: str
    #: The type flag.
    kind: str
    mode: int
    n_bytes: int


def check_code(code: CodeSnapshot) -> None:
    """Raises ``InputError`` for what cannot name an archive of ours."""
    if not _SHA256.fullmatch(code.sha256):
        raise InputError(
            "code.sha256: not a SHA-256 in hex",
            hint="upload the archive first: PUT /api/v1/blobs/<sha256>",
            field="code.sha256",
            value=code.sha256[:100],
        )
    if not 0 < code.n_bytes <= CODE_BYTES_MAX:
        raise InputError(
            f"code.n_bytes: must be between 1 and {CODE_BYTES_MAX}: {code.n_bytes}",
            hint="leave data out of it, by .gitignore or .fluxhiveignore",
            field="code.n_bytes",
            value=code.n_bytes,
        )
    if not 0 < code.n_files <= CODE_FILES_MAX:
        raise InputError(
            f"code.n_files: must be between 1 and {CODE_FILES_MAX}: {code.n_files}",
            hint="leave data out of it, by .gitignore or .fluxhiveignore",
            field="code.n_files",
            value=code.n_files,
        )


def is_sha256(text: str) -> bool:
    """Whether it can name an archive; anything else never becomes part of a path."""
    return _SHA256.fullmatch(text) is not None


def name_problem(name: str) -> str | None:
    """Why a file of this name is not taken into an archive, nor out of one; None: it is."""
    if not name:
        return "it has no name"
    if len(name.encode(errors="surrogateescape")) > NAME_BYTES_MAX:
        return f"its name is longer than {NAME_BYTES_MAX} bytes"
    parts = name.split("/")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "its name is absolute"
    if ".." in parts or "." in parts or "" in parts:
        return "its name is not a plain path below the tree"
    if "\\" in name:
        return "its name holds a backslash"
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        return "its name holds a control character"
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "its name is not UTF-8"
    if len(parts) > DEPTH_MAX:
        return f"it lies deeper than {DEPTH_MAX} directories"
    if any(len(part.encode()) > PART_BYTES_MAX for part in parts):
        return f"a part of its name is longer than {PART_BYTES_MAX} bytes"
    return None


def entry_problem(
    entry: Entry, *, n_before: int, bytes_before: int, limits: CodeSnapshot
) -> str | None:
    """Why an entry is not made; None: it may be. ``limits`` is what the task said beforehand."""
    if entry.kind != REGULAR:
        return f"it is {_KINDS.get(entry.kind, f'of the unknown kind `{entry.kind}`')}"
    problem = name_problem(entry.name)
    if problem is not None:
        return problem
    if entry.mode & _SPECIAL_BITS:
        return "it is setuid, setgid or sticky"
    if n_before >= limits.n_files:
        return f"there are more than the {limits.n_files} files that were said"
    if entry.n_bytes < 0 or bytes_before + entry.n_bytes > limits.n_bytes:
        return f"its files hold more than the {limits.n_bytes} bytes that were said"
    return None


def archive_bytes(sizes: int, n_files: int) -> int:
    """At least so large is an archive of files of these sizes together, padding left out."""
    return sizes + n_files * BLOCK_BYTES + END_BYTES

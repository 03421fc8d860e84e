"""The headers of an archive of code, read from bytes that are not trusted.

An archive of ours is a plain tar of regular files: ustar headers, and pax headers that give a
longer name. Anything else in a header is refused. Pure: who reads the bytes, and what for, is
elsewhere: ``agent/unpack.py`` makes the files, ``server/code_files.py`` shows them. What an entry
may be called and how large it may be says ``core/code.py``.
"""

from __future__ import annotations

from typing import NamedTuple

from .code import BLOCK_BYTES, REGULAR

#: The type flag of a pax header.
PAX = "x"
#: A pax header holds one name; more memory than this is never taken for one.
PAX_BYTES_MAX = 16 * 1024


class BadArchive(Exception):
    """It is not what it should be; carries one sentence."""


class Header(NamedTuple):
    """What a ustar header says of its entry."""

    name: str
    #: The type flag.
    kind: str
    mode: int
    n_bytes: int


def header_of(block: bytes) -> Header:
    """A ustar header (POSIX pax, section "ustar Interchange Format"). Raises ``BadArchive``."""
    if block[257:263] != b"ustar\0":
        raise BadArchive("it is no plain tar archive of ours")
    checksum = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if _octal(block[148:156], "checksum") != checksum:
        raise BadArchive("a header of it is damaged")
    name, prefix = _text(block[:100]), _text(block[345:500])
    return Header(
        name=f"{prefix}/{name}" if prefix else name,
        kind=block[156:157].decode("latin-1").replace("\0", REGULAR),
        mode=_octal(block[100:108], "mode"),
        n_bytes=_octal(block[124:136], "size"),
    )


def check_pax(n_bytes: int) -> None:
    """Raises ``BadArchive`` for a pax header that is not worth reading."""
    if n_bytes > PAX_BYTES_MAX:
        raise BadArchive(f"a pax header of {n_bytes} bytes is refused")


def pax_name(data: bytes) -> str:
    """The name that a pax header gives; one that gives anything else is none of ours."""
    length, _, rest = data.partition(b" ")
    key, _, value = rest.partition(b"=")
    is_one = length.isdigit() and int(length) == len(data) and value.endswith(b"\n")
    if not is_one or key != b"path":
        raise BadArchive("a pax header that gives anything but a name is refused")
    return value[:-1].decode("utf-8", "surrogateescape")


def padding(n_bytes: int) -> int:
    """How many bytes follow contents of this length up to the next header."""
    return -n_bytes % BLOCK_BYTES


def _octal(field: bytes, what: str) -> int:
    text = field.rstrip(b"\0 ").lstrip(b" ")
    if not text or text.strip(b"01234567"):
        # Also GNU tar's other way to write large numbers, which nothing of ours needs.
        raise BadArchive(f"a header's {what} is no octal number")
    return int(text, 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")

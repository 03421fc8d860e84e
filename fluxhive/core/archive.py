"""The headers of an archive of code, read from bytes that are not trusted.

An archive of ours is a plain tar of regular files: ustar headers, and pax headers that give a
longer name. Anything else in a header is refused. Pure: who reads the bytes, and what for, is
elsewhere: ``agent/unpack.py`` makes the files, ``server/code_files.py`` shows them. What an entry
may be called and how large it may be says ``core/code.py``.
"""

from __future__ import annotations

from typing import NamedTuple

from .code import BLOCK_BYTES, REGULAR, CodeSnapshot, Entry, entry_problem

#: The type flag of a pax header.
PAX = "x"
#: A pax header holds one name; more memory than this is never taken for one.
PAX_BYTES_MAX = 16 * 1024
#: Of a name that is refused.
_SHOWN_CHARS = 100


class BadArchive(Exception):
    """It is not what it should be; carries one sentence."""


class Header(NamedTuple):
    """What a ustar header says of its entry."""

    name: str
    #: The type flag.
    kind: str
    mode: int
    n_bytes: int


class Entries:
    """The entries of an archive, header by header, against what was promised of it.

    Whoever reads gives each header to ``entry``; where that answers None it was a pax header, whose
    ``pax_bytes`` of contents go to ``name`` before the next.
    """

    def __init__(self, limits: CodeSnapshot) -> None:
        self._limits = limits
        self.n_files = 0
        self._n_bytes = 0
        self._long_name: str | None = None
        self.pax_bytes = 0

    def entry(self, block: bytes) -> Entry | None:
        """The file that begins here, counted. Raises ``BadArchive`` for anything else."""
        header = header_of(block)
        if header.kind == PAX and self._long_name is None:
            if header.n_bytes > PAX_BYTES_MAX:
                raise BadArchive(f"a pax header of {header.n_bytes} bytes is refused")
            self.pax_bytes = header.n_bytes
            return None
        entry = Entry(
            name=header.name if self._long_name is None else self._long_name,
            kind=header.kind,
            mode=header.mode,
            n_bytes=header.n_bytes,
        )
        self._long_name = None
        problem = entry_problem(
            entry, n_before=self.n_files, bytes_before=self._n_bytes, limits=self._limits
        )
        if problem is not None:
            raise BadArchive(f"entry `{shown(entry.name)}` is refused: {problem}")
        self.n_files, self._n_bytes = self.n_files + 1, self._n_bytes + entry.n_bytes
        return entry

    def name(self, data: bytes) -> None:
        """The contents of the pax header that came last."""
        self._long_name = pax_name(data)


def shown(name: str) -> str:
    """A name for a person: what is no text is told as such, and not more than fits on a line."""
    return name.encode("utf-8", "backslashreplace").decode()[:_SHOWN_CHARS]


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

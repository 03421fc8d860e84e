"""Unpacks the archive of a task's code into a fresh directory, trusting nothing that it says.

An archive of ours is a plain tar of regular files (``sdk/snapshot.py``), so this reads just that:
ustar headers, and pax headers that give a longer name (``core/archive.py``). Whatever else there
is, each kind of link, device and directory entry and every name that leads elsewhere, ends it
(``core/code.py``). How much it may make was said by the task and is counted while it is made.
Nothing is compressed, so nothing can grow. Files are made by descriptor below their directory, new,
without following links.
"""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

from fluxhive.core.archive import BadArchive, Entries, padding, shown
from fluxhive.core.code import BLOCK_BYTES, CodeSnapshot, Entry

COPY_BYTES = 1 << 20
_SAFE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE
_OPEN_DIRECTORY = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _SAFE


def unpack(archive: BinaryIO, target: str, code: CodeSnapshot) -> None:
    """Makes the directory ``target``, which must not exist, and all files of the archive in it.

    Raises ``BadArchive``, and ``OSError`` for what the disk does not take; then ``target`` holds
    what was made until then.
    """
    os.mkdir(target, 0o700)
    root = os.open(target, _OPEN_DIRECTORY)
    try:
        n_files = _entries(archive, root, code)
    finally:
        os.close(root)
    if n_files != code.n_files:
        raise BadArchive(f"it holds {n_files} files instead of {code.n_files}")


def _entries(archive: BinaryIO, root: int, code: CodeSnapshot) -> int:
    entries = Entries(code)
    while (block := _block(archive)).strip(b"\0"):
        entry = entries.entry(block)
        if entry is None:
            entries.name(_contents(archive, entries.pax_bytes))
        else:
            _make(archive, root, entry)
    return entries.n_files


def _make(archive: BinaryIO, root: int, entry: Entry) -> None:
    *folders, name = entry.name.split("/")
    here = os.dup(root)
    try:
        for folder in folders:
            below = _folder(here, folder)
            os.close(here)
            here = below
        mode = 0o755 if entry.mode & 0o100 else 0o644
        descriptor = os.open(name, _NEW_FILE, mode, dir_fd=here)
    except FileExistsError as error:
        raise BadArchive(f"entry `{shown(entry.name)}` is refused: it comes twice") from error
    except NotADirectoryError as error:
        text = f"entry `{shown(entry.name)}` is refused: it lies below a file"
        raise BadArchive(text) from error
    finally:
        os.close(here)
    with open(descriptor, "wb", buffering=0) as file:
        left = entry.n_bytes
        while left:
            piece = archive.read(min(COPY_BYTES, left))
            if not piece:
                raise BadArchive("it ends in the middle of a file")
            _write_all(file.fileno(), piece)
            left -= len(piece)
    _skip_padding(archive, entry.n_bytes)


def _folder(parent: int, name: str) -> int:
    # Made for a file before; were it no directory, the open says so.
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    return os.open(name, _OPEN_DIRECTORY, dir_fd=parent)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _block(archive: BinaryIO) -> bytes:
    block = archive.read(BLOCK_BYTES)
    if len(block) != BLOCK_BYTES:
        raise BadArchive("it ends before its end mark")
    return block


def _contents(archive: BinaryIO, n_bytes: int) -> bytes:
    data = archive.read(n_bytes)
    if len(data) != n_bytes:
        raise BadArchive("it ends in the middle of a header")
    _skip_padding(archive, n_bytes)
    return data


def _skip_padding(archive: BinaryIO, n_bytes: int) -> None:
    rest = padding(n_bytes)
    if rest and len(archive.read(rest)) != rest:
        raise BadArchive("it ends in the middle of a file")

"""What a disk may hold after a power cut: images made from a record of what a process wrote.

``watched`` gives the environment in which a process records every change below a directory
(native/disk.c). ``crash_images`` replays such a record up to any moment: what was synced by then is
there; of what was not, nothing, all, the first part, or any pages are. Names follow the same rule:
a new, renamed or removed file is certain only once its directory (a new one: itself) was synced.

A process writes what it has acknowledged into a file named ``acknowledged`` in the same directory,
one line each; ``Image.acknowledged`` holds the lines that were written before the cut.

The same preloaded file makes a disk fail while a file holds a word (``failing``).
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parent / "native" / "disk.c"
ACKNOWLEDGED = "acknowledged"
PAGE_BYTES = 4096

_HEAD = struct.Struct("<cHIQ")


def library(directory: Path) -> Path:
    """The preloadable disk, compiled; skips the test where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler here")
    target = directory / "disk.so"
    if not target.exists():
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(target), str(SOURCE)]
        subprocess.run([*command, "-ldl", "-lpthread"], check=True)
    return target


def watched(library: Path, directory: Path, record: Path) -> dict[str, str]:
    """The environment of a process whose changes below ``directory`` are recorded."""
    own = {"LD_PRELOAD": str(library), "DISK_DIR": str(directory), "DISK_LOG": str(record)}
    return {**os.environ, **own}


def failing(library: Path, directory: Path, word_file: Path) -> dict[str, str]:
    """The environment of a process whose disk below ``directory`` does what ``word_file`` says."""
    own = {"LD_PRELOAD": str(library), "DISK_DIR": str(directory), "DISK_FAULT": str(word_file)}
    return {**os.environ, **own}


class Change(NamedTuple):
    """One record of native/disk.c."""

    kind: str
    path: str
    offset: int
    data: bytes


def read_record(path: Path) -> list[Change]:
    """All changes in their order; a record that a kill cut short is left out."""
    raw, at, found = path.read_bytes(), 0, []
    while at + _HEAD.size <= len(raw):
        kind, n_path, n_data, offset = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        name, data = raw[at : at + n_path], raw[at + n_path : at + n_path + n_data]
        at += n_path + n_data
        if at <= len(raw):
            found.append(Change(kind.decode(), name.decode(), offset, data))
    return found


@dataclass
class _File:
    """One inode: its durable bytes, and the changes since, in order."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)
    #: Threads that are syncing it: how many of the pending changes their sync covers.
    syncing: dict[int, int] = field(default_factory=dict)

    def sync_done(self, thread: int) -> None:
        covered = self.syncing.pop(thread, 0)
        for change in self.pending[:covered]:
            _apply(self.durable, change)
        del self.pending[:covered]
        self.syncing = {each: max(0, n - covered) for each, n in self.syncing.items()}


@dataclass(eq=False)
class _Name:
    """A change of names that is not certain yet."""

    kind: str
    path: str
    target: str
    file: _File | None


class Image(NamedTuple):
    """A disk after a power cut."""

    #: How many changes had happened.
    cut: int
    #: Relative path → bytes.
    files: dict[str, bytes]
    acknowledged: list[str]

    def write(self, directory: Path) -> None:
        """Makes a directory of it; what was there before goes."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        for name, data in self.files.items():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def crash_images(changes: list[Change], root: Path, n_images: int, seed: int) -> Iterator[Image]:
    """Images at random moments, in the order of time; the same seed gives the same ones."""
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(1, len(changes) + 1) for _ in range(n_images))
    disk = _Disk(str(root))
    done = 0
    for cut in cuts:
        for change in changes[done:cut]:
            disk.change(change)
        done = cut
        yield disk.image(cut, chance)


class _Disk:
    def __init__(self, root: str) -> None:
        self._root = root
        self._live: dict[str, _File] = {}
        self._durable: dict[str, _File] = {}
        self._names: list[_Name] = []
        self._acknowledged = b""

    def change(self, change: Change) -> None:
        if change.path == f"{self._root}/{ACKNOWLEDGED}":
            self._acknowledged += change.data if change.kind == "w" else b""
            return
        match change.kind:
            case "c":
                file = self._live[change.path] = _File()
                self._names.append(_Name("c", change.path, "", file))
            case "r":
                target = change.data.decode()
                moved = self._live.pop(change.path, None)
                if moved is not None:
                    self._live[target] = moved
                    self._names.append(_Name("r", change.path, target, moved))
            case "u":
                self._live.pop(change.path, None)
                self._names.append(_Name("u", change.path, "", None))
            case "w" | "t":
                if change.path in self._live:
                    self._live[change.path].pending.append(change)
            case "b":
                if change.path in self._live:
                    synced = self._live[change.path]
                    synced.syncing[change.offset] = len(synced.pending)
            case "s":
                self._synced(change)

    def _synced(self, change: Change) -> None:
        file = self._live.get(change.path)
        if file is not None:
            file.sync_done(change.offset)
            made = [n for n, name in enumerate(self._names) if name.file is file]
            before = self._names[: made[0] + 1] if made else []
            # What became of an older file of that name happened before, so it is certain too.
            sure = [name for name in before if name.path == change.path]
        else:
            sure = [n for n in self._names if os.path.dirname(n.target or n.path) == change.path]
        for name in sure:
            _rename(self._durable, name)
        self._names = [name for name in self._names if name not in sure]

    def image(self, cut: int, chance: random.Random) -> Image:
        names = dict(self._durable)
        for name in self._names[: chance.randrange(len(self._names) + 1)]:
            _rename(names, name)
        how = chance.choice(("nothing", "everything", "first", "any"))
        files = {
            os.path.relpath(path, self._root): _content(file, how, chance)
            for path, file in names.items()
        }
        return Image(cut, files, self._acknowledged.decode().splitlines())


def _rename(names: dict[str, _File], name: _Name) -> None:
    if name.kind == "c" and name.file is not None:
        names[name.path] = name.file
    elif name.kind == "u":
        names.pop(name.path, None)
    elif name.path in names:
        names[name.target] = names.pop(name.path)


def _content(file: _File, how: str, chance: random.Random) -> bytes:
    data = bytearray(file.durable)
    pending = file.pending
    if how == "nothing":
        pending = []
    elif how == "first":
        pending = pending[: chance.randrange(len(pending) + 1)]
    for change in pending:
        if how != "any":
            _apply(data, change)
        elif change.kind == "t":
            if chance.random() < 0.5:
                _apply(data, change)
        else:
            for part in _pages(change):
                if chance.random() < 0.5:
                    _apply(data, part)
    return bytes(data)


def _pages(change: Change) -> Iterator[Change]:
    """A write in the parts that a disk takes as a whole."""
    at = change.offset
    end = change.offset + len(change.data)
    while at < end:
        until = min(end, (at // PAGE_BYTES + 1) * PAGE_BYTES)
        part = change.data[at - change.offset : until - change.offset]
        yield Change("w", change.path, at, part)
        at = until


def _apply(data: bytearray, change: Change) -> None:
    if change.kind == "t":
        if change.offset <= len(data):
            del data[change.offset :]
        else:
            data.extend(bytes(change.offset - len(data)))
        return
    if change.offset > len(data):
        data.extend(bytes(change.offset - len(data)))
    data[change.offset : change.offset + len(change.data)] = change.data

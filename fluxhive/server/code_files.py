"""What lies in a task's code, shown to people: its files, and the text of one.

Nothing is unpacked: a name is only ever looked for among those that the archive gives, and bytes
are read at the place where it has them, so that no name leads anywhere else. The archive came from
a user and is not trusted (``core/archive.py``); what may be in it is what a node would take out of
it (``core/code.py``). Everything here blocks; ``CodeStore`` calls it in threads.
"""

from __future__ import annotations

import codecs
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from fluxhive.core.archive import Entries, padding
from fluxhive.core.code import BLOCK_BYTES, CodeSnapshot
from fluxhive.core.errors import NotFound
from fluxhive.protocol.code_view import CodeText

from .blobs import BlobStore

#: More of a file is not code that a person reads on a page.
TEXT_BYTES_MAX = 256 * 1024
#: Listings that are kept, of at most 50,000 names each: people click from file to file.
_LISTINGS_MAX = 4


class FileAt(NamedTuple):
    """A file of an archive, and where its bytes begin there."""

    name: str
    n_bytes: int
    offset: int


class CodeFiles:
    """See the module's docstring."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[FileAt, ...]] = OrderedDict()

    def listing(self, owner: str, code: CodeSnapshot) -> tuple[FileAt, ...]:
        """All files, by name. Raises ``NotFound`` when it is not kept any more, ``BadArchive``."""
        key = (owner, code.sha256)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with _open(self._blobs, owner, code) as archive:
            found = tuple(sorted(_entries(archive, code)))
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _LISTINGS_MAX:
                self._kept.popitem(last=False)
        return found

    def text(self, owner: str, code: CodeSnapshot, name: str) -> CodeText:
        """The text of the file of this name. Raises ``NotFound``, ``BadArchive``."""
        found = next((each for each in self.listing(owner, code) if each.name == name), None)
        if found is None:
            raise NotFound(f"no file of this code is called `{name[:200]}`")
        with _open(self._blobs, owner, code) as archive:
            archive.seek(found.offset)
            data = archive.read(min(found.n_bytes, TEXT_BYTES_MAX))
        is_cut = found.n_bytes > TEXT_BYTES_MAX
        return CodeText(
            name=name, n_bytes=found.n_bytes, text=_text(data, is_cut=is_cut), is_cut=is_cut
        )


def _open(blobs: BlobStore, owner: str, code: CodeSnapshot) -> BinaryIO:
    try:
        return blobs.open(owner, code.sha256)
    except NotFound as error:
        raise NotFound(
            "this code is not kept any more: it goes a day after its last task has ended"
        ) from error


def _entries(archive: BinaryIO, code: CodeSnapshot) -> Iterator[FileAt]:
    entries = Entries(code)
    while (block := archive.read(BLOCK_BYTES)).strip(b"\0"):
        entry = entries.entry(block)
        if entry is None:
            entries.name(archive.read(entries.pax_bytes))
            archive.seek(padding(entries.pax_bytes), 1)
            continue
        yield FileAt(entry.name, entry.n_bytes, archive.tell())
        archive.seek(entry.n_bytes + padding(entry.n_bytes), 1)


def _text(data: bytes, *, is_cut: bool) -> str | None:
    """As text; None: it is none. Where it is cut, its last character may be cut, too."""
    if b"\0" in data:
        return None
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=not is_cut)
    except UnicodeDecodeError:
        return None

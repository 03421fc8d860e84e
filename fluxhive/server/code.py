"""The code of tasks at the server: uploaded as blobs, checked at ``submit``, given to nodes.

Puts ``BlobStore``, which blocks, in front of routes that must not: everything that writes goes
through one thread, in order. What no living task refers to is collected in time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from fluxhive.core.archive import BadArchive
from fluxhive.core.code import CodeSnapshot
from fluxhive.core.errors import Conflict, InputError, NotFound
from fluxhive.core.task import Task, TaskSpec
from fluxhive.protocol.code_view import CodeText
from fluxhive.protocol.rest import BlobView

from .blobs import BlobStore, folder_of
from .brain import Brain
from .code_files import CodeFiles, FileAt

log = logging.getLogger(__name__)

COLLECT_S = 600.0
#: Nodes that read at the same time, and people who look; more wait.
READERS = 4

_T = TypeVar("_T")


class CodeStore:
    """See the module's docstring. ``run`` while the server lives."""

    def __init__(self, blobs: BlobStore, brain: Brain) -> None:
        self._blobs = blobs
        self._brain = brain
        self._writer = anyio.CapacityLimiter(1)
        self._readers = anyio.CapacityLimiter(READERS)
        self._lookers = anyio.CapacityLimiter(READERS)
        self._files = CodeFiles(blobs)

    async def look(self, owner: str, sha256: str) -> BlobView:
        """How much there is of a blob."""
        return await anyio.to_thread.run_sync(self._blobs.look, owner, sha256, limiter=self._writer)

    async def write(
        self, owner: str, sha256: str, *, offset: int, size: int, data: bytes
    ) -> BlobView:
        """Takes a piece of a blob."""
        needed = {
            task.spec.code.sha256
            for task in self._living()
            if task.spec.code is not None and task.owner == owner
        }
        return await anyio.to_thread.run_sync(
            partial(
                self._blobs.write,
                owner,
                sha256,
                offset=offset,
                size=size,
                data=data,
                is_needed=needed.__contains__,
            ),
            limiter=self._writer,
        )

    async def check(self, owner: str, specs: Iterable[TaskSpec]) -> None:
        """Raises ``InputError`` for code that its owner did not upload."""
        wanted = {spec.code.sha256: spec.code for spec in specs if spec.code is not None}
        for sha256, code in wanted.items():
            size = await anyio.to_thread.run_sync(
                self._blobs.size, owner, sha256, limiter=self._writer
            )
            if size != code.n_bytes:
                what = "was not uploaded" if size is None else f"has {size} bytes"
                raise InputError(
                    f"code: the archive {sha256[:12]}… {what}",
                    field="code",
                    value=sha256,
                    hint="upload it first: PUT /api/v1/blobs/<sha256>, or `fluxhive submit --code`",
                )

    async def read(self, task: Task, offset: int, limit: int) -> bytes:
        """A piece of a task's code. Raises ``NotFound`` when it has none, ``Conflict`` when it
        is lost."""
        if task.spec.code is None:
            raise NotFound(f"task {task.id} has no code of its own")
        try:
            return await anyio.to_thread.run_sync(
                self._blobs.read,
                task.owner,
                task.spec.code.sha256,
                offset,
                limit,
                limiter=self._readers,
            )
        except NotFound as error:
            raise Conflict(
                f"the code of task {task.id} is not on the server any more",
                hint="submit it again",
            ) from error

    async def files(self, task: Task) -> tuple[FileAt, ...]:
        """The files of a task's code, by name. Raises ``NotFound``, ``Conflict``."""
        return await self._shown(task, self._files.listing)

    async def text(self, task: Task, name: str) -> CodeText:
        """The text of one of them. Raises ``NotFound``, ``Conflict``."""
        return await self._shown(task, partial(self._files.text, name=name))

    async def _shown(self, task: Task, look: Callable[[str, CodeSnapshot], _T]) -> _T:
        code = task.spec.code
        if code is None:
            raise NotFound(
                f"task {task.id} has no code of its own: it ran in a directory of its node",
                hint="with --code each attempt gets a copy, and you see what it was",
            )
        try:
            return await anyio.to_thread.run_sync(look, task.owner, code, limiter=self._lookers)
        except BadArchive as error:
            raise Conflict(
                f"the code of task {task.id} cannot be shown: {error}", hint="submit it again"
            ) from error

    async def run(self) -> None:
        """Collects what nobody needs, until cancelled."""
        while True:
            await anyio.sleep(COLLECT_S)
            await self.collect()

    async def collect(self) -> None:
        """Removes blobs that no living task refers to and nobody used lately."""
        needed = {
            (folder_of(task.owner), task.spec.code.sha256)
            for task in self._living()
            if task.spec.code is not None
        }
        try:
            n_removed = await anyio.to_thread.run_sync(
                self._blobs.collect,
                lambda folder, sha256: (folder, sha256) in needed,
                limiter=self._writer,
            )
        except OSError as error:
            log.error("blobs not collected", extra={"reason": error.strerror})
            return
        if n_removed:
            log.info("blobs collected", extra={"n": n_removed})

    def _living(self) -> Iterable[Task]:
        return (task for task in self._brain.manager.tasks() if not task.state.is_final)

"""The parts of a control server that work without HTTP, put together and kept running.

``open_hive`` is what the web application starts, and what tests use to have a whole server side
without one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_thread

from fluxhive.core.hive_settings import HiveSettings
from fluxhive.core.values import AttemptId, NodeId

from .brain import Brain
from .brain_journal import BrainJournal
from .clock import HiveClock
from .log_stream import QUOTA_BYTES
from .logs import LogStore
from .retention import Keeper, Retention
from .sessions import Sessions
from .store.queries import server_id
from .store.store import Store
from .usage import FILE, UsageStore

log = logging.getLogger(__name__)

DATABASE = "hive.db"
_SETTINGS = HiveSettings()
_RETENTION = Retention()


class Hive(NamedTuple):
    """All that runs."""

    #: Made once per state directory: tells this hive from every other.
    id: str
    clock: HiveClock
    store: Store
    brain: Brain
    logs: LogStore
    sessions: Sessions
    usage: UsageStore
    directory: Path

    @property
    def problem(self) -> str:
        """Why the hive is degraded; empty when it is not."""
        return self.brain.problem or self.store.problem or self.logs.problem


@asynccontextmanager
async def open_hive(
    directory: Path,
    *,
    settings: HiveSettings = _SETTINGS,
    log_quota_bytes: int = QUOTA_BYTES,
    retention: Retention = _RETENTION,
    gpu_reading_ms: int = 0,
) -> AsyncIterator[Hive]:
    """Opens the state directory, runs everything in it, and closes it again.

    Raises ``StateInUse`` while another server has it, ``Conflict`` for a newer schema.
    """
    store = await anyio.to_thread.run_sync(Store.open, directory / DATABASE)
    try:
        loaded = await store.load()
        clock = HiveClock(loaded.hive_time_ms)
        brain = Brain(store, clock, BrainJournal(directory / "journal.jsonl"), settings=settings)
        brain.take_up(loaded)
        logs = LogStore(directory / "logs", store, quota_bytes=log_quota_bytes)
        await logs.load(loaded.attempts)
        sessions = Sessions(store, brain, logs, gpu_reading_ms=gpu_reading_ms)
        usage = UsageStore(directory / FILE, now_ms=clock.now_ms, is_of=partial(_is_of, brain))
        sessions.on_heartbeat = usage.note
        keeper = Keeper(directory / "logs", store, brain, logs, clock, retention)
        name = await store.call(server_id)
        hive = Hive(name, clock, store, brain, logs, sessions, usage, directory)
        counts = {"tasks": len(loaded.tasks), "nodes": len(loaded.nodes)}
        log.info("hive opened", extra={"directory": directory, **counts})
        async with anyio.create_task_group() as group:
            for run in (brain.run, logs.run, sessions.run, usage.run, keeper.run):
                group.start_soon(run)
            try:
                yield hive
            finally:
                sessions.close_all("the server is stopping")
                group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial(Store.close, store))


def _is_of(brain: Brain, attempt_id: AttemptId, node_id: NodeId) -> bool:
    """Whether an attempt is one that the node has."""
    attempt = brain.manager.attempt(attempt_id)
    return attempt is not None and attempt.member_on(node_id) is not None

"""The server's database: one thread, one connection, one transaction for all that waits.

Callers hand in functions that take a connection. Whatever waits at the same time shares one
transaction and one fsync (group commit), each in a savepoint of its own, so that one that raises
undoes nothing of the others. ``call`` returns after the commit: what it answered is on the disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

import anyio
import anyio.to_thread
import sqlalchemy as sa

from fluxhive.core.effects import HiveEffect
from fluxhive.core.values import Ms
from fluxhive.log_room import LogRoom

from . import queries
from .engine import READERS, open_engine, open_reading_engine
from .failures import StateInUse, StoreUnavailable, passing_problem
from .migrate import migrate
from .writes import Saves

if os.name == "posix":
    import fcntl

log = logging.getLogger(__name__)

T = TypeVar("T")
Extra = Callable[[sa.Connection], object]

#: Most calls in one transaction: bounds how long the last of them waits.
CALLS_PER_TRANSACTION = 1_000
#: Most calls that wait; more are turned away, since the disk does not keep up.
WAITING_MAX = 20_000
#: How long ``close`` waits for what is under way.
CLOSE_TIMEOUT_S = 30.0
#: Room that is made in the log at a time.
ROOM_BYTES = 1024 * 1024


class _Call(Generic[T]):
    """One function that waits for its turn, and where its answer goes."""

    __slots__ = ("durable", "error", "fn", "future", "loop", "result")

    def __init__(self, fn: Callable[[sa.Connection], T], durable: bool) -> None:
        self.fn = fn
        self.durable = durable
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self.loop.create_future()
        self.result: T | None = None
        self.error: BaseException | None = None

    def answer(self) -> None:
        """Wakes the caller, if it still waits; runs in its loop."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # set when no error is


class Store:
    """See the module's docstring. Made by ``Store.open``; belongs to one event loop at a time."""

    def __init__(self, path: Path, engine: sa.Engine, reading: sa.Engine, lock: int) -> None:
        self._engine = engine
        self._reading = reading
        self._readers: anyio.CapacityLimiter | None = None
        self._lock = lock
        self._room = LogRoom(path, ROOM_BYTES)
        self._waiting: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self._connection: sa.Connection | None = None
        self._problem = ""
        self._next_number = 0
        self._is_closed = False
        self._is_durable = True
        self._thread = threading.Thread(target=self._run, name="fluxhive-store", daemon=True)

    @classmethod
    def open(cls, path: Path) -> Store:
        """Opens or makes the database, migrates it, and locks its directory for this process.

        Blocks. Raises ``StateInUse`` while another server has it, ``Conflict`` for a newer schema,
        ``StoreUnavailable`` when the disk does not work.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = take_lock(path.parent)
        try:
            # Made by us, so that it is never readable by others, not even for a moment.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            engine = open_engine(path)
            migrate(engine)
        except BaseException as error:
            os.close(lock)
            problem = passing_problem(error)
            if problem is not None:
                raise StoreUnavailable(f"{problem} (`{path}`)") from error
            raise
        store = cls(path, engine, open_reading_engine(path), lock)
        store._thread.start()
        return store

    def close(self) -> None:
        """Finishes what waits and gives the directory free. Blocks; may be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self._waiting.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.error("store thread does not end", extra={"timeout_s": CLOSE_TIMEOUT_S})
            return  # The lock stays: a write may still be under way.
        self._engine.dispose()
        self._reading.dispose()
        os.close(self._lock)

    @property
    def problem(self) -> str:
        """Why nothing can be stored now; empty when it can."""
        return self._problem

    async def call(self, fn: Callable[[sa.Connection], T], *, durable: bool = True) -> T:
        """What ``fn`` returns, once its transaction is committed.

        ``durable=False`` is for reads, and for writes that may be lost in a power cut (never in a
        crash of the server). Raises what ``fn`` raises, or ``StoreUnavailable``.
        """
        return await self.start(fn, durable=durable)

    def start(self, fn: Callable[[sa.Connection], T], *, durable: bool = True) -> asyncio.Future[T]:
        """The same for callers whose own cancellation must not be the function's.

        Raises ``StoreUnavailable`` when it does not even begin to wait.
        """
        if self._is_closed:
            raise StoreUnavailable("the server is stopping")
        if self._waiting.qsize() >= WAITING_MAX:
            raise StoreUnavailable("too much waits for the disk")
        call = _Call(fn, durable)
        self._waiting.put(call)
        return call.future

    async def read(self, fn: Callable[[sa.Connection], T]) -> T:
        """What ``fn`` reads, beside the store's own thread: what may take long delays no commit.

        It sees all that was acknowledged before. Raises ``StoreUnavailable``.
        """
        if self._is_closed:
            raise StoreUnavailable("the server is stopping")
        if self._readers is None:
            self._readers = anyio.CapacityLimiter(READERS)

        def run() -> T:
            try:
                with self._reading.begin() as connection:
                    return fn(connection)
            except Exception as error:
                problem = passing_problem(error)
                if problem is None:
                    raise
                raise StoreUnavailable(problem) from error

        return await anyio.to_thread.run_sync(run, limiter=self._readers)

    async def apply(
        self,
        effects: Iterable[HiveEffect],
        extra: Extra | None = None,
        *,
        now_ms: Ms = 0,
    ) -> None:
        """Stores all saves among the effects, and ``extra``, in one transaction.

        The brain is the only caller, one call at a time. Raises ``StoreConflict`` when a guard
        does not hold; nothing is stored then.
        """
        saves = Saves(effects)

        def write(connection: sa.Connection) -> int:
            number = saves.write(connection, next_number=self._next_number, now_ms=now_ms)
            if extra is not None:
                extra(connection)
            return number

        self._next_number = await self.call(write)

    async def load(self) -> queries.Loaded:
        """What a hive starts from, and the counter for new tasks."""
        loaded = await self.call(queries.load, durable=False)
        self._next_number = loaded.next_number
        return loaded

    # ── the store's thread ────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while True:
            batch = self._take()
            if not batch:
                break
            self._transact(batch)
            self._answer(batch)
            if self._connection is not None and self._room.make():
                self._room.flush()
        self._disconnect()

    def _take(self) -> list[_Call[Any]]:
        """Everything that waits, at least one; empty when the store was closed."""
        first = self._waiting.get()
        batch: list[_Call[Any]] = []
        while first is not None:
            batch.append(first)
            if len(batch) >= CALLS_PER_TRANSACTION:
                return batch
            try:
                first = self._waiting.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._waiting.put(None)  # Found behind others: it ends the next round.
        return batch

    def _transact(self, batch: list[_Call[Any]]) -> None:
        durable = any(call.durable for call in batch)
        try:
            connection = self._connect()
            self._set_durability(connection, durable=durable)
            with connection.begin():
                for call in batch:
                    self._run_one(connection, call, alone=len(batch) == 1)
        except _Undone:
            pass  # The only call of its transaction raised; it hears its own error.
        except Exception as error:  # the supervisor of this thread: every caller gets an answer
            self._failed(batch, error)
        else:
            if durable and self._problem:
                log.info("store works again")
                self._problem = ""

    def _run_one(self, connection: sa.Connection, call: _Call[Any], *, alone: bool) -> None:
        if not alone:
            _execute(connection, "SAVEPOINT one_call")
        try:
            call.result = call.fn(connection)
        except Exception as error:
            if passing_problem(error) is not None:
                raise
            call.error = error
            if alone:
                raise _Undone from error
            _execute(connection, "ROLLBACK TO one_call")
        if not alone:
            _execute(connection, "RELEASE one_call")

    def _failed(self, batch: list[_Call[Any]], error: Exception) -> None:
        problem = passing_problem(error)
        if problem is None:
            log.exception("a transaction failed", extra={"calls": len(batch)})
        elif problem != self._problem:
            log.error("store unavailable", extra={"problem": problem, "error": str(error)})
        for call in batch:
            if problem is None:
                call.error = call.error or error
            else:
                call.error = StoreUnavailable(problem)
        if problem is not None:
            self._problem = problem
        # After a failed fsync the same connection cannot be trusted: a new one runs recovery.
        self._disconnect()

    def _answer(self, batch: list[_Call[Any]]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Call[Any]]] = {}
        for call in batch:
            by_loop.setdefault(call.loop, []).append(call)
        for loop, calls in by_loop.items():
            _wake(loop, calls)

    def _set_durability(self, connection: sa.Connection, *, durable: bool) -> None:
        """Must happen between transactions (sqlite.org/pragma.html#pragma_synchronous)."""
        if durable != self._is_durable:
            level = "FULL" if durable else "NORMAL"
            _execute(connection, f"PRAGMA synchronous = {level}")
            self._is_durable = durable

    def _connect(self) -> sa.Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
            self._is_durable = True  # as engine.py sets every new connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        # The log may be made anew.
        self._room.close()
        if connection is None:
            return
        try:
            connection.invalidate()
            connection.close()
        except Exception as error:  # a broken connection may fail in any way; it is given up
            log.warning("closing the connection failed", extra={"error": str(error)})


class _Undone(Exception):
    """Rolls a transaction back whose only call raised."""


def _execute(connection: sa.Connection, sql: str) -> None:
    cursor = connection.connection.cursor()
    cursor.execute(sql)
    cursor.close()


def _wake(loop: asyncio.AbstractEventLoop, calls: list[_Call[Any]]) -> None:
    try:
        loop.call_soon_threadsafe(_answer_all, calls)
    except RuntimeError:
        log.warning("nobody waits for the store any more", extra={"calls": len(calls)})


def _answer_all(calls: list[_Call[Any]]) -> None:
    for call in calls:
        call.answer()


def take_lock(directory: Path) -> int:
    """Locks the state directory for as long as the process lives; a file descriptor."""
    lock = os.open(directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.name != "posix":
        return lock
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode("ascii", "replace").strip()
        os.close(lock)
        raise StateInUse(
            f"another server works on `{directory}`" + (f" (process {holder})" if holder else ""),
            hint="stop it first, or set FLOWHIVE_STATE_DIR to another directory",
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock

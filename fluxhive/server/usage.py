"""How GPUs and attempts were used over time: fed by heartbeats, asked by people who draw curves.

Kept beside the hive's database in a file of its own, ``usage.db``, like logs are: nothing is
decided by it, and a disk that does not take it costs history and nothing else. Points are in memory
for some seconds, in large hives for a minute (lost with a killed server), and then in packed
chunks; what is older than its tier keeps, and the oldest beyond ``KEEP_BYTES``, is removed.
``note`` belongs to the loop's thread, all that touches the file to a thread of its own.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.to_thread

from fluxhive.core.usage_series import TIERS, Point, Series, stitch
from fluxhive.core.values import AttemptId, GpuUuid, Ms, NodeId
from fluxhive.protocol.agent import GpuSample, Heartbeat, HostSample

log = logging.getLogger(__name__)

FILE = "usage.db"
#: How often what has closed is written. A row costs as much for two points as for sixty: a large
#: hive writes ``SERIES_A_S`` series a second, and each of them once a minute at the latest.
FLUSH_S, FLUSH_S_MAX = 10.0, 60.0
SERIES_A_S = 100
#: A series that nothing was added to for so long is closed and leaves the memory.
QUIET_S = 120
EXPIRE_S = 300.0
#: Room on the disk for all of it.
KEEP_BYTES = 1024**3
#: A heartbeat is believed about the past this far, the time that a node keeps readings for.
PAST_MAX_MS: Ms = 7 * 86_400_000

_SCHEMA = """
create table if not exists chunk (
  series text not null, tier integer not null, start integer not null, part integer not null,
  points blob not null, primary key (series, tier, start, part)
) without rowid;
create index if not exists chunk_by_age on chunk (tier, start);
"""
#: Names of series about attempts on their nodes: host memory, and percents of a core.
HOST_KINDS = ("host", "cpu")
_PACKED = struct.Struct("<IIIB")
_NO_PERCENT = 255
_MIB_MAX = 2**32 - 1

#: Series name, tier, points.
_Rows: TypeAlias = list[tuple[str, int, list[Point]]]


class UsageStore:
    """All series. Run ``run`` beside the server."""

    def __init__(
        self,
        path: Path,
        *,
        now_ms: Callable[[], Ms],
        is_of: Callable[[AttemptId, NodeId], bool],
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        """``now_ms``: hive time. ``is_of``: whether an attempt is one of a node's own."""
        self._path = path
        self._now_ms = now_ms
        self._is_of = is_of
        self._keep_bytes = keep_bytes
        self._series: dict[str, Series] = {}
        #: Some of them, found without making their names: those of a node's GPUs, and those of what
        #: its own attempts take of one.
        self._of_gpus: dict[NodeId, dict[GpuUuid, Series]] = {}
        self._of_attempts: dict[tuple[NodeId, AttemptId, GpuUuid], Series] = {}
        #: The newest sample of each node, by its own clock: what is not newer is a repeat.
        self._newest_ms: dict[NodeId, Ms] = {}
        self._newest_host_ms: dict[NodeId, Ms] = {}
        self._part = now_ms()
        self._threads = anyio.CapacityLimiter(1)
        self._db: sqlite3.Connection | None = None
        self._problem = ""
        self._expire_at_ms = 0

    # ── what comes in ─────────────────────────────────────────────────────────────────────────

    def note(self, node_id: NodeId, heartbeat: Heartbeat) -> None:
        """Take the samples of a heartbeat that has just come."""
        sent_at_ms, now_ms = heartbeat.sent_at_ms, self._now_ms()
        since_ms = highest_ms = _known(self._newest_ms, node_id, sent_at_ms)
        for sample in heartbeat.samples:
            at_ms = sample.at_ms
            if at_ms > since_ms and 0 <= sent_at_ms - at_ms <= PAST_MAX_MS:
                self._note(node_id, sample, (now_ms - sent_at_ms + at_ms) // 1000)
                if at_ms > highest_ms:
                    highest_ms = at_ms
        self._newest_ms[node_id] = highest_ms
        since_ms = highest_ms = _known(self._newest_host_ms, node_id, sent_at_ms)
        for host in heartbeat.host_samples:
            at_ms = host.at_ms
            if at_ms > since_ms and 0 <= sent_at_ms - at_ms <= PAST_MAX_MS:
                self._note_host(node_id, host, (now_ms - sent_at_ms + at_ms) // 1000)
                highest_ms = max(highest_ms, at_ms)
        self._newest_host_ms[node_id] = highest_ms

    def _note(self, node_id: NodeId, sample: GpuSample, at_s: int) -> None:
        percent = sample.utilization_percent
        if percent is not None and percent > 100:
            percent = 100
        uuid = sample.uuid
        try:
            series = self._of_gpus[node_id][uuid]
        except KeyError:
            series = self._open(_gpu_name(node_id, uuid))
            self._of_gpus.setdefault(node_id, {})[uuid] = series
        series.add(at_s, sample.used_mib or 0, percent)
        for use in sample.attempts:
            key = node_id, use.attempt_id, uuid
            own = self._of_attempts.get(key)
            if own is None:
                if not self._is_of(use.attempt_id, node_id):
                    continue
                own = self._of_attempts[key] = self._open(_attempt_name(use.attempt_id, uuid))
            own.add(at_s, use.used_mib, percent)

    def _note_host(self, node_id: NodeId, sample: HostSample, at_s: int) -> None:
        if not self._is_of(sample.attempt_id, node_id):
            return
        memory, cpu = (_host_name(kind, sample.attempt_id, node_id) for kind in HOST_KINDS)
        self._open(memory).add(at_s, sample.memory_mib, None)
        if sample.cpu_percent is not None:
            # Of several cores it goes beyond what stands beside an amount: an amount of its own.
            self._open(cpu).add(at_s, sample.cpu_percent, None)

    def _open(self, name: str) -> Series:
        series = self._series.get(name)
        if series is None:
            series = self._series[name] = Series()
        return series

    # ── what is asked ─────────────────────────────────────────────────────────────────────────

    async def of_gpu(
        self, node_id: NodeId, uuid: GpuUuid, *, from_s: int, to_s: int, step_s: int
    ) -> list[Point]:
        """How a GPU was used, oldest first; empty: nothing is known."""
        found = await self._read(_gpu_name(node_id, uuid))
        points = found.get(_gpu_name(node_id, uuid), [[] for _ in TIERS])
        return stitch(points, from_s=from_s, to_s=to_s, step_s=step_s)

    async def of_gpus(
        self, gpus: list[tuple[NodeId, GpuUuid]], *, from_s: int, to_s: int, step_s: int
    ) -> list[list[Point]]:
        """The same of many GPUs, in their order; nothing finer than ``step_s`` is read."""
        finest = max(tier for tier, kept in enumerate(TIERS) if kept.step_s <= max(step_s, 1))
        rows = await anyio.to_thread.run_sync(
            partial(self._select, "gpu/", from_s=from_s, finest=finest), limiter=self._threads
        )
        found: dict[str, list[list[Point]]] = {}
        for name, tier, points in rows:
            found.setdefault(name, [[] for _ in TIERS])[tier] += points
        lines = []
        for node_id, uuid in gpus:
            name = _gpu_name(node_id, uuid)
            tiers = found.get(name, [[] for _ in TIERS])
            series = self._series.get(name)
            for tier, points in enumerate([] if series is None else series.pending()):
                tiers[tier] += points if tier >= finest else []
            lines.append(stitch(tiers, from_s=from_s, to_s=to_s, step_s=step_s))
        return lines

    async def of_attempt(
        self, attempt_id: AttemptId, *, from_s: int, to_s: int, step_s: int
    ) -> dict[GpuUuid, list[Point]]:
        """How an attempt used each of its GPUs, oldest first."""
        prefix = _attempt_name(attempt_id, GpuUuid(""))
        found = await self._read(prefix)
        return {
            GpuUuid(name[len(prefix) :]): stitch(points, from_s=from_s, to_s=to_s, step_s=step_s)
            for name, points in sorted(found.items())
        }

    async def host_of_attempt(
        self, attempt_id: AttemptId, *, from_s: int, to_s: int, step_s: int
    ) -> dict[NodeId, tuple[list[Point], list[Point]]]:
        """Memory, and CPU in percent of a core, of an attempt on each of its nodes."""
        lines: dict[NodeId, tuple[list[Point], list[Point]]] = {}
        for number, kind in enumerate(HOST_KINDS):
            prefix = _host_name(kind, attempt_id, NodeId(""))
            for name, tiers in sorted((await self._read(prefix)).items()):
                line = stitch(tiers, from_s=from_s, to_s=to_s, step_s=step_s)
                lines.setdefault(NodeId(name[len(prefix) :]), ([], []))[number].extend(line)
        return lines

    async def _read(self, prefix: str) -> dict[str, list[list[Point]]]:
        """All points of the series whose names begin so, by tier."""
        rows = await anyio.to_thread.run_sync(partial(self._select, prefix), limiter=self._threads)
        found: dict[str, list[list[Point]]] = {}
        for name, tier, points in rows:
            found.setdefault(name, [[] for _ in TIERS])[tier] += points
        for name, series in self._series.items():
            if name.startswith(prefix):
                tiers = found.setdefault(name, [[] for _ in TIERS])
                for tier, points in enumerate(series.pending()):
                    tiers[tier] += points
        return found

    # ── life ──────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Writes now and then, and at the end."""
        try:
            while True:
                await anyio.sleep(min(max(FLUSH_S, len(self._series) / SERIES_A_S), FLUSH_S_MAX))
                await self.flush()
        finally:
            with anyio.CancelScope(shield=True):
                await self.flush(is_last=True)
                await anyio.to_thread.run_sync(self._close, limiter=self._threads)

    async def flush(self, *, is_last: bool = False) -> None:
        """Writes what has closed; ``is_last``: also what is open."""
        now_s = self._now_ms() // 1000
        rows: _Rows = []
        for name, series in list(self._series.items()):
            if is_last or series.newest_s < now_s - QUIET_S:
                series.end()
                del self._series[name]
                self._of_gpus.clear()
                self._of_attempts.clear()
            rows += [(name, tier, points) for tier, points in enumerate(series.taken()) if points]
        await anyio.to_thread.run_sync(partial(self._write, rows, now_s), limiter=self._threads)

    # ── the file, in its thread ───────────────────────────────────────────────────────────────

    def _write(self, rows: _Rows, now_s: int) -> None:
        self._part += 1
        try:
            db = self._connect()
            with db:
                db.executemany(
                    "insert or replace into chunk values (?, ?, ?, ?, ?)",
                    _chunks(rows, self._part),
                )
                if now_s * 1000 >= self._expire_at_ms:
                    self._expire_at_ms = round(now_s * 1000 + EXPIRE_S * 1000)
                    self._expire(db, now_s)
            self._problem = ""
        except sqlite3.Error as error:
            self._trouble(error)

    def _expire(self, db: sqlite3.Connection, now_s: int) -> None:
        for tier, kept in enumerate(TIERS):
            _merge(db, tier, now_s - 2 * kept.chunk_s, self._part)
            db.execute(
                "delete from chunk where tier = ? and start < ?",
                (tier, now_s - kept.keep_s - kept.chunk_s),
            )
        page_bytes = db.execute("pragma page_size").fetchone()[0]
        while True:
            n_pages, n_free = (
                db.execute(f"pragma {name}").fetchone()[0]
                for name in ("page_count", "freelist_count")
            )
            if (n_pages - n_free) * page_bytes <= self._keep_bytes:
                return
            removed = db.execute(
                "delete from chunk where (series, tier, start, part) in "
                "(select series, tier, start, part from chunk order by start limit 10000)"
            ).rowcount
            if removed <= 0:
                return

    def _select(self, prefix: str, *, from_s: int = 0, finest: int = 0) -> _Rows:
        try:
            since = " or ".join(
                f"(tier = {tier} and start > {from_s - kept.chunk_s})"
                for tier, kept in enumerate(TIERS)
                if tier >= finest
            )
            found = self._connect().execute(
                "select series, tier, points from chunk where series >= ? and series < ?"
                f" and ({since}) order by series, tier, start, part",
                (prefix, prefix + "\U0010ffff"),
            )
            return [(name, tier, list(_unpack(points))) for name, tier, points in found]
        except sqlite3.Error as error:
            self._trouble(error)
            return []

    def _connect(self) -> sqlite3.Connection:
        if self._db is None:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            db = sqlite3.connect(self._path, check_same_thread=False, timeout=5)
            db.execute("pragma journal_mode = wal")
            db.execute("pragma synchronous = normal")
            db.executescript(_SCHEMA)
            self._db = db
        return self._db

    def _trouble(self, error: sqlite3.Error) -> None:
        """Says it once for each kind; a damaged file is put aside and begun anew."""
        if str(error) != self._problem:
            self._problem = str(error)
            log.error("history of use cannot be kept", extra={"reason": str(error)})
        self._close()
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        ):
            for name in [f"{self._path}{end}" for end in ("", "-wal", "-shm")]:
                if os.path.exists(name):
                    os.replace(name, f"{name}.damaged")

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _known(newest_ms: dict[NodeId, Ms], node_id: NodeId, sent_at_ms: Ms) -> Ms:
    """The newest sample that is known of a node; 0 where its clock was begun anew since."""
    found_ms = newest_ms.get(node_id, 0)
    return found_ms if found_ms <= sent_at_ms else 0


def _gpu_name(node_id: NodeId, uuid: GpuUuid) -> str:
    return f"gpu/{node_id}/{uuid}"


def _attempt_name(attempt_id: AttemptId, uuid: GpuUuid) -> str:
    return f"attempt/{attempt_id}/{uuid}"


def _host_name(kind: str, attempt_id: AttemptId, node_id: NodeId) -> str:
    return f"{kind}/{attempt_id}/{node_id}"


def _chunks(rows: _Rows, part: int) -> Iterator[tuple[str, int, int, int, bytes]]:
    for name, tier, points in rows:
        by_start: dict[int, list[Point]] = {}
        for point in points:
            start_s = point.at_s - point.at_s % TIERS[tier].chunk_s
            by_start.setdefault(start_s, []).append(point)
        for start_s, inside in by_start.items():
            yield name, tier, start_s, part, _pack(inside)


def _merge(db: sqlite3.Connection, tier: int, before_s: int, part: int) -> None:
    """Parts of a chunk that is full become one: most of a part is its key."""
    several = db.execute(
        "select series, start from chunk where tier = ? and start < ?"
        " group by series, start having count(*) > 1 limit 20000",
        (tier, before_s),
    ).fetchall()
    for name, start in several:
        key = (name, tier, start)
        where = "where series = ? and tier = ? and start = ?"
        parts = db.execute(f"select points from chunk {where} order by part", key).fetchall()
        db.execute(f"delete from chunk {where}", key)
        points = b"".join(points for (points,) in parts)
        db.execute("insert into chunk values (?, ?, ?, ?, ?)", (*key, part, points))


def _pack(points: Iterable[Point]) -> bytes:
    packed, most = _PACKED.pack, _MIB_MAX
    return b"".join(
        [
            packed(
                point.at_s,
                point.used_mib if point.used_mib < most else most,
                point.peak_mib if point.peak_mib < most else most,
                _NO_PERCENT if point.utilization_percent is None else point.utilization_percent,
            )
            for point in points
        ]
    )


def _unpack(data: bytes) -> Iterator[Point]:
    for at_s, used_mib, peak_mib, percent in _PACKED.iter_unpack(data):
        yield Point(
            at_s=at_s,
            used_mib=used_mib,
            peak_mib=peak_mib,
            utilization_percent=None if percent == _NO_PERCENT else percent,
        )

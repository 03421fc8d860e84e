"""Output after a restore: what lies on the disk is served, what is missing is shown.

A backup's marks are of its moment. Files only grow, each byte at its offset, so whichever is longer
has more, and bytes below a mark that was committed later are there for good. A node may have given
its own copy back long ago: what is not taken up here, nobody has any more.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from fluxhive.core.ids import task_of
from fluxhive.core.task import AttemptState
from fluxhive.core.values import AttemptId
from fluxhive.protocol.wire import FIRST_OF_PROCESSES

from .known_before import KnownBefore
from .log_marks import file_name, rank_and_stream, stored_number
from .logs import lengths_of
from .store.rows import ATTEMPT_COLUMNS, attempt_of_row, from_json, to_json
from .store.tables import attempts, log_streams

_INDEX = ".index"

#: Durable mark and gaps (JSON) by attempt and number of the stream in the store.
_Marks = dict[tuple[AttemptId, int], tuple[int, str]]


def bring_logs(backup: Path, logs: Path) -> None:
    """Copies output of a backup where there is less of it or none."""
    for source in sorted(backup.rglob("*")):
        if source.suffix == _INDEX or not source.is_file():
            continue
        target = logs / source.relative_to(backup)
        if target.exists() and target.stat().st_size >= source.stat().st_size:
            continue
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in (source.name + _INDEX, source.name):
            if (source.parent / name).exists():
                _copy(source.parent / name, target.parent / name)


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, part)
    handle = os.open(part, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(part, target)


def mark_logs(connection: sa.Connection, logs: Path, before: KnownBefore) -> int:
    """Brings the marks up to what lies on the disk; how many streams miss bytes."""
    rows = connection.execute(sa.select(log_streams))
    marks: _Marks = {(row.attempt_id, row.stream): (row.durable, row.gaps) for row in rows}
    now = marks | dict(_further(connection, logs, marks, before))
    n_gaps = 0
    for (attempt_id, number), (durable, text) in now.items():
        gaps = from_json(text)
        size = _size(_path(logs, attempt_id, number))
        # What was deleted because its time was over is a gap to its end already.
        if size < durable and not any(start <= size and durable <= end for start, end, _ in gaps):
            kept = [gap for gap in gaps if gap[0] < size]
            gaps = [*kept, (size, durable, "not in the backup that was restored")]
            n_gaps += 1
        now[attempt_id, number] = durable, to_json(gaps)
    _store(connection, {key: mark for key, mark in now.items() if mark != marks.get(key)})
    return n_gaps


def _further(
    connection: sa.Connection, logs: Path, marks: _Marks, before: KnownBefore
) -> Iterator[tuple[tuple[AttemptId, int], tuple[int, str]]]:
    """Marks beyond the backup's: those committed later, and ends that lie here whole."""
    for row in connection.execute(sa.select(*(attempts.c[name] for name in ATTEMPT_COLUMNS))):
        attempt = attempt_of_row(row._mapping)
        for member in attempt.members:
            known = lengths_of(member.facts) if member.facts is not None else ()
            for stream in range(max(len(known), FIRST_OF_PROCESSES)):
                key = attempt.id, stored_number(member.rank, stream)
                best = max(
                    marks.get(key, (0, "[]")), before.marks.get(key, (0, "[]")), key=_durable
                )
                if member.facts is not None and member.state is AttemptState.ENDED:
                    length = dict(enumerate(known)).get(stream, 0)
                    if _is_whole(_path(logs, *key), best[0], length):
                        best = length, best[1]
                if best[0] > 0:
                    yield key, best


def _durable(mark: tuple[int, str]) -> int:
    return mark[0]


def _is_whole(path: Path, durable: int, length: int) -> bool:
    """Whether a stream lies here to its end, and beyond the mark nothing of it was skipped."""
    if length <= durable or _size(path) != length:
        return False
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.lseek(handle, durable, os.SEEK_HOLE) >= length
    finally:
        os.close(handle)


def _store(connection: sa.Connection, marks: _Marks) -> None:
    for (attempt_id, number), (durable, gaps) in marks.items():
        connection.execute(
            sa.delete(log_streams).where(
                log_streams.c.attempt_id == attempt_id, log_streams.c.stream == number
            )
        )
        connection.execute(
            sa.insert(log_streams).values(
                attempt_id=attempt_id, stream=number, durable=durable, gaps=gaps
            )
        )


def _path(logs: Path, attempt_id: AttemptId, number: int) -> Path:
    return logs / task_of(attempt_id) / attempt_id / file_name(*rank_and_stream(number))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0

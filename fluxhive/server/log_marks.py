"""Durable marks of output as rows of the store: how far each stream is on the disk for good.

Of a gang, a stream's number in the store tells its member, too; those of single processes have
numbers of their own, far from the others.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from fluxhive.core.values import AttemptId
from fluxhive.protocol.wire import FIRST_OF_PROCESSES, process_of_stream, stream_name

from .log_stream import Gap, gaps_below
from .store.rows import from_json, to_json
from .store.statement import Statement
from .store.tables import log_streams

#: One member of an attempt: its id and rank.
LogKey = tuple[AttemptId, int]
#: Durable mark and gaps of an attempt's streams, by their numbers in the store.
Marks = dict[int, tuple[int, tuple[Gap, ...]]]

_NUMBERS_PER_RANK = 16
_OF_PROCESSES = 1 << 20
_OF_PROCESSES_PER_RANK = 256
_PUT = insert(log_streams).values(
    {name: sa.bindparam(name) for name in ("attempt_id", "stream", "durable", "gaps")}
)
PUT_MARKS = Statement(
    _PUT.on_conflict_do_update(
        index_elements=["attempt_id", "stream"],
        set_={"durable": _PUT.excluded.durable, "gaps": _PUT.excluded.gaps},
        where=log_streams.c.durable <= _PUT.excluded.durable,
    ),
    ("attempt_id", "stream", "durable", "gaps"),
)


def stored_number(rank: int, stream: int) -> int:
    """A stream's number in the store."""
    if stream >= FIRST_OF_PROCESSES:
        return _OF_PROCESSES + rank * _OF_PROCESSES_PER_RANK + stream
    return rank * _NUMBERS_PER_RANK + stream


def rank_and_stream(number: int) -> tuple[int, int]:
    """What a stored number stands for."""
    if number >= _OF_PROCESSES:
        return divmod(number - _OF_PROCESSES, _OF_PROCESSES_PER_RANK)
    return divmod(number, _NUMBERS_PER_RANK)


def file_name(rank: int, stream: int) -> str:
    """What a stream's file is called in its attempt's directory."""
    process = process_of_stream(stream)
    part = "" if process is None else f"{process}."
    return f"{rank}.{part}{stream_name(stream)}"


def gaps_json(gaps: tuple[Gap, ...], durable: int) -> str:
    """The gaps below the mark, for the store."""
    return to_json([(gap.start, gap.end, gap.reason) for gap in gaps_below(gaps, durable)])


def read_marks(connection: sa.Connection, attempt_ids: list[AttemptId]) -> dict[str, Marks]:
    """The durable marks of these attempts, as far as there are any."""
    query = sa.select(log_streams).where(log_streams.c.attempt_id.in_(attempt_ids))
    found: dict[str, Marks] = {}
    for row in connection.execute(query):
        found.setdefault(row.attempt_id, {})[row.stream] = row.durable, _gaps_of(row.gaps)
    return found


def _gaps_of(text: str) -> tuple[Gap, ...]:
    return tuple(Gap(start=start, end=end, reason=why) for start, end, why in from_json(text))

"""Durable marks of output as rows of the store: how far each stream is on the disk for good.

Of a gang, a stream's number in the store tells its member, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from fluxhive.core.values import AttemptId

from .log_stream import Gap, gaps_below
from .store.rows import from_json, to_json
from .store.statement import Statement
from .store.tables import log_streams

#: One member of an attempt: its id and rank.
LogKey = tuple[AttemptId, int]
#: Durable mark and gaps by attempt and number of the stream in the store.
Marks = dict[tuple[str, int], tuple[int, tuple[Gap, ...]]]

_NUMBERS_PER_RANK = 16
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
    return rank * _NUMBERS_PER_RANK + stream


def rank_and_stream(number: int) -> tuple[int, int]:
    """What a stored number stands for."""
    return divmod(number, _NUMBERS_PER_RANK)


def gaps_json(gaps: tuple[Gap, ...], durable: int) -> str:
    """The gaps below the mark, for the store."""
    return to_json([(gap.start, gap.end, gap.reason) for gap in gaps_below(gaps, durable)])


def read_marks(connection: sa.Connection, attempt_ids: list[AttemptId]) -> Marks:
    """The durable marks of these attempts."""
    query = sa.select(log_streams).where(log_streams.c.attempt_id.in_(attempt_ids))
    return {
        (row.attempt_id, row.stream): (row.durable, _gaps_of(row.gaps))
        for row in connection.execute(query)
    }


def _gaps_of(text: str) -> tuple[Gap, ...]:
    return tuple(Gap(start=start, end=end, reason=why) for start, end, why in from_json(text))

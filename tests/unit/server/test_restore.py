"""Going back to a backup: which output is there afterwards, and that no number is given twice.

Method: states of a server as they lie on the disk, written by the store's own statements.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from fluxhive.core.errors import Conflict
from fluxhive.core.outcome import ExitFacts
from fluxhive.core.task import TaskState
from fluxhive.server.backup import JUMP, back_up, restore
from fluxhive.server.store.engine import open_engine
from fluxhive.server.store.migrate import migrate
from fluxhive.server.store.queries import LAST_CHANNEL, server_id
from fluxhive.server.store.rows import (
    ATTEMPT_COLUMNS,
    NODE_COLUMNS,
    TASK_COLUMNS,
    attempt_row,
    from_json,
    node_row,
    task_row,
)
from fluxhive.server.store.tables import attempts, log_streams, meta, nodes, tasks
from fluxhive.server.store.writes import NEXT_NUMBER
from tests.helpers import records

TASK = records.task(state=TaskState.SUCCEEDED)
LIVE = records.task(1, state=TaskState.ACTIVE, epoch=1)
FACTS = ExitFacts(exit_code=0, stdout_bytes=12, duration_ms=5)
ENDED = records.ended(records.attempt(TASK), facts=FACTS)
STREAM = f"{TASK.id}/{ENDED.id}/0.stdout"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A server's state with one attempt that has ended and one that is live."""
    directory = tmp_path / "state"
    make(directory)
    return directory


def make(directory: Path) -> None:
    directory.mkdir()
    engine = open_engine(directory / "hive.db")
    migrate(engine)
    live = records.attempt(LIVE, channel=2)
    with engine.begin() as db:
        server_id(db)
        for key, value in ((NEXT_NUMBER, "2"), (LAST_CHANNEL, "2")):
            db.execute(sa.insert(meta).values(key=key, value=value))
        for table, columns, row in (
            (nodes, NODE_COLUMNS, node_row(records.node())),
            (tasks, TASK_COLUMNS, task_row(TASK)),
            (tasks, TASK_COLUMNS, task_row(LIVE)),
            (attempts, ATTEMPT_COLUMNS, attempt_row(ENDED)),
            (attempts, ATTEMPT_COLUMNS, attempt_row(live)),
        ):
            db.execute(sa.insert(table).values(dict(zip(columns, row, strict=True))))
    engine.dispose()


def printed(directory: Path, data: bytes) -> None:
    """The file of the ended attempt's output."""
    path = directory / "logs" / STREAM
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def mark(directory: Path, durable: int, gaps: str = "[]") -> None:
    """What the server has stored of that output."""
    engine = open_engine(directory / "hive.db")
    with engine.begin() as db:
        db.execute(sa.delete(log_streams))
        values = {"attempt_id": ENDED.id, "stream": 0, "durable": durable, "gaps": gaps}
        db.execute(sa.insert(log_streams).values(values))
    engine.dispose()


def marked(directory: Path) -> tuple[int, list[list[object]]] | None:
    engine = open_engine(directory / "hive.db")
    with engine.connect() as db:
        row = db.execute(sa.select(log_streams).where(log_streams.c.stream == 0)).first()
    engine.dispose()
    return None if row is None else (row.durable, from_json(row.gaps))


def numbers(directory: Path) -> tuple[int, int, int, int]:
    """Next task, last channel, the node's session, the live task's epoch."""
    engine = open_engine(directory / "hive.db")
    with engine.connect() as db:
        notes = {row.key: row.value for row in db.execute(sa.select(meta))}
        session = db.scalar(sa.select(nodes.c.session))
        epoch = db.scalar(sa.select(tasks.c.epoch).where(tasks.c.id == LIVE.id))
    engine.dispose()
    return int(notes[NEXT_NUMBER]), int(notes[LAST_CHANNEL]), session or 0, epoch or 0


def test_output_whose_mark_came_after_the_backup_is_served(state: Path, tmp_path: Path) -> None:
    printed(state, b"hello, there")
    back_up(state, tmp_path / "backup")
    mark(state, 12)
    assert restore(tmp_path / "backup", state).n_gaps == 0
    assert marked(state) == (12, [])


def test_a_gap_that_was_stored_after_the_backup_stays_one(state: Path, tmp_path: Path) -> None:
    printed(state, b"hel" + bytes(9))
    mark(state, 3)
    back_up(state, tmp_path / "backup")
    mark(state, 12, '[[3,12,"the disk was full"]]')
    restore(tmp_path / "backup", state)
    assert marked(state) == (12, [[3, 12, "the disk was full"]])


def test_output_that_was_deleted_for_its_age_stays_deleted(state: Path, tmp_path: Path) -> None:
    mark(state, 12, '[[0,12,"deleted after 30 days"]]')
    back_up(state, tmp_path / "backup")
    assert restore(tmp_path / "backup", state).n_gaps == 0
    assert marked(state) == (12, [[0, 12, "deleted after 30 days"]])


def test_without_the_later_marks_a_whole_file_is_served_and_a_part_is_not(
    state: Path, tmp_path: Path
) -> None:
    mark(state, 2)
    back_up(state, tmp_path / "backup")
    for data, durable in ((b"hello", 2), (b"hello, there", 12)):
        printed(state, data)
        (state / "hive.db").write_bytes(b"damaged")
        restore(tmp_path / "backup", state)
        assert marked(state) == (durable, [])


def test_a_file_with_a_hole_is_not_taken_for_whole(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    make(directory)
    length = FACTS.stdout_bytes
    printed(directory, b"")
    with open(directory / "logs" / STREAM, "r+b") as file:
        file.truncate(length)
    back_up(directory, tmp_path / "backup")
    restore(tmp_path / "backup", directory)
    assert marked(directory) is None


def test_a_backup_does_not_shorten_what_lies_there(state: Path, tmp_path: Path) -> None:
    printed(state, b"hello")
    mark(state, 5)
    back_up(state, tmp_path / "backup", with_logs=True)
    printed(state, b"hello, there")
    mark(state, 12)
    restore(tmp_path / "backup", state)
    assert (state / "logs" / STREAM).read_bytes() == b"hello, there"
    printed(state, b"h")
    assert restore(tmp_path / "backup", state).n_gaps == 1
    assert (state / "logs" / STREAM).read_bytes() == b"hello"


def test_going_back_twice_to_one_backup_gives_no_number_twice(state: Path, tmp_path: Path) -> None:
    back_up(state, tmp_path / "backup")
    restore(tmp_path / "backup", state)
    first = numbers(state)
    restore(tmp_path / "backup", state)
    second = numbers(state)
    assert all(later > earlier for earlier, later in zip(first, second, strict=True))
    assert second[0] == first[0] + JUMP


def test_the_state_of_another_server_is_not_mixed_with_the_backup(
    state: Path, tmp_path: Path
) -> None:
    back_up(state, tmp_path / "backup")
    make(tmp_path / "other")
    printed(tmp_path / "other", b"not of this!")
    before = (tmp_path / "other" / "hive.db").read_bytes()
    with pytest.raises(Conflict) as refused:
        restore(tmp_path / "backup", tmp_path / "other")
    assert "another server" in refused.value.text
    assert (tmp_path / "other" / "hive.db").read_bytes() == before

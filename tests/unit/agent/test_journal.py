"""The journal: what stands in it survives the agent; what cannot be read is never half believed."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import msgspec
import pytest

from fluxhive.agent.journal import Entry, Journal, JournalUnavailable, open_journal
from fluxhive.agent.journal_tables import _STEPS, HELD, NAME, SCHEMA_VERSION, checksum
from fluxhive.core.effects import NodeAttempt
from fluxhive.core.errors import Conflict
from fluxhive.core.events import DispatchReceived
from fluxhive.core.node import HeldPhase
from fluxhive.core.request import Reservation
from fluxhive.core.values import AttemptId, NodeId, TaskId

ATTEMPT = AttemptId("t-jrt6.1")


def attempt(phase: HeldPhase = HeldPhase.PREPARING, name: str = ATTEMPT) -> NodeAttempt:
    return NodeAttempt(
        dispatch=DispatchReceived(
            session=1,
            attempt_id=AttemptId(name),
            task_id=TaskId(name.rpartition(".")[0]),
            epoch=1,
            channel=7,
            reservation=Reservation(node_id=NodeId("n-1")),
            grace_ms=1000,
        ),
        phase=phase,
    )


def test_what_is_held_and_said_survives_a_new_start(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    journal.write(Entry(held={ATTEMPT: attempt()}, said=[(1, b"{}"), (2, b"[]")]))
    journal.close()
    again = open_journal(path)
    assert again.held == {ATTEMPT: attempt()}
    assert again.said == [(1, b"{}"), (2, b"[]")]
    assert not again.was_absent


def test_the_first_journal_of_a_node_says_that_it_was_absent(tmp_path: Path) -> None:
    assert open_journal(tmp_path / "journal.db").was_absent


def test_the_last_record_of_an_attempt_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    journal.write(Entry(held={ATTEMPT: attempt()}))
    journal.write(Entry(held={ATTEMPT: attempt(HeldPhase.RUNNING)}, durable=False))
    journal.close()
    assert open_journal(path).held[ATTEMPT].phase is HeldPhase.RUNNING


def test_a_forgotten_attempt_and_acknowledged_reports_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    journal.write(Entry(held={ATTEMPT: attempt()}, said=[(n, b"{}") for n in range(1, 6)]))
    journal.write(Entry(dropped=[ATTEMPT], acknowledged=3))
    journal.close()
    again = open_journal(path)
    assert again.held == {}
    assert [n for n, _ in again.said] == [4, 5]


def test_a_forgotten_attempt_is_named_until_its_run_directory_is_gone(tmp_path: Path) -> None:
    path, other = tmp_path / "journal.db", AttemptId("t-9999.1")
    journal = open_journal(path)
    journal.write(Entry(held={ATTEMPT: attempt(), other: attempt(name=other)}))
    journal.write(Entry(dropped=[ATTEMPT]))
    journal.close()
    again = open_journal(path)
    assert (set(again.held), again.forgotten) == ({other}, [ATTEMPT])
    again.write(Entry(n_removed=1))
    again.close()
    at_last = open_journal(path)
    assert (set(at_last.held), at_last.forgotten) == ({other}, [])


def test_names_go_in_the_order_in_which_they_came_and_never_too_early(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    names = [AttemptId(f"t-{n}.1") for n in range(10)]
    journal = open_journal(path)
    for first, end in ((0, 3), (3, 4), (4, 9)):
        journal.write(Entry(dropped=names[first:end], n_removed=2 if first == 4 else 0))
    journal.close()
    again = open_journal(path)
    # Some of the first three are removed, and nobody knows any more that they were.
    assert again.forgotten == names[:9]
    again.write(Entry(n_removed=2, dropped=names[9:]))
    again.write(Entry(n_removed=2))
    again.close()
    at_last = open_journal(path)
    assert at_last.forgotten == names[4:]
    at_last.write(Entry(n_removed=6))
    at_last.close()
    assert open_journal(path).forgotten == []


def test_numbers_go_on_where_they_were_even_when_all_is_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    journal.write(Entry(said=[(n, b"{}") for n in range(1, 6)]))
    journal.write(Entry(acknowledged=5))
    journal.close()
    assert open_journal(path).last_n == 5


@pytest.mark.parametrize("damage", [b"not a database at all" * 400, b"SQLite format 3\0" * 300])
def test_a_damaged_journal_is_kept_aside_and_begun_afresh(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(damage)
    journal = open_journal(path)
    assert journal.was_absent
    assert journal.held == {}
    assert path.with_name("journal.db.damaged-1").read_bytes() == damage


def test_it_keeps_its_name_for_as_long_as_it_is_the_same_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = open_journal(path)
    first.close()
    again = open_journal(path)
    again.close()
    assert again.id == first.id
    path.write_bytes(b"damaged" * 1000)
    assert open_journal(path).id not in ("", first.id)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_one_of_a_version_before_is_taken_on(tmp_path: Path, version: int) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as raw:
        raw.executescript(f"{''.join(_STEPS[:version])} pragma user_version = {version}")
        raw.execute("insert into held values (?, ?)", (ATTEMPT, msgspec.json.encode(attempt())))
        raw.executemany("insert into outbox values (?, ?)", [(n, b"{}") for n in range(1, 6)])
        raw.execute("delete from outbox where n in (1, 5)")
        if version == 3:
            raw.execute("insert into forgotten values (7, 't-8.1 t-9.1')")
    raw.close()
    for _ in range(2):
        again = open_journal(path)
        assert (again.held, again.was_absent) == ({ATTEMPT: attempt()}, False)
        assert again.said == [(2, b"{}"), (3, b"{}"), (4, b"{}")]
        assert again.last_n == 5, "the number of what has arrived is not used again"
        assert again.forgotten == (["t-8.1", "t-9.1"] if version == 3 else [])
        assert again.id
        again.close()


def small_journal(path: Path) -> bytes:
    """A journal with something in each of its tables; its file."""
    journal = open_journal(path)
    journal.write(Entry(held={ATTEMPT: attempt(HeldPhase.RUNNING)}, dropped=[AttemptId("t-9.1")]))
    journal.write(Entry(said=[(1, b'{"exit_code": 17}'), (2, b"[]")]))
    journal.write(Entry(acknowledged=1))
    journal.close()
    with sqlite3.connect(path) as raw:
        raw.execute("pragma page_size = 512")
        raw.execute("pragma journal_mode = delete")
        raw.execute("vacuum")
        raw.execute("pragma journal_mode = wal")
    raw.close()
    return path.read_bytes()


def what_it_says(journal: Journal) -> tuple[object, ...]:
    return journal.held, journal.said, journal.forgotten, journal.id, journal.last_n


def test_a_byte_that_the_disk_has_changed_is_seen_wherever_it_lies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Either nothing that counts has changed, and the journal can be gone on with, or it is a
    damaged one: it is never believed to say anything else, and never keeps the agent from starting.
    """
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / "journal.db"
    whole = small_journal(path)
    journal = open_journal(path)
    said = what_it_says(journal)
    journal.close()
    n_damaged = 0
    for at in range(len(whole)):
        for left in tmp_path.iterdir():
            left.unlink()
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        journal = open_journal(path)
        if journal.was_absent:
            assert what_it_says(journal)[:3] == ({}, [], [])
            assert journal.id != said[3], "the server sees that one was lost"
            n_damaged += 1
        else:
            assert what_it_says(journal) == said, f"byte {at} is believed"
        journal.write(Entry(held={ATTEMPT: attempt()}, said=[(3, b"new")]))
        journal.close()
    assert n_damaged > 500


def test_a_record_that_cannot_be_read_makes_the_journal_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    open_journal(path).close()
    with sqlite3.connect(path) as raw:
        record = b'{"phase": 3}'
        row = "t-1.1", record, checksum(HELD, "t-1.1", record)
        raw.execute("insert into held values (?, ?, ?)", row)
    raw.close()
    assert open_journal(path).was_absent


def test_a_record_under_another_name_makes_the_journal_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    journal.write(Entry(held={ATTEMPT: attempt()}))
    journal.close()
    with sqlite3.connect(path) as raw:
        ((record,),) = raw.execute("select record from held")
        row = "t-jrt7.1", checksum(HELD, "t-jrt7.1", record)
        raw.execute("update held set attempt_id = ?, sum = ?", row)
    raw.close()
    assert open_journal(path).was_absent


def test_a_log_that_was_cut_to_nothing_leaves_a_journal_that_was_absent(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = open_journal(path)
    journal.write(Entry(held={ATTEMPT: attempt()}))
    content = path.read_bytes()
    journal.close()
    path.write_bytes(content)
    (tmp_path / "journal.db-wal").unlink(missing_ok=True)
    again = open_journal(path)
    assert (again.held, again.was_absent) == ({}, True)


def test_a_journal_of_a_newer_agent_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    open_journal(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("pragma user_version = 99")
        raw.execute("update name set sum = ?", (checksum(NAME, "made by it", 99),))
    raw.close()
    with pytest.raises(Conflict, match="newer agent"):
        open_journal(path)
    assert path.exists()
    assert not list(tmp_path.glob("*damaged*"))


def test_a_disk_that_takes_nothing_is_said_and_can_recover(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    db = journal._db
    db.execute("pragma max_page_count = 4")
    many = {AttemptId(f"t-{n}.1"): attempt(name=f"t-{n}.1") for n in range(500)}
    with pytest.raises(JournalUnavailable):
        journal.write(Entry(held=many))
    db.execute("pragma max_page_count = 100000")
    journal.write(Entry(held=many))
    journal.close()
    assert len(open_journal(tmp_path / "journal.db").held) == 500


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "journal.db")
    journal.write(Entry(said=[(1, b"{}")]))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    journal.close()
    assert set(modes.values()) == {0o600}, modes

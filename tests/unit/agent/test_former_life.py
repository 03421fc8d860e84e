"""What an earlier life left: a run directory that the journal does not name is never a leftover.

A log that was cut short is made as SQLite leaves it: the journal's files as they were at an earlier
moment, which read as whole.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from fluxhive.agent.former_life import take_up
from fluxhive.agent.journal import Entry, open_journal
from fluxhive.agent.workspace import Workspace
from fluxhive.core.node import HeldPhase
from fluxhive.core.values import AttemptId
from tests.unit.agent.test_workspace import ATTEMPT, attempt, launch

OTHER = AttemptId("t-9999.1")


class Place:
    """A state directory without an agent."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.journal = home / "journal.db"
        self.workspace = Workspace(home / "runs", home / "contact")

    def write(self, entry: Entry) -> None:
        """One transaction of a life of its own."""
        journal = open_journal(self.journal)
        journal.write(entry)
        journal.close()

    def name(self) -> str:
        """What the journal is called now."""
        journal = open_journal(self.journal)
        journal.close()
        return journal.id

    def run(self, name: AttemptId) -> Path:
        """An attempt that was journalled, started, printed and ended."""
        self.write(Entry(held={name: attempt(name)}))
        self.workspace.prepare(attempt(name), launch(self.home))
        directory = Path(self.workspace.directory(name))
        for file in ("started", "shim.lock", "exit", "stdout"):
            (directory / file).write_text("{}")
        return directory

    def keep(self) -> None:
        """As the journal is now…"""
        shutil.copy(self.journal, self.home / "older")

    def put_back(self) -> None:
        """… it is again."""
        for path in self.home.glob("journal.db-*"):
            path.unlink()
        shutil.copy(self.home / "older", self.journal)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_whole_journal_is_gone_on_with(place: Place) -> None:
    place.run(ATTEMPT)
    name = place.name()
    journal, held = take_up(place.journal, place.workspace.root)
    assert (journal.id, journal.was_absent) == (name, False)
    assert held == {ATTEMPT: attempt()}


def test_what_ended_and_a_shortened_journal_does_not_name_is_taken_up_with_its_output(
    place: Place,
) -> None:
    place.run(OTHER)
    place.keep()
    directory = place.run(ATTEMPT)
    name = place.name()
    place.put_back()
    journal, held = take_up(place.journal, place.workspace.root)
    # Another name: the server must not take what is missing for what is over.
    assert journal.was_absent
    assert journal.id != name
    assert held == {
        OTHER: attempt(OTHER),
        ATTEMPT: replace(attempt(), phase=HeldPhase.LAUNCHING),
    }
    assert place.workspace.clear(held, journal.forgotten) == []
    assert (directory / "stdout").exists()
    journal.close()
    assert set(open_journal(place.journal).held) == {ATTEMPT, OTHER}


def test_what_is_forgotten_and_was_not_removed_yet_does_not_make_a_journal_a_damaged_one(
    place: Place,
) -> None:
    place.run(ATTEMPT)
    place.write(Entry(dropped=[ATTEMPT]))
    journal, held = take_up(place.journal, place.workspace.root)
    assert (journal.was_absent, held) == (False, {})
    assert place.workspace.clear(held, journal.forgotten) == []
    assert os.listdir(place.workspace.root) == []


def test_the_forgotten_are_forgotten_by_a_journal_that_is_begun_anew(place: Place) -> None:
    place.run(OTHER)
    place.write(Entry(dropped=[OTHER]))
    place.keep()
    place.run(ATTEMPT)
    place.put_back()
    journal, held = take_up(place.journal, place.workspace.root)
    assert (set(held), journal.forgotten) == ({ATTEMPT}, [OTHER])
    journal.close()
    assert open_journal(place.journal).forgotten == [OTHER]

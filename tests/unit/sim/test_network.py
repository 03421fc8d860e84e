"""Simulated lines: what TCP keeps in order, and what no TCP can prevent."""

from __future__ import annotations

import random

import pytest

from fluxhive.sim.agenda import Agenda
from fluxhive.sim.network import DOWN, UP, Connection, Line


class Wire:
    """A line with one connection; ``heard`` is what its server end hears."""

    def __init__(self, seed: int = 1) -> None:
        self.agenda = Agenda()
        self.line = Line(self.agenda, random.Random(seed))
        self.connection, self.heard = self.dial()

    def dial(self) -> tuple[Connection, list[str]]:
        """A new connection and what its server end hears."""
        heard: list[str] = []
        connection = self.line.connect()
        connection.ends[UP].on_frame = heard.append
        connection.ends[UP].on_close = lambda: heard.append("closed")
        return connection, heard

    def rest(self, length_ms: int) -> None:
        """So much time passes."""
        until_ms = self.agenda.now_ms + length_ms
        while (at_ms := self.agenda.next_at_ms()) is not None and at_ms <= until_ms:
            self.agenda.step()


@pytest.mark.parametrize("seed", range(10))
def test_frames_of_a_connection_arrive_once_and_in_order_however_bad_the_line(seed: int) -> None:
    wire = Wire(seed)
    wire.line.is_bad = True
    sent = [str(number) for number in range(50)]
    for frame in sent:
        wire.connection.send(UP, frame)
    wire.rest(1_000_000)
    assert wire.heard == sent


def test_a_blocked_way_holds_frames_back_and_tells_nobody() -> None:
    wire = Wire()
    wire.line.block(UP)
    wire.connection.send(UP, "late")
    wire.rest(100_000)
    assert wire.heard == []
    wire.line.open()
    wire.rest(10_000)
    assert wire.heard == ["late"]


@pytest.mark.parametrize("seed", range(10))
def test_a_cut_lets_a_beginning_through_and_nothing_that_is_sent_later(seed: int) -> None:
    wire = Wire(seed)
    sent = [str(number) for number in range(20)]
    for frame in sent:
        wire.connection.send(UP, frame)
    wire.rest(3)
    wire.connection.cut(tell=True)
    wire.connection.send(UP, "too late")
    wire.rest(100_000)
    arrived = wire.heard[:-1]
    assert wire.heard[-1] == "closed"
    assert arrived == sent[: len(arrived)]


def test_nobody_may_hear_of_a_cut() -> None:
    wire = Wire()
    wire.connection.cut(tell=False)
    wire.rest(1_000_000)
    assert wire.heard == []


def test_what_was_sent_before_the_close_arrives_before_it() -> None:
    """Also when its sender is gone by then and has dialled anew: that is the trouble with it."""
    wire = Wire()
    wire.line.block(UP)
    wire.connection.send(UP, "hello 1")
    wire.connection.close(DOWN)
    wire.rest(30_000)
    wire.line.open()
    newer, heard = wire.dial()
    newer.send(UP, "hello 2")
    wire.rest(100_000)
    assert heard == ["hello 2"]
    assert wire.heard == ["hello 1", "closed"]

"""The heap that simulated worlds run on."""

from __future__ import annotations

from fluxhive.sim.agenda import Agenda


def test_actions_happen_in_the_order_of_their_time_and_then_of_their_noting() -> None:
    agenda, seen = Agenda(), []
    agenda.at(20, seen.append, "late")
    agenda.at(10, seen.append, "first")
    agenda.at(10, seen.append, "second")
    while agenda.step():
        seen.append(agenda.now_ms)
    assert seen == ["first", 10, "second", 10, "late", 20]


def test_what_is_past_happens_now_and_time_never_runs_backwards() -> None:
    agenda, seen = Agenda(start_ms=100), []
    agenda.at(5, seen.append, "past")
    agenda.after(1, seen.append, "soon")
    assert (agenda.next_at_ms(), len(agenda)) == (100, 2)
    assert agenda.step()
    assert agenda.now_ms == 100
    assert agenda.step()
    assert (agenda.now_ms, agenda.step()) == (101, False)
    assert seen == ["past", "soon"]

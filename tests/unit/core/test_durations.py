"""How long a task may run, from runs like it, from others of its author, and from its age."""

from __future__ import annotations

from fluxhive.core.durations import lengths_of, outlasting
from fluxhive.core.learning import Basis, Learned

MINUTE_MS = 60_000


def known(*minutes: int) -> Learned:
    return Learned(key="k", durations_ms=tuple(each * MINUTE_MS for each in minutes))


def test_nothing_known_tells_nothing_and_a_limit_tells_the_limit() -> None:
    assert lengths_of(Basis(), 0, None) is None
    limited = lengths_of(Basis(), 0, 5 * MINUTE_MS)
    assert limited is not None
    assert limited.at(0) == limited.at(999) == 5 * MINUTE_MS


def test_its_own_runs_count_most_and_the_others_make_it_wider() -> None:
    own = known(*[10] * 8)
    alone = lengths_of(Basis(own=own), 0, None)
    assert alone is not None
    assert alone.at(999) == 10 * MINUTE_MS
    wider = lengths_of(Basis(own=own, author=known(1, 60), project=known(120)), 0, None)
    assert wider is not None
    assert wider.at(500) == 10 * MINUTE_MS
    assert (wider.at(0), wider.at(999)) == (MINUTE_MS, 120 * MINUTE_MS)


def test_runs_that_took_no_time_are_lengths_too() -> None:
    nothing = lengths_of(Basis(own=known(0), author=known(0, 0)), 0, None)
    assert nothing is not None
    assert nothing.at(0) == nothing.at(999) == 0


def test_who_runs_already_takes_longer_than_he_did_until_now() -> None:
    for age in (1, 9, 30, 500):
        basis = Basis(own=known(5, 10, 20), author=known(2, 40), project=known(8, 25))
        lengths = lengths_of(basis, age * MINUTE_MS, None)
        assert lengths is not None
        assert all(lengths.at(part) > age * MINUTE_MS for part in range(0, 1000, 50))
    # Older than all: the longer it runs, the longer it goes on.
    assert lengths.at(500) > 600 * MINUTE_MS


def test_no_length_is_beyond_the_time_limit_unless_it_is_older() -> None:
    lengths = lengths_of(Basis(own=known(5, 50)), MINUTE_MS, 20 * MINUTE_MS)
    assert lengths is not None
    assert lengths.at(999) == 20 * MINUTE_MS


def test_of_runs_that_outlast_an_age_the_most_particular_count() -> None:
    basis = Basis(own=known(5, 10), author=known(20, 30), project=known(90))
    assert outlasting(basis, 7 * MINUTE_MS) == (10 * MINUTE_MS,)
    assert outlasting(basis, 15 * MINUTE_MS) == (20 * MINUTE_MS, 30 * MINUTE_MS)
    assert outlasting(basis, 60 * MINUTE_MS) == ()

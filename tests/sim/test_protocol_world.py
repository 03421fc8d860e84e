"""Whole hives in simulated worlds: what broke once stays whole, and the same seed is the same."""

from __future__ import annotations

import pytest

from fluxhive.sim.protocol_world import ProtocolWorld

from .histories import kept_seeds, play, world_of

#: A few for every run of the suite; ``./dev sim`` plays thousands.
SEEDS = range(100_000, 100_020)


@pytest.mark.parametrize("seed", [*kept_seeds(), *SEEDS])
def test_nothing_breaks_in_this_history(seed: int) -> None:
    found = play(seed)
    found.add(play(seed, **world_of(seed)))
    assert not found.broken, "\n".join([found.broken[seed][0], *found.broken[seed][1]])


@pytest.mark.parametrize("seed", SEEDS)
def test_where_people_are_mistaken_what_runs_on_is_stopped(seed: int) -> None:
    """They give machines up that are not off: two attempts may run at once, but not for long."""
    found = play(seed, has_mistakes=True)
    assert not found.broken, "\n".join([found.broken[seed][0], *found.broken[seed][1]])


@pytest.mark.parametrize("seed", SEEDS)
def test_what_old_connections_say_late_changes_nothing(seed: int) -> None:
    found = play(seed, hears_late=True)
    assert not found.broken, "\n".join([found.broken[seed][0], *found.broken[seed][1]])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_that_goes_back_to_a_backup_runs_nothing_twice(seed: int) -> None:
    found = play(seed, goes_back=True)
    assert not found.broken, "\n".join([found.broken[seed][0], *found.broken[seed][1]])


def test_the_same_seed_is_the_same_history() -> None:
    def story(seed: int) -> tuple[list[str], int]:
        world = ProtocolWorld(seed)
        world.run()
        return list(world.story), world.agenda.n_done

    assert story(7) == story(7)
    assert story(7) != story(8)


def test_a_history_has_faults_tasks_and_an_end() -> None:
    found = play(11)
    assert found.n_faults > 20
    assert found.tasks >= 12
    assert found.attempts > 5

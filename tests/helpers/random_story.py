"""Stories picked by a seed, the same on every Python: for planted bugs and digests."""

from __future__ import annotations

from .random_hive import MAX_TASKS, RandomHive


def random_story(seed: int, n_steps: int = 80) -> RandomHive:
    """A hive after that many events, all of them picked by the seed; ends settled."""
    hive = RandomHive()
    numbers = _Numbers(seed)
    for node in range(3):
        hive.join(node, 1)
    # A booking or a week without GPU-hours stands in the way from the beginning on.
    if seed % 4 == 0:
        hive.person(7, "quota")
    if seed % 5 == 4:
        hive.person(8 if seed % 4 else 10, "quota")
    for _ in range(n_steps):
        roll, pick = numbers.below(100), numbers.below(1000)
        if roll < 18:
            hive.submit(pick)
        elif roll < 26:
            what = ["cancel", "hold", "release", "raise", "repeat", "edit", "quota"][pick % 7]
            if pick % 4 == 0:
                hive.member(numbers.below(MAX_TASKS), numbers.below(5), what)
            else:
                hive.person(numbers.below(MAX_TASKS), what)
        elif roll < 34:
            hive.join(numbers.below(3), pick)
        elif roll < 44:
            hive.beat(numbers.below(3), pick)
        elif roll < 50:
            what = ["leave", "drain", "undrain", "accept", "give up", "remove"][pick % 6]
            hive.node_event(numbers.below(3), what)
        elif roll < 62:
            word = ["accepted", "refused", "started", "ended"][pick % 4]
            hive.says(numbers.below(1000), word, pick)
        elif roll < 80:
            hive.live_says(
                numbers.below(1000), ["accepted", "started", "ended", "refused"][pick % 4]
            )
        elif roll < 92:
            hive.wait([1, 100, 1500, 7000, 40_000, 90_000][pick % 6])
        elif roll < 96:
            hive.repeat_last()
        else:
            hive.restart()
        hive.check_model()
    hive.settle()
    return hive


class _Numbers:
    """The same numbers on every Python: a linear congruence (constants from Knuth's MMIX)."""

    def __init__(self, seed: int) -> None:
        self._state = seed * 2_654_435_761 + 1

    def below(self, limit: int) -> int:
        """A number from 0 up to this, without it."""
        self._state = (self._state * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**64
        return (self._state >> 33) % limit

"""Random histories of the hive and of a node, by the thousand, for orders of events that are rare.

    python -m tests.helpers.histories [--count 10000] [--first 0]

The machines of tests/properties play a few hundred in each run of the suite; an order that one
history in some thousands has needs more. Each is made from its number, so that a broken one is
played again by ``--first N --count 1``; prints those that break a law, and exits with 1 then.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from random import Random

from tests.helpers.random_hive import RandomHive
from tests.properties.test_executor_machine import NodeMachine
from tests.properties.test_manager_machine import PEOPLE

WORDS = ["accepted", "refused", "started", "ended"]
NODE_EVENTS = ["leave", "drain", "undrain", "accept", "give up", "remove"]
WAITS_MS = [1, 100, 1500, 7000, 40_000, 90_000, 700_000]
#: How often each comes, of a hundred steps.
WEIGHTS = {
    "submit": 20,
    "person": 10,
    "member": 5,
    "join": 15,
    "beat": 10,
    "node": 4,
    "says": 6,
    "live_says": 15,
    "wait": 12,
    "restart": 3,
}


def step(hive: RandomHive, random: Random) -> None:
    """Something happens to a hive."""
    (what,) = random.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
    pick, node = random.randrange(1000), random.randrange(3)
    match what:
        case "submit":
            hive.submit(pick)
        case "person":
            hive.person(random.randrange(12), random.choice(PEOPLE))
        case "member":
            hive.member(random.randrange(12), random.randrange(5), random.choice(PEOPLE))
        case "join":
            hive.join(node, pick)
        case "beat":
            hive.beat(node, pick)
        case "node":
            hive.node_event(node, random.choice(NODE_EVENTS))
        case "says":
            hive.says(pick, random.choice(WORDS), random.randrange(1000))
        case "live_says":
            hive.live_says(pick, random.choice(WORDS))
        case "wait":
            hive.wait(random.choice(WAITS_MS))
        case "restart":
            hive.restart()


def of_a_hive(random: Random) -> None:
    """Raises ``AssertionError`` when a law breaks."""
    hive = RandomHive()
    for _ in range(random.randint(3, 60)):
        step(hive, random)
        hive.check_model()
    hive.settle()


def of_a_node(random: Random) -> None:
    """Raises ``AssertionError`` when a law of a node's machine breaks."""
    node = NodeMachine()
    node.begin()
    for _ in range(random.randint(2, 8)):
        roll = random.random()
        if roll < 0.2:
            node.twin_is_restored()
        elif roll < 0.35:
            node.agent_restarts()
        else:
            node.things_happen(random.randrange(2**32), random.randint(1, 60))
        node.what_has_exited_has_its_word_and_nothing_else_has()
        node.the_journal_has_all()
        node.whoever_waits_its_turn_waits_for_one_that_lives()
        node.two_attempts_of_a_task_are_never_here_at_once()
    node.teardown()


def broken(play: Callable[[Random], None], number: int) -> str:
    """What broke in this history, as one line; empty when nothing did."""
    try:
        play(Random(number))
    except AssertionError as error:
        return (str(error).splitlines() or [type(error).__name__])[0][:200]
    return ""


def main() -> int:
    """Plays them, half of a hive and half of a node."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    n_broken = 0
    for number in range(options.first, options.first + options.count):
        for play in (of_a_hive, of_a_node):
            if said := broken(play, number):
                n_broken += 1
                print(f"history {number} {play.__name__.replace('_', ' ')}: {said}", flush=True)
    print(f"{2 * options.count:,} histories, {n_broken} broken")
    return 1 if n_broken else 0


if __name__ == "__main__":
    sys.exit(main())

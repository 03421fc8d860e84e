"""The hive under any events in any order: ids living or dead, repeats, waits of random length.

Goal: no law of invariants.py breaks. Method: a Hypothesis machine whose rules are the events; each
names any id that was ever given. After each step the laws are checked in full, and these besides,
which need two runs: a repeated event starts nothing new (law 17), unknown ids change nothing
(law 19), and a restored hive goes on like the one it was taken from (law 16). At the end faults
stop, and every task must end and leave nothing reserved (laws 20 and 23).
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.helpers.random_hive import RandomHive

EXAMPLES = 150
STEPS = 60

PEOPLE = ["cancel", "hold", "release", "raise", "repeat", "edit", "quota"]

names = st.integers(min_value=0, max_value=11)
nodes = st.integers(min_value=0, max_value=2)
choice = st.integers(min_value=0, max_value=999)


class ManagerMachine(RuleBasedStateMachine):
    """Rules are thin: what an event looks like stands in tests/helpers/random_hive.py."""

    def __init__(self) -> None:
        super().__init__()
        self.hive = RandomHive()

    @rule(pick=choice)
    def submit(self, pick: int) -> None:
        self.hive.submit(pick)

    @rule(task=names, what=st.sampled_from(PEOPLE))
    def person(self, task: int, what: str) -> None:
        self.hive.person(task, what)

    @rule(task=names, index=st.integers(0, 4), what=st.sampled_from(PEOPLE))
    def person_and_member(self, task: int, index: int, what: str) -> None:
        self.hive.member(task, index, what)

    @rule(node=nodes, pick=choice)
    def join(self, node: int, pick: int) -> None:
        self.hive.join(node, pick)

    @rule(node=nodes, pick=choice)
    def beat(self, node: int, pick: int) -> None:
        self.hive.beat(node, pick)

    @rule(
        node=nodes,
        what=st.sampled_from(["leave", "drain", "undrain", "accept", "give up", "remove"]),
    )
    def node(self, node: int, what: str) -> None:
        self.hive.node_event(node, what)

    @rule(
        attempt=choice,
        word=st.sampled_from(["accepted", "refused", "started", "ended"]),
        pick=choice,
    )
    def says(self, attempt: int, word: str, pick: int) -> None:
        self.hive.says(attempt, word, pick)

    @rule(attempt=choice, word=st.sampled_from(["accepted", "started", "ended", "refused"]))
    def live_says(self, attempt: int, word: str) -> None:
        self.hive.live_says(attempt, word)

    @rule(length=st.sampled_from([1, 100, 1500, 7000, 40_000, 90_000, 700_000]))
    def wait(self, length: int) -> None:
        self.hive.wait(length)

    @precondition(lambda self: self.hive.effects)
    @rule()
    def handle_again(self) -> None:
        self.hive.repeat_last()

    @rule()
    def restart(self) -> None:
        self.hive.restart()

    @invariant()
    def ended_stays_ended(self) -> None:
        self.hive.check_model()

    def teardown(self) -> None:
        self.hive.settle()


TestManagerMachine = ManagerMachine.TestCase
TestManagerMachine.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None
)

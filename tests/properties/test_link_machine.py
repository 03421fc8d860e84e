"""Goal: whatever is cut and whenever the server forgets, each message of an agent takes effect
once, in order, and none is lost. Method: an agent's link against a server that commits late, cut
at random places, restarted at random places; a model remembers what was sent and what took effect.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fluxhive.core.reports import AttemptAccepted
from fluxhive.core.values import AttemptId
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import agent_codec, server_codec


class LossyLink(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.agent = Link(server_codec())
        self.journal: list[tuple[int, bytes]] = []
        self.server = Link(agent_codec())
        self.wire: list[str] = []
        self.sent = 0
        self.handled: list[tuple[int, int]] = []
        self.effects: list[int] = []

    @rule(count=st.integers(1, 5))
    def agent_sends(self, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            message = AttemptAccepted(attempt_id=AttemptId("t-1.1"), epoch=self.sent)
            self.journal.append(self.agent.send(message))

    @rule()
    def agent_writes(self) -> None:
        self.wire.extend(self.agent.frames())

    @rule()
    def server_reads_a_frame(self) -> None:
        if self.wire:
            news = self.server.receive(self.wire.pop(0))
            self.handled.extend((n, message.epoch) for n, message in news)  # type: ignore[union-attr]

    @rule()
    def server_commits(self) -> None:
        for n, epoch in self.handled:
            # The core drops what it knows already: numbers of an incarnation only grow.
            if not self.effects or epoch > self.effects[-1]:
                self.effects.append(epoch)
            self.server.committed(n)
        self.handled = []

    @rule()
    def server_writes(self) -> None:
        for frame in self.server.frames():
            self.agent.receive(frame)
        kept = {n for n, _ in self.agent.unacknowledged}
        self.journal = [item for item in self.journal if item[0] in kept]

    @rule(agent_restarts=st.booleans())
    def the_wire_is_cut(self, agent_restarts: bool) -> None:
        self.wire, self.handled = [], []
        self.server = Link(agent_codec())
        if agent_restarts:
            self.agent = Link(server_codec(), last_n=self.sent, unacknowledged=self.journal)
        else:
            self.agent.resumed()

    @invariant()
    def effects_are_a_gapless_beginning(self) -> None:
        assert self.effects == list(range(1, len(self.effects) + 1))

    @invariant()
    def nothing_is_forgotten_before_it_took_effect(self) -> None:
        waiting = [n for n, _ in self.agent.unacknowledged]
        assert waiting == list(range(self.sent - len(waiting) + 1, self.sent + 1))
        assert self.sent - len(waiting) <= len(self.effects)


TestLossyLink = LossyLink.TestCase

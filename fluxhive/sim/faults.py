"""What goes wrong in a simulated world: each seed enables some of the faults, at random times.

A fault that lasts is taken back by itself, at the latest when the world heals.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from fluxhive.core.events import NodeGivenUp
from fluxhive.core.node import GpuState, NodeState

from .network import BAD_MS, DOWN, UP

if TYPE_CHECKING:
    from .node_world import SimNode
    from .protocol_world import ProtocolWorld

#: Lengths of what lasts, in milliseconds: shorter and longer than every limit there is.
LENGTHS_MS = (300, 2_000, 10_000, 40_000, 120_000)
#: Of the turns that come, in half of the histories: this share is hit, within so long.
TURN_SHARE, TURN_MS = 0.3, 8


class Faults:
    """See the module's docstring."""

    def __init__(self, world: ProtocolWorld, seed: int) -> None:
        self._world = world
        self._chance = random.Random(seed * 7919 + 1)
        self._turn_chance = random.Random(seed * 7919 + 2)
        self._hits_turns = self._turn_chance.choice((False, True))
        self.counts: Counter[str] = Counter()
        kinds: dict[str, Callable[[SimNode], bool]] = {
            "agent killed": self._kill_agent,
            "agent paused": self._pause_agent,
            "agent paused at a dispatch": self._pause_at_dispatch,
            "agent killed at a dispatch": self._kill_at_dispatch,
            "server killed": self._kill_server,
            "server killed in a commit": self._kill_in_commit,
            "server slow": self._slow_server,
            "line cut": self._cut,
            "line cut unheard": self._cut_unheard,
            "line blocked": self._block,
            "line blocked one way": self._block_one_way,
            "line blocked at a hello": self._block_hello,
            "line bad": self._bad_line,
            "shim killed": self._kill_shim,
            "machine suspended": self._suspend,
            "machine restarted": self._restart,
            "machine off and given up": self._off,
            "journal lost": self._lose_journal,
            "disk full": self._fill_disk,
            "disk slow": self._slow_disk,
            "GPU lost": self._lose_gpu,
            "driver hangs": self._hang_driver,
        }
        if world.has_mistakes:
            kinds["given up by mistake"] = self._give_up_by_mistake
        self._enabled = [each for each in kinds if self._chance.random() < 0.6] or [*kinds]
        self._kinds = kinds

    def plan(self, n_faults: int, until_ms: int) -> None:
        """So many faults at random times."""
        for _ in range(n_faults):
            self._world.agenda.at(self._chance.randrange(1_000, until_ms), self._make)

    def _make(self) -> None:
        if self._world.is_healed:
            return
        kind = self._chance.choice(self._enabled)
        node = self._chance.choice(self._world.nodes)
        self._hit(node, kind, self._kinds[kind])

    def at_turn(self, node: SimNode) -> None:
        """A turn came: sometimes its journal is written when the agent ends, and not yet flushed
        when the machine is restarted."""
        chance = self._turn_chance
        if self._hits_turns and not self._world.is_healed and chance.random() < TURN_SHARE:
            kind, hit = chance.choice(
                (
                    ("agent killed at a turn", self._kill_agent),
                    ("machine restarted at a turn", self._restart),
                )
            )
            self._world.agenda.after(chance.randrange(TURN_MS), self._hit, node, kind, hit)

    def _hit(self, node: SimNode, kind: str, hit: Callable[[SimNode], bool]) -> None:
        if not self._world.is_healed and hit(node):
            self.counts[kind] += 1
            self._world.tell(f"fault: {kind}, {node.id}")

    def _length_ms(self) -> int:
        return self._chance.choice(LENGTHS_MS)

    def _later(self, undo: Callable[[], None]) -> bool:
        self._world.agenda.after(self._length_ms(), undo)
        return True

    # ── processes ─────────────────────────────────────────────────────────────────────────────

    def _kill_agent(self, node: SimNode) -> bool:
        if node.agent is None:
            return False
        node.crash_agent()
        self._world.agenda.after(self._chance.choice((100, 500, 3_000, 30_000)), node.start_agent)
        return True

    def _pause_agent(self, node: SimNode) -> bool:
        if node.agent is None:
            return False
        node.pause_agent(self._length_ms())
        return True

    def _pause_at_dispatch(self, node: SimNode) -> bool:
        """Somewhere between the next dispatch and the start of its program."""
        length_ms = self._length_ms()
        node.at_dispatch = lambda: node.pause_agent(length_ms)
        return True

    def _kill_at_dispatch(self, node: SimNode) -> bool:
        def kill() -> None:
            node.crash_agent()
            self._world.agenda.after(500, node.start_agent)

        node.at_dispatch = kill
        return True

    def _kill_server(self, node: SimNode) -> bool:
        if not self._world.server.is_up:
            return False
        self._world.server_dies()
        return True

    def _kill_in_commit(self, node: SimNode) -> bool:
        server = self._world.server
        if not server.is_up or server.dies_at_commit:
            return False
        server.dies_at_commit = self._chance.choice(("before", "after"))
        return True

    def _slow_server(self, node: SimNode) -> bool:
        def undo() -> None:
            self._world.server.is_slow = False

        self._world.server.is_slow = True
        return self._later(undo)

    def _kill_shim(self, node: SimNode) -> bool:
        shims = [run for run in node.runs.values() if run.shim_lives]
        if not shims:
            return False
        self._chance.choice(shims).lose_shim()
        return True

    # ── the line ──────────────────────────────────────────────────────────────────────────────

    def _cut(self, node: SimNode) -> bool:
        for connection in node.line.connections:
            connection.cut(tell=True)
        return bool(node.line.connections)

    def _cut_unheard(self, node: SimNode) -> bool:
        for connection in node.line.connections:
            connection.cut(tell=False)
        return bool(node.line.connections)

    def _block(self, node: SimNode) -> bool:
        node.line.block(UP, DOWN)
        return self._later(node.line.open)

    def _block_one_way(self, node: SimNode) -> bool:
        node.line.block(self._chance.choice((UP, DOWN)))
        return self._later(node.line.open)

    def _block_hello(self, node: SimNode) -> bool:
        """The next hello is under way when the line breaks down."""
        node.blocks_hello_ms = self._chance.choice((5_000, 25_000, 40_000))
        return True

    def _bad_line(self, node: SimNode) -> bool:
        node.line.is_bad = True
        return self._later(node.line.open)

    # ── the machine ───────────────────────────────────────────────────────────────────────────

    def _suspend(self, node: SimNode) -> bool:
        if not node.has_power or node.is_asleep:
            return False
        node.sleep(self._length_ms())
        return True

    def _restart(self, node: SimNode) -> bool:
        if not node.has_power:
            return False
        node.power_off()
        # No machine starts faster than the network forgets.
        self._world.agenda.after(self._length_ms() + 2 * BAD_MS, node.power_on)
        return True

    def _off(self, node: SimNode) -> bool:
        """Somebody turns it off, vouches for that, and turns it on again much later."""
        if not node.has_power:
            return False
        node.power_off()
        server = self._world.server

        def give_up() -> None:
            known = server.manager.node(node.id) if server.is_up else None
            if not node.has_power and known is not None and known.state is NodeState.SILENT:
                self._world.sometimes("a machine that was off was given up")
                server.post([NodeGivenUp(node_id=node.id, by="root")])

        self._world.agenda.after(20_000, give_up)
        self._world.agenda.after(60_000, node.power_on)
        return True

    def _give_up_by_mistake(self, node: SimNode) -> bool:
        """A person takes a machine for off that is only out of contact."""
        if not node.has_power:
            return False
        node.line.block(UP, DOWN)
        world, server = self._world, self._world.server

        def give_up() -> None:
            known = server.manager.node(node.id) if server.is_up else None
            if known is not None and known.state is NodeState.SILENT and not world.is_healed:
                held = server.manager.running_on(node.id)
                world.witness.excused.update(attempt.id for attempt in held)
                world.sometimes("a node was given up by mistake", bool(held))
                server.post([NodeGivenUp(node_id=node.id, by="root")])

        world.agenda.after(20_000, give_up)
        world.agenda.after(60_000, node.line.open)
        return True

    def _lose_journal(self, node: SimNode) -> bool:
        node.crash_agent()
        node.lose_journal()
        self._world.agenda.after(self._chance.choice((100, 3_000)), node.start_agent)
        return True

    def _fill_disk(self, node: SimNode) -> bool:
        def undo() -> None:
            node.disk_is_full = False

        node.disk_is_full = True
        return self._later(undo)

    def _slow_disk(self, node: SimNode) -> bool:
        def undo() -> None:
            node.is_slow = False

        node.is_slow = True
        return self._later(undo)

    def _lose_gpu(self, node: SimNode) -> bool:
        index = self._chance.randrange(len(node.gpu_states))

        def undo() -> None:
            node.set_gpu(index, GpuState.HEALTHY)

        node.set_gpu(index, GpuState.FAULTY)
        return self._later(undo)

    def _hang_driver(self, node: SimNode) -> bool:
        def undo() -> None:
            node.gpus_are_stale = False
            node.gpus_change()

        node.gpus_are_stale = True
        node.gpus_change()
        return self._later(undo)

"""The faults: which there are, how often each is tried, and how each is made.

At most a tenth kill the agent (with its journal, with its machine) or the server; the rest cuts
sockets, blocks and slows lines, kills tasks and shims, pauses processes, fills disks and flips
GPUs. Whatever takes a while is undone by ``undo_due``, so that one thread makes all faults and
several hold at once.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush

from fluxhive import testing

from .people import FAILOVER_MS
from .processes import DAMAGES, Agent, Processes, kill_recorded
from .proxy import DOWN, UP

#: What is made, in parts of a hundred.
MIX = {
    "cut": 25,
    "cut in frame": 18,
    "block both ways": 6,
    "block one way": 6,
    "slow line": 5,
    "kill task": 10,
    "kill shim": 5,
    "pause agent": 6,
    "pause server": 2,
    "full disk": 4,
    "flip GPU": 6,
    "kill agent": 3,
    "lose journal": 1,
    "reboot": 1,
    "kill launcher": 1,
    "kill server": 1,
}
#: A partition or pause that lasts beyond the failover length, so that tasks move.
LONG_S = FAILOVER_MS / 1000 + 25
LONG_SHARE = 0.04


class Faults:
    """Makes faults, one after the other, and counts those that found something to break."""

    def __init__(self, processes: Processes, seed: int) -> None:
        self._it = processes
        self._chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        #: Attempts whose processes were killed here: a signal is the right end for them.
        self.killed_tasks: set[str] = set()
        self.killed_shims: set[str] = set()
        #: … and those that a reboot took along.
        self.rebooted: set[str] = set()
        #: By node: until when journals were lost there. What the node had taken on and not started
        #: may wait for a person then.
        self.journals_lost_s: dict[str, float] = {}
        #: How often an agent ended by itself and was started again.
        self.n_gave_up = 0
        #: What holds now, the earliest to be undone first.
        self._undo: list[tuple[float, int, str, Callable[[], None]]] = []
        self._n = 0
        self._busy: set[str] = set()

    @property
    def n(self) -> int:
        """How many were made."""
        return sum(self.counts.values())

    def make_one(self) -> None:
        """One fault of the mix; nothing when there is nothing that it could break now."""
        kind = self._chance.choices(list(MIX), list(MIX.values()))[0]
        agent = self._chance.choice(self._it.agents)
        if getattr(self, "_" + kind.replace(" ", "_").lower())(agent):
            self.counts[kind] += 1

    def undo_due(self, *, everything: bool = False) -> None:
        """Takes back what has lasted long enough."""
        while self._undo and (everything or self._undo[0][0] <= time.monotonic()):
            _, _, key, undo = heappop(self._undo)
            self._busy.discard(key)
            undo()
        self._start_what_gave_up()

    def _start_what_gave_up(self) -> None:
        """What a service manager does: an agent that ended by itself (it was started on a full
        disk) is started again a second later."""
        for agent in self._it.agents:
            key = f"agent {agent.number}"
            if not agent.is_alive and key not in self._busy:

                def undo(agent: Agent = agent) -> None:
                    agent.start(self._it.token)

                self.n_gave_up += 1
                self._for_a_while(key, 1.0, lambda: None, undo)

    # ── the line ──────────────────────────────────────────────────────────────────────────────

    def _cut(self, agent: Agent) -> bool:
        return self._it.proxy.cut(agent.number, in_frame=False) > 0

    def _cut_in_frame(self, agent: Agent) -> bool:
        return self._it.proxy.cut(agent.number, in_frame=True) > 0

    def _block_both_ways(self, agent: Agent) -> bool:
        return self._block(agent, UP, DOWN)

    def _block_one_way(self, agent: Agent) -> bool:
        return self._block(agent, self._chance.choice((UP, DOWN)))

    def _block(self, agent: Agent, *ways: str) -> bool:
        def undo() -> None:
            if self._chance.random() < 0.5:
                self._it.proxy.cut(agent.number, in_frame=False)
            self._it.proxy.open(agent.number)

        def do() -> None:
            self._it.proxy.block(agent.number, *ways)

        return self._for_a_while(f"line {agent.number}", self._length_s(8), do, undo)

    def _slow_line(self, agent: Agent) -> bool:
        def do() -> None:
            self._it.proxy.delay(agent.number, self._chance.choice((0.05, 0.3, 2.0)))

        def undo() -> None:
            self._it.proxy.delay(agent.number, 0.0)

        return self._for_a_while(f"delay {agent.number}", self._chance.uniform(1, 10), do, undo)

    # ── processes ─────────────────────────────────────────────────────────────────────────────

    def _kill_task(self, agent: Agent) -> bool:
        return self._kill_recorded(agent, "pid", self.killed_tasks)

    def _kill_shim(self, agent: Agent) -> bool:
        return self._kill_recorded(agent, "shim_pid", self.killed_shims)

    def _kill_recorded(self, agent: Agent, key: str, killed: set[str]) -> bool:
        runs = [run for run in agent.runs() if not (run / "exit").exists()]
        if not runs:
            return False
        run = self._chance.choice(runs)
        # Noted first: whoever checks must not see the end without its cause.
        killed.add(run.name)
        return kill_recorded(run, key)

    def _pause_agent(self, agent: Agent) -> bool:
        if not agent.is_alive:
            return False

        def do() -> None:
            agent.pause(True)

        def undo() -> None:
            agent.pause(False)

        return self._for_a_while(f"agent {agent.number}", self._length_s(5), do, undo)

    def _pause_server(self, agent: Agent) -> bool:
        server = self._it.server
        if server is None or server.poll() is not None:
            return False

        def do() -> None:
            server.send_signal(signal.SIGSTOP)

        def undo() -> None:
            server.send_signal(signal.SIGCONT)

        return self._for_a_while("server", self._chance.uniform(0.2, 3), do, undo)

    def _kill_agent(self, agent: Agent) -> bool:
        if not agent.is_alive:
            return False

        def do() -> None:
            agent.kill()

        def undo() -> None:
            agent.start(self._it.token)

        down_s = self._chance.choice((0.05, 0.5, 2.0, 8.0))
        return self._for_a_while(f"agent {agent.number}", down_s, do, undo)

    def _lose_journal(self, agent: Agent) -> bool:
        """The agent is killed, and the next one finds its journal gone or damaged."""
        if not agent.is_alive:
            return False

        def do() -> None:
            agent.kill()
            agent.damage_journal(self._chance.choice(DAMAGES))

        def undo() -> None:
            agent.start(self._it.token)
            self.journals_lost_s[f"n{agent.number}"] = time.monotonic()

        down_s = self._chance.choice((0.05, 0.5, 2.0))
        return self._for_a_while(f"agent {agent.number}", down_s, do, undo)

    def _reboot(self, agent: Agent) -> bool:
        """Everything on the node is killed at once, and its boot id is another afterwards."""
        if not agent.can_reboot or not agent.is_alive:
            return False

        def do() -> None:
            # Noted first, also what starts while the others are killed.
            self.rebooted.update(path.name for path in agent.state.glob("agent/*/runs/*"))
            agent.reboot()
            self.rebooted.update(path.name for path in agent.state.glob("agent/*/runs/*"))

        def undo() -> None:
            agent.start(self._it.token)

        return self._for_a_while(
            f"agent {agent.number}", self._chance.choice((0.5, 3.0, 8.0)), do, undo
        )

    def _kill_launcher(self, agent: Agent) -> bool:
        pid = agent.launcher_pid()
        if pid is None or agent.is_paused:
            return False
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            return False
        return True

    def _kill_server(self, agent: Agent) -> bool:
        def do() -> None:
            self._it.kill_server()

        down_s = self._chance.choice((0.0, 0.5, 3.0))
        return self._for_a_while("server", down_s, do, self._it.start_server)

    # ── what nodes have ───────────────────────────────────────────────────────────────────────

    def _full_disk(self, agent: Agent) -> bool:
        if not agent.has_own_disk:
            return False
        seconds = self._chance.uniform(0.3, 4)
        return self._for_a_while(f"disk {agent.number}", seconds, agent.fill_disk, agent.empty_disk)

    def _flip_gpu(self, agent: Agent) -> bool:
        index = self._chance.randrange(2)
        changes = self._chance.choice(
            ({"state": "lost"}, {"state": "gone"}, {"state": "slow"}, {"foreign_mib": 60_000})
        )

        def do() -> None:
            testing.set_gpu(agent.gpus, index, **changes)

        def undo() -> None:
            testing.set_gpu(agent.gpus, index, state="ok", foreign_mib=0)

        seconds = self._chance.uniform(0.5, 6)
        return self._for_a_while(f"gpu {agent.number}.{index}", seconds, do, undo)

    # ── inside ────────────────────────────────────────────────────────────────────────────────

    def _length_s(self, most: float) -> float:
        if self._chance.random() < LONG_SHARE:
            return self._chance.uniform(LONG_S, LONG_S + 10)
        return self._chance.uniform(0.1, most)

    def _for_a_while(
        self, key: str, seconds: float, do: Callable[[], None], undo: Callable[[], None]
    ) -> bool:
        if key in self._busy:
            return False
        self._busy.add(key)
        do()
        self._n += 1
        heappush(self._undo, (time.monotonic() + seconds, self._n, key, undo))
        return True

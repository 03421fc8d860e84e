"""A simulated machine: its clock, its disk, its GPUs and whatever runs on it.

What stands here outlives the agent: journal, contact file, run directories, shims. A reboot ends
what runs and loses what was not flushed; the clock runs up to five per cent fast or slow.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fluxhive.core.effects import NodeAttempt
from fluxhive.core.node import AttemptUsage, GpuReport, GpuState, Inventory
from fluxhive.core.values import AttemptId, GpuUuid, Ms, NodeId

from .agent_life import AgentLife
from .network import DOWN, UP, Line
from .runs import Run

if TYPE_CHECKING:
    from .protocol_world import ProtocolWorld

GPU_MIB, N_CPUS = 80 * 1024, 2
#: What a machine that was suspended takes to do what is long due.
WAKING_MS = 50
#: After what a service manager starts an agent again that ended by itself.
RESTART_MS = 1_000
#: Whether the clock of nodes runs on while they sleep (CLOCK_BOOTTIME).
COUNTS_SLEEP = True
#: What a program uses of a GPU that it has alone.
USE_MIB = 30_000


class SimJournal:
    """The agent's journal: what is flushed survives a power cut, the rest only the agent."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.held: dict[AttemptId, NodeAttempt] = {}
        self.said: list[tuple[int, bytes]] = []
        self.last_n = 0
        self._flushed: tuple[dict[AttemptId, NodeAttempt], list[tuple[int, bytes]], int]
        self._flushed = ({}, [], 0)

    def append(
        self,
        held: dict[AttemptId, NodeAttempt],
        dropped: list[AttemptId],
        said: list[tuple[int, bytes]],
        acknowledged: int,
    ) -> None:
        """One transaction."""
        self.held.update(held)
        for attempt_id in dropped:
            self.held.pop(attempt_id, None)
        self.said = [*(each for each in self.said if each[0] > acknowledged), *said]
        if said:
            self.last_n = max(self.last_n, said[-1][0])

    def flush(self) -> None:
        """All of it survives a power cut."""
        self._flushed = (dict(self.held), list(self.said), self.last_n)

    def lose_power(self) -> None:
        """Only what was flushed is there."""
        held, said, self.last_n = self._flushed
        self.held, self.said = dict(held), list(said)


class SimNode:
    """See the module's docstring."""

    def __init__(self, world: ProtocolWorld, number: int, *, rate: float, n_gpus: int) -> None:
        self.world = world
        self.agenda = world.agenda
        self.chance = random.Random(world.chance.random())
        self.number = number
        self.id = NodeId(f"n{number}")
        self.rate = rate
        self.line = Line(world.agenda, self.chance)
        self.boot = 1
        self._booted_at_ms = world.agenda.now_ms
        self.has_power = True
        self.n_journals = 1
        self.journal = SimJournal(f"{self.id}-1")
        #: Said by the first agent that finds the journal gone.
        self.journal_was_lost = True
        self.contact_file_ms: Ms | None = None
        self.runs: dict[AttemptId, Run] = {}
        self.incarnation = 0
        self.disk_is_full = False
        self.is_slow = False
        self.gpu_states = [GpuState.HEALTHY] * n_gpus
        self.gpus_are_stale = False
        self.agent: AgentLife | None = None
        #: The line is blocked for so long while the next hello is under way.
        self.blocks_hello_ms: Ms = 0
        #: Happens to the agent some time after the next dispatch has come.
        self.at_dispatch: Callable[[], None] | None = None
        self._paused_until_ms: Ms = 0
        #: Set: the machine sleeps until then, and nothing on it goes on.
        self._asleep_until_ms: Ms = 0
        self._asleep: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._slept_ms: Ms = 0
        self._pid = 1000 * number

    # ── the clock ─────────────────────────────────────────────────────────────────────────────

    @property
    def now_ms(self) -> Ms:
        """Time of the world, which nobody in it can see."""
        return self.agenda.now_ms

    def boot_ms(self) -> Ms:
        """The node's boot clock, which a machine that sleeps does not stop."""
        uncounted_ms = 0 if COUNTS_SLEEP else self._slept_ms
        return 1_000 + int((self.agenda.now_ms - self._booted_at_ms - uncounted_ms) * self.rate)

    def at_boot(self, boot_ms: Ms, action: Callable[..., None], *arguments: Any) -> None:
        """Carry out when the boot clock shows this; never after a reboot."""
        uncounted_ms = 0 if COUNTS_SLEEP else self._slept_ms
        at_ms = self._booted_at_ms + math.ceil((boot_ms - 1_000) / self.rate) + 1 + uncounted_ms
        boot = self.boot

        def unless_rebooted() -> None:
            if self.boot == boot and self.has_power:
                action(*arguments)

        self.agenda.at(at_ms, self._when_awake, unless_rebooted)

    def after(self, delay_ms: Ms, action: Callable[..., None], *arguments: Any) -> None:
        """Carry out so much later; where the machine sleeps then, once it is awake."""
        self.agenda.after(delay_ms, self._when_awake, action, *arguments)

    def _when_awake(self, action: Callable[..., None], *arguments: Any) -> None:
        if self.is_asleep:
            self._asleep.append((action, arguments))
        else:
            action(*arguments)

    # ── the agent ─────────────────────────────────────────────────────────────────────────────

    def start_agent(self) -> None:
        """Somebody starts the agent, unless one runs or the machine is off."""
        if self.agent is None and self.has_power and self.journal_was_lost and self.disk_is_full:
            # It cannot make another one: it ends, and is started again.
            self.agenda.after(RESTART_MS, self.start_agent)
        elif self.agent is None and self.has_power:
            self.incarnation += 1
            self.agent = AgentLife(self, self.incarnation)
            self.agent.begin()

    def crash_agent(self) -> None:
        """SIGKILL."""
        if self.agent is not None:
            self.agent.die()
            self.agent = None
            self._paused_until_ms = 0

    def pause_agent(self, length_ms: Ms) -> None:
        """SIGSTOP, and SIGCONT so much later."""
        self._paused_until_ms = max(self._paused_until_ms, self.now_ms + length_ms)

    def awake(self, life: AgentLife, action: Callable[..., None], *arguments: Any) -> None:
        """Carry out now, or when the agent goes on; never in another life of it."""
        if self.agent is not life:
            return
        if self.is_asleep:
            self._asleep.append((self.awake, (life, action, *arguments)))
        elif self._paused_until_ms > self.now_ms:
            self.agenda.at(self._paused_until_ms, self.awake, life, action, *arguments)
        else:
            action(*arguments)

    @property
    def is_well(self) -> bool:
        """Whether nothing keeps it from doing at once what it is told."""
        is_paused = self._paused_until_ms > self.now_ms or self.is_asleep
        is_blocked = any(self.line.is_blocked.values()) or self.line.is_bad
        troubled = is_paused or is_blocked or self.disk_is_full or self.is_slow
        return self.agent is not None and not troubled

    def lose_journal(self, *, keeps: bool = False) -> None:
        """It is damaged: the next agent begins another one, with what it had or with nothing."""
        old = self.journal
        self.n_journals += 1
        self.journal = SimJournal(f"{self.id}-{self.n_journals}")
        self.journal_was_lost = True
        if keeps:
            self.journal.append(old.held, [], old.said, 0)
            self.journal.last_n = old.last_n
            self.journal.flush()

    # ── the machine ───────────────────────────────────────────────────────────────────────────

    def power_off(self) -> None:
        """All that runs is gone, and so is what was not flushed."""
        self.wake_up()
        self.crash_agent()
        self.has_power = False
        for run in self.runs.values():
            run.lose_power()
        self.journal.lose_power()
        for connection in self.line.connections:
            connection.lose_power()

    def power_on(self) -> None:
        """The machine starts again, and its agent with it."""
        if not self.has_power:
            self.has_power = True
            self.boot += 1
            self._booted_at_ms = self.now_ms
            self.start_agent()

    def sleep(self, length_ms: Ms) -> None:
        """Suspended: nothing goes on here, and nothing passes the line; the boot clock runs on."""
        self._asleep_until_ms = self.now_ms + length_ms
        self._slept_ms += length_ms
        self.line.sleeps = True
        self.line.block(UP, DOWN)
        self.world.witness.freeze(self.id)
        self.agenda.at(self._asleep_until_ms, self._wake_up, self._asleep_until_ms)

    def wake_up(self) -> None:
        """Before its time."""
        if self.is_asleep:
            self._slept_ms -= self._asleep_until_ms - self.now_ms
            self._asleep_until_ms = self.now_ms
            self._wake_up(self.now_ms)

    @property
    def is_asleep(self) -> bool:
        """Whether the machine is suspended."""
        return self._asleep_until_ms > self.now_ms

    def _wake_up(self, until_ms: Ms) -> None:
        if until_ms == self._asleep_until_ms and self.line.sleeps:
            self.line.sleeps = False
            self.line.open()
            # What is due is done first; whatever runs on from there runs for everybody to see.
            due, self._asleep = self._asleep, []
            for action, arguments in due:
                self.agenda.after(0, action, *arguments)
            self.agenda.after(WAKING_MS, self._thaw)

    def _thaw(self) -> None:
        if not self.is_asleep:
            self.world.witness.thaw(self.id)

    def next_pid(self) -> int:
        """A new process id."""
        self._pid += 1
        return self._pid

    def tell_started(self, run: Run) -> None:
        """The shim tells whoever is there."""
        self._tell(run, 5, AgentLife.note_start)

    def tell_ended(self, run: Run) -> None:
        """The shim's record, or its death, is noticed by whoever is there."""
        self._tell(run, 250, AgentLife.note_end)

    def _tell(self, run: Run, most_ms: Ms, what: Callable[[AgentLife, Run], None]) -> None:
        life = self.agent
        if life is not None:
            delay_ms = self.chance.randrange(most_ms)
            self.agenda.after(delay_ms, self.awake, life, what, life, run)
            if run.dispatch.reservation.gpus:
                self.agenda.after(delay_ms + 500, self.awake, life, life.read_gpus)

    # ── its GPUs ──────────────────────────────────────────────────────────────────────────────

    def set_gpu(self, index: int, state: GpuState) -> None:
        """A GPU falls off the bus, or is back."""
        self.gpu_states[index] = state
        self.gpus_change()

    def gpus_change(self) -> None:
        """The agent's next look sees it."""
        if self.agent is not None:
            self.agenda.after(500, self.awake, self.agent, self.agent.read_gpus)

    def gpu_reports(self) -> tuple[GpuReport, ...]:
        """How the GPUs are now."""
        uses: dict[GpuUuid, list[AttemptUsage]] = {}
        for run in self.runs.values():
            if run.is_alive:
                for share in run.dispatch.reservation.gpus:
                    used_mib = min(USE_MIB, share.gpu_memory_mib)
                    usage = AttemptUsage(attempt_id=run.dispatch.attempt_id, used_mib=used_mib)
                    uses.setdefault(share.uuid, []).append(usage)
        return tuple(
            GpuReport(
                uuid=self.gpu_uuid(index),
                index=index,
                model="simulated",
                total_mib=GPU_MIB,
                state=state,
                state_reason="" if state is GpuState.HEALTHY else "it fell off the bus",
                attempts=tuple(uses.get(self.gpu_uuid(index), ())),
                stale=self.gpus_are_stale,
            )
            for index, state in enumerate(self.gpu_states)
        )

    def gpu_uuid(self, index: int) -> GpuUuid:
        """Names a GPU of this node."""
        return GpuUuid(f"{self.id}-gpu{index}")

    def inventory(self) -> Inventory:
        """What the node has."""
        return Inventory(
            cpus=N_CPUS,
            memory_mib=64 * 1024,
            gpus=self.gpu_reports(),
            address=f"10.0.0.{self.number}",
        )

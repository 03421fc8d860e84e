"""Run directories, shims and programs of a simulated node: all that lives without the agent.

As in agent/shim.py: whoever makes ``started`` owns the attempt for ever; the shim ends it at its
time limit, when asked, and at its deadline by the node's own clock and the contact file; the record
of the end is there once everything of it is gone. A program does as its fate says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from fluxhive.core.events import DispatchReceived
from fluxhive.core.outcome import ExitFacts, StopCause
from fluxhive.core.task import NEVER_AT_MS
from fluxhive.core.values import Ms

from .output import printed
from .witness import Process

if TYPE_CHECKING:
    from .node_world import SimNode

SIGTERM, SIGKILL = 15, 9


class Fate(Struct, frozen=True):
    """What a program would do if it were left alone, and when it is asked to end."""

    lasts_ms: Ms
    code: int
    #: From SIGTERM to its end; beyond the grace it is killed.
    hears_ms: Ms


class Run:
    """One attempt on one node. ``on_started`` and ``on_ended`` reach the agent that lives then."""

    def __init__(self, node: SimNode, dispatch: DispatchReceived) -> None:
        self._node = node
        self.dispatch = dispatch
        #: Who made ``started``: nobody yet, ``agent`` (it will never start) or ``shim``.
        self.claimed_by = ""
        self.boot = node.boot
        self.process: Process | None = None
        self.is_alive = False
        self.shim_lives = False
        self.started_at_boot_ms: Ms = 0
        self.facts: ExitFacts | None = None
        self.stopped_by: StopCause | None = None
        self.pid = 0
        #: Of its output, what the node's disk need not keep any more.
        self.given_back = 0

    def n_printed(self) -> int:
        """Bytes of output up to now."""
        if self.process is None:
            return 0
        ended_at_ms = self.process.ended_at_ms
        until_ms = self._node.now_ms if ended_at_ms is None else ended_at_ms
        return printed(self.process.started_at_ms, until_ms)

    # ── start ─────────────────────────────────────────────────────────────────────────────────

    def claim(self, who: str) -> bool:
        """Makes it one's own; False when somebody else was faster."""
        if self.claimed_by:
            return False
        self.claimed_by = who
        return True

    def start(self) -> None:
        """The shim is forked: it starts the program unless the attempt is another's."""
        node = self._node
        if self.boot != node.boot or not node.has_power or not self.claim("shim"):
            return
        if self._deadline_ms() <= node.boot_ms():
            node.world.sometimes("a shim did not start what was out of contact too long")
            self.facts = ExitFacts(exec_error="ECANCELED", launch_detail="out of contact")
            node.tell_ended(self)
            return
        self.shim_lives = self.is_alive = True
        self.pid = node.next_pid()
        self.started_at_boot_ms = node.boot_ms()
        fate = node.world.fate_of(self.dispatch.task_id)
        dispatch = self.dispatch
        self.process = Process(
            attempt_id=dispatch.attempt_id,
            task_id=dispatch.task_id,
            node_id=node.id,
            started_at_ms=node.now_ms,
            reservation=dispatch.reservation,
        )
        once = node.world.is_at_most_once(dispatch.task_id)
        node.world.witness.started(self.process, at_most_once=once)
        node.after(fate.lasts_ms, self._ends_by_itself, fate.code)
        if dispatch.time_limit_ms is not None:
            node.at_boot(self.started_at_boot_ms + dispatch.time_limit_ms, self._limit_over)
        if dispatch.failover_ms is not None:
            node.at_boot(self._deadline_ms(), self._deadline)
        node.tell_started(self)

    # ── life ──────────────────────────────────────────────────────────────────────────────────

    def stop(self, cause: StopCause) -> None:
        """SIGTERM to the tree, SIGKILL once the grace is over."""
        if not self.shim_lives or self.stopped_by is not None:
            return
        self.stopped_by = cause
        fate = self._node.world.fate_of(self.dispatch.task_id)
        # Where the deadline is over, the grace counts from there, not from when a machine that
        # slept notices it.
        grace_ms = max(0, self.dispatch.grace_ms - self._overdue_ms())
        if fate.hears_ms < grace_ms:
            self._node.after(fate.hears_ms, self._end, None, SIGTERM)
        self._node.after(grace_ms, self._end, None, SIGKILL)

    def kill(self) -> None:
        """SIGKILL to the tree, by the shim."""
        if self.shim_lives:
            self.stopped_by = self.stopped_by or StopCause.CANCEL
            self._node.after(2, self._end, None, SIGKILL)

    def lose_shim(self) -> None:
        """The shim is killed: the kernel takes the program with it, and nobody writes a record."""
        self.shim_lives = False
        self._die(None, SIGKILL)
        self._node.tell_ended(self)

    def lose_power(self) -> None:
        """The machine is off."""
        self.shim_lives = False
        self._die(None, SIGKILL)

    def _ends_by_itself(self, code: int) -> None:
        if self.stopped_by is None:
            self._end(code, None)

    def _limit_over(self) -> None:
        self.stop(StopCause.TIME_LIMIT)

    def _deadline(self) -> None:
        """The deadline that was set has come: the contact file may have moved it."""
        node = self._node
        if not self.shim_lives or self.boot != node.boot or self.stopped_by is not None:
            return
        if node.boot_ms() < self._deadline_ms():
            node.at_boot(self._deadline_ms(), self._deadline)
        else:
            node.world.sometimes("a shim stopped its attempt at the deadline")
            long_over = self._overdue_ms() > self.dispatch.grace_ms
            node.world.sometimes("a machine slept through a deadline", long_over)
            self.stop(StopCause.LEASE)

    def _deadline_ms(self) -> Ms:
        """By the node's clock; a contact that is ahead of it is of before a reboot."""
        contact_ms, failover_ms = self._node.contact_file_ms, self.dispatch.failover_ms
        if failover_ms is None:
            return NEVER_AT_MS
        if contact_ms is None or contact_ms > self._node.boot_ms():
            return 0
        return contact_ms + failover_ms

    def _overdue_ms(self) -> Ms:
        """For how long the deadline has been over."""
        return max(0, self._node.boot_ms() - self._deadline_ms())

    # ── end ───────────────────────────────────────────────────────────────────────────────────

    def _end(self, code: int | None, signal: int | None) -> None:
        if not self.shim_lives or self.boot != self._node.boot:
            return
        self.shim_lives = False
        self._die(code, signal)
        self.facts = ExitFacts(
            exit_code=code,
            signal=signal,
            stopped_by=self.stopped_by,
            duration_ms=max(0, self._node.boot_ms() - self.started_at_boot_ms),
        )
        self._node.tell_ended(self)

    def _die(self, code: int | None, signal: int | None) -> None:
        if self.is_alive:
            self.is_alive = False
            assert self.process is not None
            self._node.world.witness.ended(self.process, self._node.now_ms, code, signal)

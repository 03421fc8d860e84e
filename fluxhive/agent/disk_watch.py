"""The disk of the agent's state, looked at some times a minute, and with it what the kernel killed.

A full disk is why a node takes nothing new; how much is left is told to people before that.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread

from fluxhive.core.health import NodeHealth

from .host_memory import HostMemory
from .machine import Disk, Machine

#: Also how often the kernel's counts of killed processes are noted.
LOOK_S = 5.0


class DiskWatch:
    """Belongs to the loop's thread; ``run`` for as long as the agent lives."""

    def __init__(
        self, machine: Machine, host: HostMemory, on_problem: Callable[[str], None]
    ) -> None:
        self._machine = machine
        self._host = host
        self._on_problem = on_problem
        self._disk = Disk()

    @property
    def problem(self) -> str:
        """Why nothing new can be started; empty: it can."""
        return self._disk.problem

    def health(self) -> NodeHealth:
        """What is known of the disk, for a look at the node."""
        return NodeHealth(disk_free_mib=self._disk.free_mib, disk_total_mib=self._disk.total_mib)

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            self._host.look()
            before = self._disk.problem
            self._disk = await anyio.to_thread.run_sync(self._machine.disk, abandon_on_cancel=True)
            if self._disk.problem != before:
                self._on_problem(self._disk.problem)
            await anyio.sleep(LOOK_S)

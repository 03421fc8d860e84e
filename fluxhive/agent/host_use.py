"""What attempts take of the machine itself, memory and CPU, looked at now and then, for curves.

One pass over ``/proc`` serves all attempts: who is below their shims, what each process holds and
has computed. A look that takes long is followed by a long pause, so that it never costs more than
``SHARE`` of a core, however many processes the machine has. Of an attempt in a container of docker
or podman, whose processes are below another's, the container's cgroup is asked; not known is that
of one in its first second, or where its cgroup cannot be read. Without Linux psutil looks; what was
computed by processes that have ended is not known there.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import anyio
import anyio.to_thread
import psutil

from fluxhive.core.values import AttemptId
from fluxhive.protocol.agent import HostSample

from . import process, proctree, system
from .container_usage import ContainerUsage, noted_usage
from .run_directory import Started
from .usage import Backlog

LOOK_S = 5.0
#: Of one core, at most.
SHARE = 0.001
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class _Process(NamedTuple):
    """A process at one look."""

    parent: int
    #: CPU time of itself and of those below it that it has waited for.
    ticks: int
    pages: int


class HostUse:
    """Looks while anything runs. ``run`` for as long as the agent lives."""

    def __init__(
        self,
        running: Callable[[], Mapping[AttemptId, Started]],
        directory_of: Callable[[AttemptId], str],
    ) -> None:
        self._running = running
        self._directory_of = directory_of
        #: What was computed by the last look, in ms, and when (boot clock).
        self._before: dict[AttemptId, tuple[int, int]] = {}
        self._enclosed: dict[AttemptId, bool] = {}
        self._containers: dict[AttemptId, ContainerUsage] = {}
        #: What the server has yet to be told.
        self.backlog = Backlog[HostSample](lambda sample: sample.attempt_id, higher)

    async def run(self) -> None:
        """Looks until cancelled."""
        pause_s = LOOK_S
        while True:
            await anyio.sleep(pause_s)
            running = dict(self._running())
            self._enclosed = {each: self._enclosed.get(each, False) for each in running}
            self._containers = {k: it for k, it in self._containers.items() if k in running}
            pause_s = LOOK_S
            if running:
                samples, cost_s = await anyio.to_thread.run_sync(
                    self.look, running, abandon_on_cancel=True
                )
                self.backlog.add(samples)
                pause_s = max(LOOK_S, cost_s / SHARE)

    def look(self, running: Mapping[AttemptId, Started]) -> tuple[tuple[HostSample, ...], float]:
        """One look, and what CPU time it took."""
        began_s = time.thread_time()
        now_ms = process.boottime_ms()
        processes = _all_processes()
        below: dict[int, list[int]] = {}
        for pid, found in processes.items():
            below.setdefault(found.parent, []).append(pid)
        samples = []
        before, self._before = self._before, {}
        for attempt_id, started in running.items():
            if self._is_enclosed(attempt_id):
                taken = self._of_container(attempt_id)
            else:
                tree = [processes[pid] for pid in _tree(started.shim_pid, below)]
                taken = _of_tree(tree) if tree else None
            if taken is None:
                continue  # it has just ended, or nobody tells
            memory_mib, cpu_ms = taken
            self._before[attempt_id] = now_ms, cpu_ms
            samples.append(
                HostSample(
                    at_ms=now_ms,
                    attempt_id=attempt_id,
                    memory_mib=memory_mib,
                    cpu_percent=_percent(before.get(attempt_id), now_ms, cpu_ms),
                )
            )
        return tuple(samples), time.thread_time() - began_s

    def _is_enclosed(self, attempt_id: AttemptId) -> bool:
        """Whether it is in a container whose processes are not below its shim."""
        if not self._enclosed.get(attempt_id):
            path = f"{self._directory_of(attempt_id)}/container-id"
            self._enclosed[attempt_id] = os.path.exists(path)
        return self._enclosed[attempt_id]

    def _of_container(self, attempt_id: AttemptId) -> tuple[int, int] | None:
        """MiB that its container holds and its CPU time in ms; None: not known."""
        usage = self._containers.get(attempt_id) or noted_usage(self._directory_of(attempt_id))
        if usage is None:
            return None
        self._containers[attempt_id] = usage
        usage.look()
        if usage.held_bytes is None or usage.cpu_ms is None:
            return None
        return usage.held_bytes >> 20, usage.cpu_ms


def higher(first: HostSample, second: HostSample) -> HostSample:
    """Of two looks of one attempt: the higher memory, the mean of the CPU, the later time."""
    percents = [each for each in (first.cpu_percent, second.cpu_percent) if each is not None]
    return HostSample(
        at_ms=second.at_ms,
        attempt_id=second.attempt_id,
        memory_mib=max(first.memory_mib, second.memory_mib),
        cpu_percent=sum(percents) // len(percents) if percents else None,
    )


def _of_tree(tree: list[_Process]) -> tuple[int, int]:
    """MiB that these hold, and their CPU time in ms."""
    ticks = sum(each.ticks for each in tree)
    return sum(each.pages for each in tree) * _PAGE_BYTES >> 20, ticks * 1000 // _TICKS


def _percent(before: tuple[int, int] | None, now_ms: int, cpu_ms: int) -> int | None:
    """Of one core, since the last look; None: not known, as after part of the tree has ended."""
    if before is None or now_ms <= before[0] or cpu_ms < before[1]:
        return None
    return round(100 * (cpu_ms - before[1]) / (now_ms - before[0]))


def _tree(root: int, below: Mapping[int, list[int]]) -> list[int]:
    """All below a process, without itself."""
    found: list[int] = []
    level = below.get(root, [])
    while level:
        found += level
        level = [each for pid in level for each in below.get(pid, [])]
    return found


def _all_processes() -> dict[int, _Process]:
    if not system.IS_LINUX:
        return _by_psutil()
    found: dict[int, _Process] = {}
    try:
        pids = list(proctree.all_pids())
    except OSError:
        return found
    for pid in pids:
        each = _process(pid)
        if each is not None:
            found[pid] = each
    return found


def _process(pid: int) -> _Process | None:
    try:
        text = proctree.read_file(f"/proc/{pid}/stat")
        # After the name, which may hold anything; numbers as in proc(5), less three.
        fields = text[text.rindex(b")") + 2 :].split()
        ticks = sum(int(fields[i]) for i in (11, 12, 13, 14))
        return _Process(int(fields[1]), ticks, int(fields[21]))
    except (OSError, ValueError, IndexError):
        return None  # ended meanwhile


def _by_psutil() -> dict[int, _Process]:
    found: dict[int, _Process] = {}
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error), each.oneshot():  # ended meanwhile, or not ours
            times = each.cpu_times()
            ticks = round((times.user + times.system) * _TICKS)
            pages = each.memory_info().rss // _PAGE_BYTES
            found[each.pid] = _Process(each.ppid(), ticks, pages)
    return found

"""The attempts' processes as events: what runs here, what started, what ended and how.

Between the executor's wishes and ``process``: starts go to the launcher in batches, what launcher
and shims say becomes ``ProcessStarted`` and ``ProcessExited``. Shims of an earlier life of the
agent, of which nobody would hear otherwise, are watched here until they end. Belongs to the loop's
thread; ending the tree of a dead shim runs in a worker thread.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import anyio
import anyio.abc
import anyio.to_thread
import msgspec

from fluxhive.core.effects import NodeAttempt
from fluxhive.core.errors import InternalError
from fluxhive.core.events import NodeEvent, ProcessExited, ProcessStarted
from fluxhive.core.outcome import ExitFacts, GpuPeak, HostScene, StopCause
from fluxhive.core.values import AttemptId

from . import process
from .containers import end_container, is_container
from .exit_facts import exit_facts, facts_without_record
from .lost_runs import keep_exit
from .process import AnyLauncher, LauncherRestarted, ShimEvent
from .run_directory import (
    Exited,
    RunPhase,
    RunState,
    ShimDied,
    Started,
    acknowledge,
    give_up_start,
    inspect_run,
    read_spec,
)

log = logging.getLogger(__name__)

#: An adopted shim that lingers does not end by itself: its exit record is looked for this often.
WATCH_S = 0.25
#: How often it is looked whether somebody has stopped a shim (SIGSTOP).
WAKE_S = 5.0
#: A shim told to kill that has not done so by then is helped.
KILL_HELP_S = 15.0


class Shims:
    """All attempts of this node that have a process, by attempt id."""

    def __init__(
        self,
        launcher: AnyLauncher,
        *,
        directory_of: Callable[[AttemptId], str],
        put: Callable[[NodeEvent], None],
        gpu_peaks: Callable[[AttemptId], tuple[GpuPeak, ...]] = lambda attempt_id: (),
        host_scene: Callable[[AttemptId, int | None], HostScene | None] = lambda *args: None,
    ) -> None:
        self._launcher = launcher
        self._directory_of = directory_of
        self._put = put
        self._gpu_peaks = gpu_peaks
        self._host_scene = host_scene
        #: Told of each start with its directory, and of each end with its facts.
        self.on_started: Callable[[AttemptId, str], None] = lambda attempt_id, directory: None
        self.on_ended: Callable[[AttemptId, str, ExitFacts], None] = lambda *args: None
        #: How long its stdout and stderr are, by whoever follows them.
        self.lengths_of: Callable[[AttemptId], tuple[int, ...] | None] = lambda attempt_id: None
        #: Told when an attempt is over and told.
        self.on_forgotten: Callable[[AttemptId], None] = lambda attempt_id: None
        self._started: dict[AttemptId, Started] = {}
        self._stop_causes: dict[AttemptId, StopCause] = {}
        self._watched: dict[AttemptId, int | None] = {}
        self._has_watched = anyio.Event()
        self._group: anyio.abc.TaskGroup | None = None
        self._threads = anyio.CapacityLimiter(4)

    # ── what the executor wants ───────────────────────────────────────────────────────────────

    def start(self, attempt_ids: Sequence[AttemptId]) -> None:
        """Has a shim started for each, in one request."""
        self._launcher.request_start([self._directory_of(each) for each in attempt_ids])

    def stop(self, attempt: NodeAttempt, cause: StopCause) -> None:
        """SIGTERM to the tree, and the shim's own ladder from there.

        One that makes room gets the signal by which it saves its work, where it has one.
        """
        name = attempt.dispatch.checkpoint_signal if cause is StopCause.PREEMPT else None
        attempt_id = attempt.dispatch.attempt_id
        self._stop_causes[attempt_id] = cause
        started = self._started.get(attempt_id)
        directory = self._directory_of(attempt_id)
        if started is None or not process.stop(directory, started, name):
            self._settle_soon(attempt_id)

    def kill(self, attempt: NodeAttempt) -> None:
        """SIGKILL to the tree, by the shim; by ourselves where the shim does not do it."""
        attempt_id = attempt.dispatch.attempt_id
        started = self._started.get(attempt_id)
        directory = self._directory_of(attempt_id)
        if started is None or not process.kill_now(directory, started):
            self._settle_soon(attempt_id)
        elif self._group is not None:
            self._group.start_soon(self._help_kill, attempt_id)

    def hand_back(self, attempt_id: AttemptId) -> None:
        """It was never asked for and never will be: the agent ends."""
        self._note_end(attempt_id, _not_started("the agent ended before it was started"))

    def forget(self, attempt_id: AttemptId) -> None:
        """The attempt is over and told."""
        self._started.pop(attempt_id, None)
        self._stop_causes.pop(attempt_id, None)
        self._unwatch(attempt_id)
        self.on_forgotten(attempt_id)

    @property
    def running(self) -> Mapping[AttemptId, Started]:
        """What was started and has not ended."""
        return self._started

    # ── what happens ──────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Listens until cancelled. Raises ``InternalError`` when no launcher stays up."""
        async with anyio.create_task_group() as self._group:
            self._group.start_soon(self._listen, name="launcher")
            self._group.start_soon(self._watch, name="adopted-shims")
            self._group.start_soon(self._wake_stopped, name="stopped-shims")

    async def _listen(self) -> None:
        # A reader instead of a task that waits anew for each event: the events are only noted.
        loop = asyncio.get_running_loop()
        broken: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._launcher.fileno(), self._read, broken)
        try:
            await broken
        finally:
            loop.remove_reader(self._launcher.fileno())

    def _read(self, broken: asyncio.Future[None]) -> None:
        try:
            for event in self._launcher.read_events():
                self._note(event)
        except Exception as error:  # supervisor: whoever awaits `_listen` gets it
            if not broken.done():
                broken.set_exception(error)

    def _note(self, event: ShimEvent) -> None:
        if isinstance(event, Started):
            self._note_start(AttemptId(event.attempt), event)
        elif isinstance(event, Exited):
            self._note_exit(AttemptId(event.attempt), event)
        elif isinstance(event, ShimDied):
            log.error("shim died", extra={"dir": event.dir, "status": event.status})
            self._note_death(AttemptId(os.path.basename(event.dir)), event)
        elif isinstance(event, LauncherRestarted):
            log.error("launcher died, another one took over", extra={"pid": event.pid})
            for attempt_id, started in list(self._started.items()):
                self._watch_shim(attempt_id, started)

    def _note_start(self, attempt_id: AttemptId, started: Started) -> None:
        self._started[attempt_id] = started
        self.on_started(attempt_id, self._directory_of(attempt_id))
        self._put(
            ProcessStarted(
                attempt_id=attempt_id, pid=started.pid, started_at_ms=started.at_boottime_ms
            )
        )

    def _note_exit(self, attempt_id: AttemptId, exited: Exited) -> None:
        directory = self._directory_of(attempt_id)
        if is_container(directory) and self._group is not None:
            self._group.start_soon(self._note_exit_of_container, attempt_id, exited)
        else:
            self._note_facts(attempt_id, exited)

    async def _note_exit_of_container(self, attempt_id: AttemptId, exited: Exited) -> None:
        """Whatever led it may have been killed: the container itself must be over, too."""
        directory = self._directory_of(attempt_id)
        alive = await anyio.to_thread.run_sync(end_container, directory, limiter=self._threads)
        if alive:
            exited = msgspec.structs.replace(exited, unkillable=[*exited.unkillable, *alive])
        self._note_facts(attempt_id, exited)

    def _note_facts(self, attempt_id: AttemptId, exited: Exited) -> None:
        directory = self._directory_of(attempt_id)
        started = self._started.get(attempt_id)
        facts = exit_facts(
            directory,
            exited,
            stop_cause=self._stop_causes.get(attempt_id),
            gpu_peaks=self._gpu_peaks(attempt_id),
            lengths=self.lengths_of(attempt_id),
            host=partial(self._host_scene, attempt_id, None if started is None else started.pid),
        )
        self._note_end(attempt_id, facts)

    def _note_end(
        self,
        attempt_id: AttemptId,
        facts: ExitFacts,
        *,
        supervisor_lost: bool = False,
        rebooted: bool = False,
    ) -> None:
        self._started.pop(attempt_id, None)
        self._unwatch(attempt_id)
        self.on_ended(attempt_id, self._directory_of(attempt_id), facts)
        self._put(
            ProcessExited(
                attempt_id=attempt_id,
                facts=facts,
                supervisor_lost=supervisor_lost,
                rebooted=rebooted,
            )
        )

    def _note_death(self, attempt_id: AttemptId, died: ShimDied) -> None:
        if died.status is None:
            give_up_start(died.dir)
            self._note_end(attempt_id, _not_started(died.detail or "no supervisor to be had"))
        else:
            self._settle_soon(attempt_id)

    # ── attempts of an earlier life, and shims that died ──────────────────────────────────────

    async def adopt(self, attempt_id: AttemptId) -> None:
        """Takes up an attempt that the journal says is not over; the answer is an event."""
        await self._settle(attempt_id)

    def _settle_soon(self, attempt_id: AttemptId) -> None:
        if self._group is not None:
            self._group.start_soon(self._settle, attempt_id)

    async def _settle(self, attempt_id: AttemptId) -> None:
        """Finds out from the run directory how an attempt stands, and says so."""
        directory = self._directory_of(attempt_id)
        state = await anyio.to_thread.run_sync(inspect_run, directory, limiter=self._threads)
        if state.phase is RunPhase.NOT_STARTED:
            if _never_will_start(directory):
                self._note_end(attempt_id, _not_started("the agent ended before it was started"))
                return
            state = inspect_run(directory)
        if state.phase is RunPhase.RUNNING:
            if state.started is None:
                # Its shim is between claim and start; or the disk was too full to say more.
                self._watched.setdefault(attempt_id, None)
                self._has_watched.set()
            else:
                if attempt_id not in self._started:
                    self._note_start(attempt_id, state.started)
                self._watch_shim(attempt_id, state.started)
        elif state.exited is not None:
            is_kept = keep_exit(directory)
            self._note_exit(attempt_id, state.exited)
            if is_kept:
                acknowledge(directory)
            if is_kept and state.started is not None:
                # It may look for that file too late, when the directory has been removed.
                process.stop(directory, state.started)
        else:
            await self._end_lost(attempt_id, directory, state)

    async def _end_lost(self, attempt_id: AttemptId, directory: str, state: RunState) -> None:
        """No supervisor and no record: whatever is left of the tree is ended before it is said."""
        started = state.started
        rebooted = started is not None and started.boot_id != process.boot_id()
        unkillable: list[int] = []
        if not rebooted:
            log.error("supervisor lost", extra={"attempt": attempt_id, "problem": state.problem})
            unkillable = await anyio.to_thread.run_sync(
                partial(_kill_tree, directory, started), limiter=self._threads
            )
            unkillable += await anyio.to_thread.run_sync(
                end_container, directory, limiter=self._threads
            )
        facts = facts_without_record(
            directory,
            stop_cause=self._stop_causes.get(attempt_id),
            gpu_peaks=self._gpu_peaks(attempt_id),
            unkillable=tuple(unkillable),
            lengths=self.lengths_of(attempt_id),
        )
        self._note_end(attempt_id, facts, supervisor_lost=not rebooted, rebooted=rebooted)

    async def _help_kill(self, attempt_id: AttemptId) -> None:
        await anyio.sleep(KILL_HELP_S)
        started = self._started.get(attempt_id)
        if started is None:
            return
        log.warning("shim does not kill its tree, helping", extra={"attempt": attempt_id})
        await anyio.to_thread.run_sync(
            partial(_kill_tree, self._directory_of(attempt_id), started), limiter=self._threads
        )

    def _watch_shim(self, attempt_id: AttemptId, started: Started) -> None:
        self._unwatch(attempt_id)
        self._watched[attempt_id] = process.watch(self._directory_of(attempt_id), started)
        self._has_watched.set()

    def _unwatch(self, attempt_id: AttemptId) -> None:
        pidfd = self._watched.pop(attempt_id, None)
        if pidfd is not None:
            os.close(pidfd)

    async def _watch(self) -> None:
        while True:
            if not self._watched:
                self._has_watched = anyio.Event()
                await self._has_watched.wait()
            await anyio.sleep(WATCH_S)
            for attempt_id, pidfd in list(self._watched.items()):
                directory = self._directory_of(attempt_id)
                if pidfd is None or _is_readable(pidfd) or _is_recorded(directory):
                    self._unwatch(attempt_id)
                    await self._settle(attempt_id)

    async def _wake_stopped(self) -> None:
        """A shim that somebody has stopped keeps no deadline and hears of no end until it goes on,
        and whoever did that has not asked for it: a task is stopped by its own processes."""
        while True:
            await anyio.sleep(WAKE_S)
            running = [(self._directory_of(each), of) for each, of in self._started.items()]
            woken = await anyio.to_thread.run_sync(_wake, running, limiter=self._threads)
            for directory in woken:
                log.warning("supervisor was stopped, woken", extra={"dir": directory})


def _wake(running: Sequence[tuple[str, Started]]) -> list[str]:
    return [directory for directory, started in running if process.wake(directory, started)]


def _never_will_start(directory: str) -> bool:
    """Makes sure of it; False when a shim was faster."""
    return not os.path.isdir(directory) or give_up_start(directory)


def _is_recorded(directory: str) -> bool:
    return os.path.exists(directory + "/exit")


def _is_readable(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _not_started(detail: str) -> ExitFacts:
    return ExitFacts(exec_error=errno.errorcode[errno.ECANCELED], launch_detail=detail)


def _kill_tree(directory: str, started: Started | None) -> list[int]:
    try:
        spec = read_spec(directory)
    except InternalError as error:
        log.error("cannot end what is left of an attempt", extra={"reason": str(error)})
        return []
    return process.kill_tree(spec.cookie, cgroup=spec.cgroup, started=started)

"""The agent: this machine as a node of the hive. ``main`` is what `fluxhive run` calls.

Puts the parts together and lets them run side by side in one task group: the hands around the
executor, the shims, the GPU monitor, the log tailer and the connection. Decides nothing itself.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import time
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from fluxhive import __version__, collector, places
from fluxhive.config import Settings
from fluxhive.config_checks import first_to_last, sharing_limit, split_tags
from fluxhive.core.capability import CAPABILITIES
from fluxhive.core.errors import FluxhiveError
from fluxhive.core.events import (
    ContactRenewed,
    NodeEvent,
    SessionClosed,
    SessionOpened,
)
from fluxhive.core.executor import Executor
from fluxhive.core.node import HeldPhase
from fluxhive.core.node import Journal as JournalState
from fluxhive.core.outcome import ExitFacts, StopCause
from fluxhive.core.reports import AttemptEnded
from fluxhive.core.values import AttemptId
from fluxhive.diagnostics import first_cause
from fluxhive.protocol.agent import (
    Dispatch,
    Heartbeat,
    HeartbeatAck,
    Hello,
    ServerMessage,
    Welcome,
)
from fluxhive.protocol.dispatching import node_event, received
from fluxhive.protocol.link import Link
from fluxhive.protocol.wire import CAPABILITY_ZSTD_LOGS, FIRST_OF_PROCESSES, server_codec

from . import process, system
from .code_cache import CodeCache
from .connection import Connection
from .containers import Containers
from .disk_watch import DiskWatch
from .fetching import Fetching
from .former_life import take_up
from .gpus import Gpus
from .hands import Hands
from .host_memory import HostMemory
from .host_use import HostUse
from .identity import IdentityFile, label_of
from .logs import LogTailer
from .lost_runs import make_again
from .machine import Machine, raise_file_limit
from .outbox import LinkOut
from .shims import Shims
from .state_lock import StateLock
from .task_user import TaskUser, check_user, open_way
from .workspace import Workspace

log = logging.getLogger(__name__)

#: While tasks are stopped on exit: their own grace, and this much for the rest of the ladder.
STOP_MARGIN_S, STOP_LOOK_S = 15.0, 0.2
#: How often people are told how the node is, beside what is decided by.
HEALTH_MS = 10_000
GIB = 1024**3


def main(settings: Settings, *, allow_root: bool = False, stop_tasks_on_exit: bool = False) -> int:
    """Runs the agent until it is told to end; the exit code. Logging is set up by the caller.

    Raises ``FluxhiveError`` for what a person has to repair.
    """
    system.check_here()
    user = check_user(allow_root=allow_root, task_user=settings.task_user)
    directory = places.agent_dir()
    lock = StateLock(directory)
    try:
        raise_file_limit()
        open_way(places.state_root(), directory, user)
        runner = Runner(settings, directory, user, stops_tasks=stop_tasks_on_exit)
        collector.settle()
        try:
            anyio.run(runner.run)
        except BaseException as error:
            if isinstance(cause := first_cause(error), FluxhiveError):
                raise cause from None
            raise
        finally:
            runner.close()
    finally:
        lock.release()
    return 0


class Runner:
    """One life of the agent, from start to goodbye; to the connection it is the ``Peer``."""

    def __init__(
        self, settings: Settings, directory: Path, user: TaskUser | None, *, stops_tasks: bool
    ) -> None:
        self._settings = settings
        self._stop_tasks_on_exit = stops_tasks
        self._hello_sent_at_ms, self._is_ending = 0, False
        self._life, self._health_at_ms = secrets.token_hex(8), 0
        self._identity = IdentityFile(directory)
        self._incarnation = self._identity.begin_life(process.boot_id())
        fetching = Fetching(settings, self._identity)
        self._workspace = Workspace(
            directory / "runs",
            directory / "contact",
            label=label_of(settings),
            fetch=fetching.launch,
            containers=Containers(
                label_of(settings), settings.container_engine, settings.container_mounts
            ),
            code=CodeCache(str(directory / "code"), fetching.code),
            user=user,
        )
        make_again(directory, self._workspace.root)
        self._journal, self._held = take_up(directory / "journal.db", self._workspace.root)
        self._launcher = process.launcher(
            log_path=directory / "launcher.log", native_dir=directory / "native"
        )
        self._machine = Machine(
            self._workspace.root,
            max_cpus=settings.max_cpus,
            address=settings.address,
            rendezvous_ports=first_to_last(settings.rendezvous_ports),
            tags=split_tags(settings.tags),
            tasks_per_gpu_max=sharing_limit(settings.sharing),
        )
        self._make_hands(directory)
        self._make_connection(settings)

    def _make_hands(self, directory: Path) -> None:
        """The link is what the reports wait in; the connection comes later."""
        self._link = Link(
            server_codec(), last_n=self._journal.last_n, unacknowledged=self._journal.said
        )
        self._out = LinkOut(self._link)
        self._host = HostMemory()
        self._shims = Shims(
            self._launcher,
            directory_of=self._workspace.directory,
            put=lambda event: self._hands.put(event),
            gpu_peaks=lambda attempt_id: self._gpus.peaks(attempt_id),
            host_scene=lambda name, pid: self._host.scene(*self._workspace.known_as(name), pid),
        )
        self._shims.on_started = self._follow
        self._shims.on_ended = self._unfollow
        self._shims.on_forgotten = self._forget
        self._hands = Hands(
            Executor.restore(self._held.values()),
            rooms=self._workspace,
            processes=self._shims,
            out=self._out,
            clock=process.boottime_ms,
            journal=self._journal,
        )
        self._hands.on_committed = self._committed
        self._use = HostUse(lambda: self._shims.running, self._workspace.directory)
        self._disk = DiskWatch(self._machine, self._host, self._hands.note_room)
        self._gpus = Gpus(
            state_dir=directory,
            cookies=self._workspace.cookies,
            holders=self._hands.executor.gpu_holders,
            put=self._hands.put,
            directory_of=self._workspace.directory,
        )
        self._workspace.gpu_indexes = self._gpus.indexes
        self._workspace.gpu_sizes = self._gpus.sizes

    def _make_connection(self, settings: Settings) -> None:
        self._logs = LogTailer(backlog_bytes=round(settings.log_backlog_gib * GIB))
        self._shims.lengths_of = self._logs.lengths
        self._workspace.takes_processes = lambda: self._logs.n_taken > FIRST_OF_PROCESSES
        self._connection = Connection(
            settings.control_base_url,
            self._link,
            self._logs,
            self,
            ca_file=settings.ca_file,
            heartbeat_ms=round(settings.heartbeat_s * 1000),
            clock=process.boottime_ms,
        )
        self._out.wake = self._wake_connection

    def close(self) -> None:
        """Frees what is not freed by the end of ``run``."""
        self._hands.close()
        self._gpus.close()
        self._launcher.close()
        self._logs.close()
        self._journal.close()

    async def run(self) -> None:
        """Lives until a signal or until the server refuses this node for good."""
        self._launcher.start()
        self._gpus.start()
        self._workspace.gpu_env = self._gpus.task_env
        log.info("agent started", extra={"label": label_of(self._settings), "pid": os.getpid()})
        async with anyio.create_task_group() as group:
            group.start_soon(self._hands.run, name="hands")
            group.start_soon(self._shims.run, name="shims")
            group.start_soon(self._logs.run, name="logs")
            group.start_soon(self._disk.run, name="disk")
            group.start_soon(self._use.run, name="use")
            await self._take_up()
            await self._gpus.read_once()
            group.start_soon(self._gpus.run, name="gpus")
            group.start_soon(self._connection.run, name="connection")
            group.start_soon(self._end_at_signal, group.cancel_scope, name="signals")

    # ── start and end ─────────────────────────────────────────────────────────────────────────

    async def _take_up(self) -> None:
        """Goes on where the last agent was: by its journal, by run directories where it is lost."""
        clear, forgotten = self._workspace.clear, self._journal.forgotten
        still_there = await anyio.to_thread.run_sync(clear, self._held, forgotten)
        self._hands.note_removed(len(forgotten), still_there)
        for attempt_id, attempt in self._held.items():
            self._workspace.know(attempt_id)
            self._gpus.recall(attempt_id)
            self._follow(attempt_id, self._workspace.directory(attempt_id))
            if isinstance(attempt.final, AttemptEnded):
                self._unfollow(attempt_id, "", attempt.final.facts)
            elif attempt.phase is not HeldPhase.EXITED:
                await self._shims.adopt(attempt_id)
        if self._held:
            log.info("attempts taken up", extra={"n": len(self._held)})

    async def _end_at_signal(self, scope: anyio.CancelScope) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            number = await anext(signals)
            self._is_ending = True
            log.info("ending", extra={"signal": signal.Signals(number).name})
            self._hand_back_waiting()
            if self._stop_tasks_on_exit:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._stop_all, group.cancel_scope)
                    # A second signal does not wait for the tasks.
                    await anext(signals)
                    group.cancel_scope.cancel()
            n_running = len(self._shims.running)
            await self._connection.say_goodbye(f"the agent ends, {n_running} tasks run on")
            if n_running:
                told = "the next start of the agent takes them up; to end them with the agent: "
                log.info(
                    "tasks run on", extra={"n": n_running, "next": f"{told}--stop-tasks-on-exit"}
                )
            scope.cancel()

    async def _stop_all(self, scope: anyio.CancelScope) -> None:
        """Every task gets its own grace; the agent waits for all of them."""
        attempts = [self._hands.attempts[each] for each in self._shims.running]
        for attempt in attempts:
            self._shims.stop(attempt, StopCause.SHUTDOWN)
        grace_ms = max((attempt.dispatch.grace_ms for attempt in attempts), default=0)
        with anyio.move_on_after(grace_ms / 1000 + STOP_MARGIN_S):
            while self._hands.executor.attempts():
                with anyio.move_on_after(STOP_LOOK_S):
                    await self._hands.all_ended()
                self._hand_back_waiting()
        scope.cancel()

    def _hand_back_waiting(self) -> None:
        """Whoever was sent ahead of a place is not started any more when that is free."""
        for attempt_id in self._hands.executor.waiting():
            self._shims.hand_back(attempt_id)

    # ── what the connection asks (Peer) ───────────────────────────────────────────────────────

    async def credentials(self, *, again: bool) -> str:
        """The node's token, registered for when there is none or it was refused."""
        if again or not self._identity.is_known_to(self._settings.control_base_url):
            given = await anyio.to_thread.run_sync(
                self._identity.register, self._settings, abandon_on_cancel=True
            )
            log.info("registered", extra={"node": given.node_id, "label": label_of(self._settings)})
            if given.notice:
                log.warning(given.notice)
        return self._identity.current.token

    def hello(self) -> Hello:
        """How the node presents itself now."""
        self._hello_sent_at_ms = process.boottime_ms()
        return Hello(
            incarnation=self._incarnation,
            agent_version=__version__,
            label=label_of(self._settings),
            boot_id=process.boot_id(),
            capabilities=(CAPABILITY_ZSTD_LOGS, *CAPABILITIES),
            inventory=self._machine.inventory(self._gpus.reports, self._gpus.driver),
            held=tuple(self._hands.executor.held()),
            journal=JournalState.REBUILT if self._journal.was_absent else JournalState.INTACT,
            journal_id=self._journal.id,
            machine_id=places.machine_id(),
            life=self._life,
            sent_at_ms=self._hello_sent_at_ms,
        )

    def welcomed(self, welcome: Welcome) -> None:
        """A session began. The welcome answers the hello as an acknowledgement does a heartbeat."""
        self._gpus.pace(welcome.reading_ms)
        self._hands.put(
            SessionOpened(session=welcome.session),
            ContactRenewed(sent_at_ms=self._hello_sent_at_ms),
        )

    def received(self, messages: list[tuple[int, ServerMessage]], connection_number: int) -> None:
        """What the server says, as events."""
        events: list[NodeEvent] = []
        highest = 0
        for n, message in messages:
            highest = max(highest, n)
            if isinstance(message, HeartbeatAck):
                self._gpus.usage.arrived(message.sent_at_ms)
                self._use.backlog.arrived(message.sent_at_ms)
            if isinstance(message, Dispatch):
                # While it ends, the node takes nothing: the next hello lacks it, it comes again.
                if not self._is_ending:
                    events.append(self._dispatched(message))
            elif (event := node_event(message)) is not None:
                events.append(event)
        self._hands.put(*events, mark=(highest, connection_number) if highest else None)

    def disconnected(self) -> None:
        """The session is over; what runs runs on."""
        self._gpus.usage.disconnected()
        self._use.backlog.disconnected()
        self._health_at_ms = 0
        self._hands.put(SessionClosed())

    def heartbeat(self) -> Heartbeat:
        """How the node is now."""
        cpu_percent, memory_used_mib = self._machine.load()
        sent_at_ms = process.boottime_ms()
        is_due = sent_at_ms >= self._health_at_ms
        if is_due:
            self._health_at_ms = sent_at_ms + HEALTH_MS
        return Heartbeat(
            sent_at_ms=sent_at_ms,
            samples=self._gpus.usage.for_heartbeat(sent_at_ms),
            host_samples=self._use.backlog.for_heartbeat(sent_at_ms),
            gpus=self._gpus.reports,
            cpu_percent=cpu_percent,
            memory_used_mib=memory_used_mib,
            problem=self._hands.disk_problem or self._disk.problem,
            wall_ms=time.time_ns() // 1_000_000,
            health=self._gpus.health(self._disk.health()) if is_due else None,
        )

    # ── between the parts ─────────────────────────────────────────────────────────────────────

    def _dispatched(self, message: Dispatch) -> NodeEvent:
        if message.launch is not None:
            self._hands.launch(message.attempt_id, message.launch)
        return received(message)

    def _committed(self, mark: object) -> None:
        if isinstance(mark, tuple):
            self._connection.committed(*mark)

    def _wake_connection(self, soon: bool) -> None:
        if soon:
            self._connection.wake_soon()
        else:
            self._connection.wake()

    def _follow(self, attempt_id: AttemptId, directory: str) -> None:
        attempt = self._hands.attempts.get(attempt_id)
        if attempt is not None:
            self._logs.follow(attempt_id, attempt.dispatch.channel, directory)

    def _unfollow(self, attempt_id: AttemptId, directory: str, facts: ExitFacts) -> None:
        extras = facts.metrics_bytes, facts.result_bytes, *facts.process_bytes
        self._logs.end(attempt_id, facts.stdout_bytes, facts.stderr_bytes, *extras)
        attempt = self._hands.attempts.get(attempt_id)
        if attempt is not None:
            self._gpus.note_end(attempt, facts)

    def _forget(self, attempt_id: AttemptId) -> None:
        self._logs.forget(attempt_id)
        self._gpus.forget(attempt_id)

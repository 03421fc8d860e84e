"""A hive in one process: the task manager and one node's hands, no server and no network.

What the demo scripts use, and whoever wants to run a handful of commands under the same rules as
in a big hive::

    async with LocalHive(log_dir=".agent_logs") as hive:
        finished = await hive.run("echo $HOME | wc -c", timeout_s=10)
        print(finished.exit_code, finished.stdout)

Nothing is remembered over its end: leaving the block ends what still runs.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import anyio
import anyio.abc

from fluxhive.core.capability import CAPABILITIES
from fluxhive.core.effects import Dispatch as DispatchEffect
from fluxhive.core.effects import Forget as ForgetEffect
from fluxhive.core.effects import HiveEffect, Publish, Welcome
from fluxhive.core.effects import Stop as StopEffect
from fluxhive.core.errors import NotFound
from fluxhive.core.events import (
    ContactRenewed,
    ForgetReceived,
    HiveEvent,
    NodeJoined,
    NodeReported,
    NodeSaid,
    SessionOpened,
    StopReceived,
    TaskCancelRequested,
    TaskSubmitted,
    TimePassed,
)
from fluxhive.core.executor import Executor
from fluxhive.core.ids import task_id as id_of
from fluxhive.core.node import HeldPhase
from fluxhive.core.outcome import ExitFacts, Outcome
from fluxhive.core.reports import Report
from fluxhive.core.spec_check import apply_defaults, check_spec
from fluxhive.core.task import Attempt, ExecutorKind, Task, TaskSpec
from fluxhive.core.task_manager import TaskManager
from fluxhive.core.values import AttemptId, NodeId, TaskId
from fluxhive.protocol.dispatching import dispatch_of, launch_of, received

from . import process
from .gpus import Gpus
from .hands import Hands
from .host_memory import HostMemory
from .machine import Machine
from .shims import Shims
from .workspace import Workspace

NODE = NodeId("n-local")
_SESSION = 1
#: The executor wants fresh contact before it starts anything; here the hive is the contact.
_CONTACT_S = 2.0
#: Leaving the block: from the first signal to the last, however long a task's own grace is.
_STOP_S = 10.0


class Finished(NamedTuple):
    """A task that has ended, with all its attempts and what the last one printed."""

    task: Task
    attempts: list[Attempt]
    #: Where ``stdout`` and ``stderr`` of the last attempt lie; None when none was started.
    directory: Path | None

    @property
    def outcome(self) -> Outcome | None:
        """How the last attempt ended; None when there was none."""
        return self.task.outcome

    @property
    def exit_code(self) -> int | None:
        """The command's own; None when a signal ended it or it never ran."""
        return None if self.task.outcome is None else self.task.outcome.exit_code

    @property
    def stdout(self) -> str:
        """What the last attempt printed."""
        return _text(self.directory, "stdout")

    @property
    def stderr(self) -> str:
        """What the last attempt printed to stderr."""
        return _text(self.directory, "stderr")


class LocalHive:
    """A whole hive on this machine for the length of a block."""

    def __init__(
        self,
        log_dir: str | Path = ".agent_logs",
        *,
        cpus: int | None = None,
        on_news: Callable[[Publish], None] = lambda news: None,
    ) -> None:
        started = time.strftime("%Y%m%d-%H%M%S")
        #: One directory for each block, one below it for each attempt.
        self.log_dir = Path(log_dir).absolute() / f"{started}-{os.getpid()}"
        self._cpus = cpus
        self._on_news = on_news
        self._manager = TaskManager()
        self._n_tasks = 0
        self._changed = anyio.Event()
        self._timer = anyio.Event()

    async def __aenter__(self) -> LocalHive:
        self.log_dir.mkdir(parents=True)
        self._contact_dir = tempfile.TemporaryDirectory(prefix="fluxhive-")
        self._machine = Machine(str(self.log_dir), max_cpus=self._cpus)
        self._host = HostMemory()
        self._launcher = process.launcher(
            log_path=self.log_dir / "launcher.log", native_dir=self.log_dir / ".native"
        )
        self._workspace = Workspace(
            self.log_dir, Path(self._contact_dir.name) / "contact", keep_output=True
        )
        self._shims = Shims(
            self._launcher,
            directory_of=self._workspace.directory,
            put=lambda event: self._hands.put(event),
            gpu_peaks=lambda attempt_id: self._gpus.peaks(attempt_id),
            host_scene=lambda name, pid: self._host.scene(*self._workspace.known_as(name), pid),
        )
        self._hands = Hands(
            Executor(),
            rooms=self._workspace,
            processes=self._shims,
            out=self,
            clock=process.boottime_ms,
        )
        self._gpus = Gpus(
            state_dir=Path(self._contact_dir.name),
            cookies=self._workspace.cookies,
            holders=self._hands.executor.gpu_holders,
            put=self._hands.put,
            directory_of=self._workspace.directory,
        )
        self._workspace.gpu_indexes = self._gpus.indexes
        self._workspace.gpu_sizes = self._gpus.sizes
        self._shims.on_ended = self._note_end
        self._shims.on_forgotten = self._gpus.forget
        self._gpus.start()
        self._workspace.gpu_env = self._gpus.task_env
        await self._gpus.read_once()
        self._launcher.start()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._hands.run, name="hands")
        self._group.start_soon(self._shims.run, name="shims")
        self._group.start_soon(self._gpus.run, name="gpus")
        self._group.start_soon(self._keep_contact, name="contact")
        self._group.start_soon(self._keep_time, name="timers")
        self._handle(
            NodeJoined(
                node_id=NODE,
                session=_SESSION,
                incarnation=1,
                label="this machine",
                inventory=self._machine.inventory(self._gpus.reports, self._gpus.driver),
                boot_id=process.boot_id(),
                capabilities=CAPABILITIES,
            )
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        try:
            with anyio.move_on_after(_STOP_S, shield=True):
                await self._end_all()
        finally:
            self._group.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)
            self._hands.close()
            self._launcher.close()
            self._gpus.close()
            self._contact_dir.cleanup()
        return None

    # ── what a caller does ────────────────────────────────────────────────────────────────────

    def submit(
        self,
        command: str | Sequence[str],
        *,
        name: str = "",
        timeout_s: float | None = None,
        retry: int = 0,
        env: dict[str, str] | None = None,
        workdir: str | Path | None = None,
        grace_s: float = 5.0,
        backoff_s: float = 1.0,
    ) -> TaskId:
        """Queues a command: a line for the shell, or a program and its arguments.

        Raises ``InputError`` for what no task may contain.
        """
        is_line = isinstance(command, str)
        spec = TaskSpec(
            command=(command,) if isinstance(command, str) else tuple(command),
            executor=ExecutorKind.SHELL if is_line else ExecutorKind.EXEC,
            name=name,
            env={} if env is None else env,
            workdir=str(Path.cwd() if workdir is None else Path(workdir).absolute()),
            retry=retry,
            backoff_ms=round(backoff_s * 1000),
            time_limit_ms=None if timeout_s is None else round(timeout_s * 1000),
            grace_ms=round(grace_s * 1000),
        )
        check_spec(spec)
        number, self._n_tasks = self._n_tasks, self._n_tasks + 1
        task_id = id_of(number)
        self._handle(
            TaskSubmitted(task_id=task_id, number=number, owner="me", spec=apply_defaults(spec))
        )
        return task_id

    async def wait(self, task_id: TaskId) -> Finished:
        """Waits for a task's end. Raises ``NotFound`` for one that is not this hive's."""
        while not self.task(task_id).state.is_final:
            await self._changed.wait()
        attempts = self._manager.attempts_of(task_id)
        directory = Path(self._workspace.directory(attempts[-1].id)) if attempts else None
        return Finished(self.task(task_id), attempts, directory)

    async def run(
        self,
        command: str | Sequence[str],
        *,
        timeout_s: float | None = None,
        retry: int = 0,
        env: dict[str, str] | None = None,
        workdir: str | Path | None = None,
    ) -> Finished:
        """Submits a command and waits for its end."""
        return await self.wait(
            self.submit(command, timeout_s=timeout_s, retry=retry, env=env, workdir=workdir)
        )

    def cancel(self, task_id: TaskId) -> None:
        """Ends a task; nothing of it starts any more."""
        self.task(task_id)
        self._handle(TaskCancelRequested(task_id=task_id, by="me"))

    def output_directory(self, task_id: TaskId) -> Path | None:
        """Where the newest attempt's ``stdout`` and ``stderr`` grow; None before there is one."""
        attempts = self._manager.attempts_of(task_id)
        return Path(self._workspace.directory(attempts[-1].id)) if attempts else None

    def task(self, task_id: TaskId) -> Task:
        """A task as it stands. Raises ``NotFound``."""
        task = self._manager.task(task_id)
        if task is None:
            raise NotFound(f"no such task in this hive: `{task_id}`")
        return task

    # ── between the manager and the hands ─────────────────────────────────────────────────────

    def number(self, reports: Sequence[Report]) -> list[tuple[int, bytes]]:
        """``Out``: nothing is journalled here."""
        return []

    def keep(self, said: Sequence[tuple[int, bytes]]) -> None:
        """``Out``: nothing is journalled here."""

    def send(self, reports: Sequence[Report]) -> None:
        """``Out``: a report is heard at once."""
        for report in reports:
            self._handle(NodeSaid(node_id=NODE, session=_SESSION, report=report))

    def acknowledged(self) -> int:
        """``Out``: nothing waits."""
        return 0

    def _handle(self, event: HiveEvent) -> None:
        for effect in self._manager.handle(event, process.boottime_ms()):
            self._carry_out(effect)
        self._timer.set()

    def _carry_out(self, effect: HiveEffect) -> None:
        if isinstance(effect, Publish):
            self._on_news(effect)
            self._changed.set()
            self._changed = anyio.Event()
        elif isinstance(effect, Welcome):
            self._hands.put(SessionOpened(session=effect.session), _contact())
        elif isinstance(effect, DispatchEffect):
            self._hands.launch(effect.attempt.id, launch_of(effect.task))
            self._hands.put(_contact(), received(dispatch_of(effect, None)))
        elif isinstance(effect, StopEffect):
            self._hands.put(
                StopReceived(
                    session=effect.session,
                    attempt_id=effect.attempt_id,
                    epoch=effect.epoch,
                    cause=effect.cause,
                )
            )
        elif isinstance(effect, ForgetEffect):
            self._hands.put(
                ForgetReceived(session=effect.session, attempt_ids=(effect.attempt_id,))
            )

    def _note_end(self, attempt_id: AttemptId, directory: str, facts: ExitFacts) -> None:
        attempt = self._hands.attempts.get(attempt_id)
        if attempt is not None:
            self._gpus.note_end(attempt, facts)

    async def _keep_contact(self) -> None:
        while True:
            self._handle(NodeReported(node_id=NODE, session=_SESSION, gpus=self._gpus.reports))
            self._hands.put(_contact())
            await anyio.sleep(_CONTACT_S)

    async def _keep_time(self) -> None:
        while True:
            self._timer = anyio.Event()
            at_ms = self._manager.next_wakeup()
            with anyio.move_on_after(_seconds_until(at_ms)):
                await self._timer.wait()
                continue
            self._handle(TimePassed())

    async def _end_all(self) -> None:
        live = [task.id for task in self._manager.tasks() if not task.state.is_final]
        for task_id in live:
            self.cancel(task_id)
        with anyio.move_on_after(_STOP_S / 2):
            for task_id in live:
                await self.wait(task_id)
        for attempt in list(self._hands.attempts.values()):
            if attempt.phase is not HeldPhase.EXITED:
                self._shims.kill(attempt)
        for task_id in live:
            await self.wait(task_id)


def _contact() -> ContactRenewed:
    return ContactRenewed(sent_at_ms=process.boottime_ms())


def _seconds_until(at_ms: int | None) -> float:
    return math.inf if at_ms is None else max(0.0, (at_ms - process.boottime_ms()) / 1000)


def _text(directory: Path | None, name: str) -> str:
    if directory is None:
        return ""
    try:
        return (directory / name).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""

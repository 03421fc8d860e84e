"""Attempts of an earlier life and dead supervisors, with a real launcher and real shims."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel

from fluxhive.agent.process import Launcher
from fluxhive.agent.run_directory import RunPhase, RunSpec, inspect_run, write_spec
from fluxhive.agent.shims import Shims
from fluxhive.core.effects import NodeAttempt
from fluxhive.core.events import DispatchReceived, NodeEvent, ProcessExited, ProcessStarted
from fluxhive.core.node import HeldPhase
from fluxhive.core.outcome import StopCause
from fluxhive.core.request import Reservation
from fluxhive.core.values import AttemptId, NodeId, TaskId

ATTEMPT = AttemptId("t-jrt6.1")


class Bench:
    """A launcher, its shims and one run directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[NodeEvent] = []
        self.launcher = Launcher(log_path=root / "launcher.log")
        self.launcher.start()
        self.shims = self.new_shims()

    def new_shims(self) -> Shims:
        return Shims(
            self.launcher,
            directory_of=lambda attempt_id: f"{self.root}/{attempt_id}",
            put=self.events.append,
        )

    def prepare(self, line: str, attempt_id: AttemptId = ATTEMPT) -> str:
        directory = self.root / attempt_id
        directory.mkdir()
        spec = RunSpec(
            attempt=attempt_id,
            argv=["/bin/sh", "-c", line],
            env={"PATH": os.environ["PATH"], "FLUXHIVE_COOKIE": "c0ffee" * 6},
            cwd=str(self.root),
            cookie="c0ffee" * 6,
            grace_ms=500,
        )
        write_spec(directory, spec)
        return str(directory)

    async def next(self, kind: type[NodeEvent], attempt_id: AttemptId = ATTEMPT) -> NodeEvent:
        def found() -> NodeEvent | None:
            for event in self.events:
                if isinstance(event, kind) and event.attempt_id == attempt_id:  # type: ignore[union-attr]
                    return event
            return None

        with anyio.fail_after(20):
            while found() is None:  # noqa: ASYNC110  the bench notes, it does not wake
                await anyio.sleep(0.005)
        event = found()
        assert event is not None
        return event

    async def orphan(self) -> int:
        """Pid of a grandchild, once the task has told it."""
        path = self.root / "pid"
        with anyio.fail_after(10):
            while not text_of(path):  # noqa: ASYNC110
                await anyio.sleep(0.005)
        return int(text_of(path))


def text_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def attempt() -> NodeAttempt:
    return NodeAttempt(
        dispatch=DispatchReceived(
            session=1,
            attempt_id=ATTEMPT,
            task_id=TaskId("t-jrt6"),
            epoch=1,
            channel=7,
            reservation=Reservation(node_id=NodeId("n-1")),
            grace_ms=500,
        ),
        phase=HeldPhase.RUNNING,
    )


def on_the_bench(tmp_path: Path, story: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench(tmp_path)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(bench.shims.run)
                await anyio.lowlevel.checkpoint()
                await story(bench)
                group.cancel_scope.cancel()
        finally:
            bench.launcher.close()

    anyio.run(run)


def test_a_start_and_an_end_are_told_with_all_facts(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.prepare("echo out; echo err >&2; exit 5")
        bench.shims.start([ATTEMPT])
        exited = await bench.next(ProcessExited)
        assert isinstance(exited, ProcessExited)
        assert isinstance(bench.events[0], ProcessStarted)
        facts = exited.facts
        assert (facts.exit_code, facts.stdout_bytes, facts.stderr_bytes) == (5, 4, 4)
        assert facts.last_output == "err\n"

    on_the_bench(tmp_path, story)


def test_an_attempt_that_was_given_up_is_never_started_later(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        directory = bench.prepare(f"touch {tmp_path}/ran")
        await bench.shims.adopt(ATTEMPT)
        (event,) = bench.events
        assert isinstance(event, ProcessExited)
        assert event.facts.exec_error == "ECANCELED"
        # The request of the dead agent, late: the shim finds that it is not its own.
        other = bench.prepare("true", AttemptId("t-other.1"))
        bench.launcher.request_start([directory])
        bench.launcher.request_start([other])
        bench.events.clear()
        await bench.next(ProcessExited, AttemptId("t-other.1"))
        assert not any(event.attempt_id == ATTEMPT for event in bench.events)  # type: ignore[union-attr]
        assert not (tmp_path / "ran").exists()

    on_the_bench(tmp_path, story)


def test_what_runs_is_adopted_and_its_end_is_seen_by_watching(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        gate = tmp_path / "go"
        bench.prepare(f"while [ ! -e {gate} ]; do sleep 0.01; done; exit 3")
        bench.shims.start([ATTEMPT])
        await bench.next(ProcessStarted)
        bench.events.clear()
        later = bench.new_shims()
        async with anyio.create_task_group() as group:
            group.start_soon(later._watch)
            await later.adopt(ATTEMPT)
            assert [type(event) for event in bench.events] == [ProcessStarted]
            bench.events.clear()
            gate.touch()
            exited = await bench.next(ProcessExited)
            group.cancel_scope.cancel()
        assert isinstance(exited, ProcessExited)
        assert exited.facts.exit_code == 3

    on_the_bench(tmp_path, story)


def test_the_tree_of_a_dead_supervisor_is_ended_before_it_is_told(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        directory = bench.prepare(f"sleep 600 & echo $! > {tmp_path}/pid; wait")
        bench.shims.start([ATTEMPT])
        await bench.next(ProcessStarted)
        pid = await bench.orphan()
        os.kill(bench.shims.running[ATTEMPT].shim_pid, signal.SIGKILL)
        exited = await bench.next(ProcessExited)
        assert isinstance(exited, ProcessExited)
        assert exited.supervisor_lost
        assert inspect_run(directory).phase is RunPhase.SUPERVISOR_LOST
        assert _state(pid) in (None, "Z")

    on_the_bench(tmp_path, story)


def test_what_a_supervisor_left_that_died_while_nobody_looked_is_ended_too(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        earlier = Launcher(log_path=tmp_path / "earlier.log")
        earlier.start()
        directory = bench.prepare(f"setsid sleep 600 & echo $! > {tmp_path}/pid; wait")
        earlier.request_start([directory])
        pid = await bench.orphan()
        earlier.close()
        started = inspect_run(directory).started
        assert started is not None
        os.kill(started.shim_pid, signal.SIGKILL)
        await bench.shims.adopt(ATTEMPT)
        exited = await bench.next(ProcessExited)
        assert isinstance(exited, ProcessExited)
        assert exited.supervisor_lost
        assert _state(pid) in (None, "Z")

    on_the_bench(tmp_path, story)


def test_a_stop_carries_its_cause_into_the_facts(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.prepare("sleep 600")
        bench.shims.start([ATTEMPT])
        await bench.next(ProcessStarted)
        bench.shims.stop(attempt(), StopCause.PREEMPT)
        exited = await bench.next(ProcessExited)
        assert isinstance(exited, ProcessExited)
        assert exited.facts.stopped_by is StopCause.PREEMPT

    on_the_bench(tmp_path, story)


def test_a_launcher_that_dies_is_replaced_and_no_end_is_missed(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        gate = tmp_path / "go"
        bench.prepare(f"while [ ! -e {gate} ]; do sleep 0.01; done; exit 4")
        bench.shims.start([ATTEMPT])
        await bench.next(ProcessStarted)
        first = bench.launcher.pid
        os.kill(first, signal.SIGKILL)
        with anyio.fail_after(10):
            while bench.launcher.pid == first:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        gate.touch()
        exited = await bench.next(ProcessExited)
        assert isinstance(exited, ProcessExited)
        assert exited.facts.exit_code == 4

    on_the_bench(tmp_path, story)


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None

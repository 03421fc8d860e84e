"""One shim for several attempts: what may follow what, and that no attempt feels the one before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.agent import native, process
from fluxhive.agent.run_directory import Exited, RunPhase, Started, inspect_run
from tests.helpers.attempts import (
    ESCAPEES,
    kill_marked,
    make_run,
    new_mark,
    pids_with_mark,
    shell,
    stdout_of,
    wait_until,
)
from tests.unit.agent.test_launcher import NATIVE, Hub

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the launcher needs Linux")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A running launcher as an agent has it; what it wrote to its log fails the test."""
    log = tmp_path / "launcher.log"
    launcher = process.Launcher(log_path=log, native_dir=NATIVE)
    launcher.start()
    yield Hub(launcher)
    launcher.close()
    assert log.read_text() == ""


class Runs:
    """Attempts one after the other, each told how it went."""

    def __init__(self, hub: Hub, folder: Path) -> None:
        self.hub, self.folder, self.n = hub, folder, 0

    def begin(self, line: str, **more: object) -> tuple[Path, Started]:
        """A shell line that is running now."""
        self.n += 1
        more.setdefault("reusable", True)
        run_dir = shell(self.folder, line, attempt=f"t-{self.n}.1", **more)
        self.hub.start(run_dir)
        started = self.hub.collect(Started, self.n)[-1]
        assert isinstance(started, Started)
        return run_dir, started

    def run(self, line: str, **more: object) -> tuple[Started, Exited]:
        """A shell line from start to end; its shim is at rest or gone afterwards."""
        _, started = self.begin(line, **more)
        exited = self.hub.collect(Exited, self.n)[-1]
        assert isinstance(exited, Exited)
        wait_until(lambda: _is_at_rest(started.shim_pid), "the shim is done")
        return started, exited


def _is_at_rest(pid: int) -> bool:
    """Whether a shim waits for work (in a read) or is gone: not in its signals' wait."""
    try:
        held = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return True
    return not any(link.endswith("/shim.lock") for link in held)


@pytest.fixture
def runs(hub: Hub, tmp_path: Path) -> Runs:
    return Runs(hub, tmp_path)


def test_a_shim_serves_the_next_attempt_and_mixes_nothing(runs: Runs, tmp_path: Path) -> None:
    shims = []
    for number in range(1, 6):
        started, exited = runs.run(f"echo out {number}; echo err {number} >&2; exit {number}")
        shims.append(started.shim_pid)
        run_dir = tmp_path / f"t-{number}.1"
        assert exited.code == number
        assert stdout_of(run_dir) == f"out {number}\n"
        assert (run_dir / "stderr").read_text() == f"err {number}\n"
        assert inspect_run(run_dir).phase is RunPhase.ENDED
    assert len(set(shims)) == 1


@pytest.mark.parametrize(
    ("line", "more"),
    [
        pytest.param("true", {"reusable": False}, id="an attempt with GPUs"),
        pytest.param("setsid sleep 0.2 &", {}, id="something outlived its task"),
    ],
)
def test_after_some_attempts_nothing_follows(
    runs: Runs, line: str, more: dict[str, object]
) -> None:
    first, _ = runs.run(line, **more)
    second, _ = runs.run("true")

    assert second.shim_pid != first.shim_pid


def test_attempts_at_the_same_time_have_shims_of_their_own(runs: Runs, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    line = f"while [ ! -e {gate} ]; do sleep 0.02; done"
    pids = {runs.begin(line)[1].shim_pid for _ in range(3)}
    gate.touch()
    runs.hub.collect(Exited, 3)

    assert len(pids) == 3


def test_a_stop_that_comes_late_does_not_stop_the_next_attempt(runs: Runs) -> None:
    """Goal: a signal that was meant for the attempt before is not obeyed. Method: the signal alone,
    as it arrives when its attempt ended between the look at the lock and the kill."""
    before, _ = runs.run("true")
    run_dir, started = runs.begin("sleep 0.3; exit 7")
    assert started.shim_pid == before.shim_pid
    os.kill(started.shim_pid, signal.SIGTERM)
    os.kill(started.shim_pid, signal.SIGUSR1)

    exited = runs.hub.collect(Exited, 2)[-1]
    assert isinstance(exited, Exited)
    assert (exited.code, exited.stopped_by) == (7, None)
    assert not (run_dir / "stop").exists()


def test_a_stop_for_the_attempt_before_finds_nobody(runs: Runs, tmp_path: Path) -> None:
    before, _ = runs.run("true")
    runs.begin("sleep 0.3")

    assert not process.stop(str(tmp_path / "t-1.1"), before)


def test_the_second_attempt_is_stopped_like_the_first(runs: Runs) -> None:
    runs.run("true")
    run_dir, started = runs.begin("trap 'exit 3' TERM; while :; do sleep 0.01; done")
    assert process.stop(str(run_dir), started)

    exited = runs.hub.collect(Exited, 2)[-1]
    assert isinstance(exited, Exited)
    assert exited.stopped_by == "stop"


def test_the_second_attempts_escapees_are_gone_too(runs: Runs) -> None:
    mark = new_mark()
    try:
        runs.run("true")
        runs.run(ESCAPEES.format(mark=mark, python=sys.executable))
        assert pids_with_mark(mark) == []
    finally:
        kill_marked(mark)


def test_time_limits_of_an_attempt_end_with_it(runs: Runs) -> None:
    runs.run("true", time_limit_ms=150)
    _, exited = runs.run("sleep 0.4; exit 4")

    assert (exited.code, exited.stopped_by) == (4, None)


def test_a_shim_that_is_killed_while_idle_costs_no_attempt(runs: Runs) -> None:
    first, _ = runs.run("true")
    os.kill(first.shim_pid, signal.SIGKILL)
    _, exited = runs.run("exit 9")

    assert exited.code == 9


def test_idle_shims_end_with_their_launcher(runs: Runs) -> None:
    first, _ = runs.run("true")
    os.kill(runs.hub.launcher.pid, signal.SIGKILL)

    wait_until(lambda: not Path(f"/proc/{first.shim_pid}").exists(), "the idle shim has left")
    runs.hub.events += runs.hub.launcher.read_events()


def test_a_killed_shim_takes_its_second_task_along(runs: Runs) -> None:
    mark = new_mark()
    try:
        runs.run("true")
        _, started = runs.begin(f"exec sleep {mark}")
        wait_until(lambda: pids_with_mark(mark), "the task runs")
        # The launcher, which ends what its shims leave, is stopped: the kernel has to do it.
        os.kill(runs.hub.launcher.pid, signal.SIGSTOP)
        os.kill(started.shim_pid, signal.SIGKILL)
        wait_until(lambda: pids_with_mark(mark) == [], "its parent's death ends it")
    finally:
        os.kill(runs.hub.launcher.pid, signal.SIGCONT)
        kill_marked(mark)


# ── the compiled starter ────────────────────────────────────────────────────────────────────────


FAILURES = {
    "no such program": {"argv": ["/no/such/program"]},
    "not on the PATH": {"argv": ["no-such-program"]},
    "no permission": {"argv": ["/etc/passwd"]},
    "a directory": {"argv": ["/usr"]},
    "no working directory": {"argv": ["/bin/true"], "cwd": "/no/such/directory"},
    "too long": {"argv": ["/bin/true", "x" * (1 << 20)]},
}


@pytest.mark.parametrize("case", FAILURES)
def test_both_ways_to_start_fail_in_the_same_words(case: str, tmp_path: Path) -> None:
    told = []
    for way in (None, NATIVE):
        launcher = process.Launcher(native_dir=way)
        launcher.start()
        folder = tmp_path / ("fork" if way is None else "native")
        folder.mkdir()
        more = dict(FAILURES[case])
        hub = Hub(launcher)
        hub.start(make_run(folder, more.pop("argv"), **more))  # type: ignore[arg-type]
        (exited,) = hub.collect(Exited, 1)
        assert isinstance(exited, Exited)
        told.append((exited.exec_error, exited.detail))
        launcher.close()
    assert told[0] == told[1]
    assert told[0][0] is not None


def test_without_a_compiler_there_is_no_starter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native.starter(tmp_path / "native") is None


def test_a_compiler_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert native.starter(tmp_path / "native") is None
    assert list((tmp_path / "native").iterdir()) == []


def test_a_starter_that_cannot_be_loaded_is_done_without(tmp_path: Path) -> None:
    """As in a state directory that is mounted noexec."""
    broken = native.starter(tmp_path)
    assert broken is not None
    broken.write_bytes(b"no library")
    launcher = process.Launcher(log_path=tmp_path / "log", native_dir=tmp_path)
    launcher.start()
    hub = Hub(launcher)
    hub.start(shell(tmp_path, "exit 6"))
    (exited,) = hub.collect(Exited, 1)
    launcher.close()

    assert isinstance(exited, Exited)
    assert exited.code == 6
    assert "starts by fork" in (tmp_path / "log").read_text()


def test_the_compiled_starter_has_no_warning(tmp_path: Path) -> None:
    command = ["cc", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(native.SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

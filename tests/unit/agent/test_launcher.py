"""The launcher and the shims it forks, as the agent uses them: a socket, no event loop."""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.agent import process, proctree
from fluxhive.agent.lost_runs import keep_exit, make_again
from fluxhive.agent.native import starter
from fluxhive.agent.process import Launcher, LauncherRestarted, ShimEvent
from fluxhive.agent.run_directory import (
    Exited,
    RunPhase,
    ShimDied,
    Started,
    acknowledge,
    inspect_run,
)
from fluxhive.core.errors import InternalError
from tests.helpers.attempts import (
    ESCAPEES,
    PATIENCE_S,
    exit_of,
    kill_marked,
    make_run,
    new_mark,
    pids_with_mark,
    shell,
    stdout_of,
    wait_for_end,
    wait_for_start,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the launcher needs Linux")


#: Where the compiled starter of these tests is kept.
NATIVE = Path(tempfile.gettempdir(), f"fluxhive-test-native-{os.getuid()}")


class Hub:
    """A launcher with all events it has given so far."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.events: list[ShimEvent] = []

    def start(self, *run_dirs: Path) -> None:
        self.launcher.request_start([str(run_dir) for run_dir in run_dirs])

    def collect(self, kind: type, count: int) -> list[ShimEvent]:
        """Wait, as an event loop would, until there are so many events of a kind."""
        while len(found := [e for e in self.events if isinstance(e, kind)]) < count:
            ready, _, _ = select.select([self.launcher.fileno()], [], [], PATIENCE_S)
            assert ready, f"only {Counter(type(e).__name__ for e in self.events)}"
            self.events += self.launcher.read_events()
        return found


@pytest.fixture(params=["fork", "native"])
def hub(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Hub]:
    """A running launcher, starting by fork or natively; what it wrote to its log fails the test."""
    log = tmp_path / "launcher.log"
    if request.param == "native" and starter(NATIVE) is None:
        pytest.fail("no C compiler: apt-get install gcc libc6-dev")
    launcher = Launcher(log_path=log, native_dir=NATIVE if request.param == "native" else None)
    launcher.start()
    yield Hub(launcher)
    launcher.close()
    assert log.read_text() == ""


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark whose processes are gone after the test in any case."""
    mark = new_mark()
    yield mark
    kill_marked(mark)


def test_start_and_end_of_an_attempt_are_told_as_the_files_say_them(
    hub: Hub, tmp_path: Path
) -> None:
    run_dir = shell(tmp_path, "echo hello; exit 5")
    hub.start(run_dir)
    hub.collect(Exited, 1)

    started, exited = hub.events
    assert isinstance(started, Started)
    assert isinstance(exited, Exited)
    assert started.dir == exited.dir == str(run_dir)
    assert exited.code == 5
    state = inspect_run(run_dir)
    assert state.started is not None
    assert state.exited is not None
    assert state.started.pid == started.pid
    assert state.started.pid_start == started.pid_start
    assert state.exited.ended_boottime_ms == exited.ended_boottime_ms
    assert stdout_of(run_dir) == "hello\n"


def test_what_cannot_be_executed_is_told_without_a_start(hub: Hub, tmp_path: Path) -> None:
    hub.start(make_run(tmp_path, ["/no/such/program"]))

    (exited,) = hub.collect(Exited, 1)
    assert isinstance(exited, Exited)
    assert exited.exec_error == "ENOENT"
    assert len(hub.events) == 1


def test_bytes_that_are_no_utf_8_survive_whatever_the_agents_locale(
    hub: Hub, tmp_path: Path
) -> None:
    odd = os.fsdecode(b"\xff\xe9")
    run_dir = make_run(tmp_path, ["/usr/bin/printf", "%s", odd])
    hub.start(run_dir)
    hub.collect(Exited, 1)

    assert (run_dir / "stdout").read_bytes() == b"\xff\xe9"


def test_a_task_of_the_launcher_inherits_nothing_from_it(hub: Hub, tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "echo /proc/$$/fd/*; grep -E 'Sig(Blk|Ign)' /proc/self/status; umask")
    hub.start(run_dir)
    hub.collect(Exited, 1)

    words = stdout_of(run_dir).split()
    assert [word.rsplit("/", 1)[-1] for word in words if word.startswith("/proc")] == [
        "0",
        "1",
        "2",
        # the shell's own: it opens the directory to list it
        *[word.rsplit("/", 1)[-1] for word in words if word.endswith("/3")],
    ]
    assert words[-5:] == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16, "0022"]


def test_two_hundred_attempts_at_once_each_have_their_own_end(hub: Hub, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    line = f"while [ ! -e {gate} ]; do sleep 0.2; done; exit $N"
    env = {"N": "0"}
    run_dirs = [
        shell(tmp_path, line, attempt=f"t-{n}.1", env=env | {"N": str(n)}) for n in range(200)
    ]
    hub.start(*run_dirs)
    hub.collect(Started, 200)
    gate.touch()

    exited = hub.collect(Exited, 200)

    codes = {event.attempt: event.code for event in exited if isinstance(event, Exited)}
    assert codes == {f"t-{n}.1": n for n in range(200)}


def test_no_event_of_a_thousand_short_attempts_is_lost(hub: Hub, tmp_path: Path) -> None:
    run_dirs = [make_run(tmp_path, ["/bin/true"], attempt=f"t-{n}.1") for n in range(1_000)]
    for first in range(0, 1_000, 50):
        hub.start(*run_dirs[first : first + 50])
    hub.collect(Exited, 1_000)
    hub.collect(Started, 1_000)

    assert len(hub.events) == 2_000
    assert {e.code for e in hub.events if isinstance(e, Exited)} == {0}


def test_an_agent_that_does_not_read_for_a_while_loses_no_event(hub: Hub, tmp_path: Path) -> None:
    # Far more than the socket holds while nobody reads: the shims keep what they could not send.
    hub.launcher._far.setsockopt(1, 7, 4_096)  # type: ignore[union-attr]  # SO_SNDBUF
    run_dirs = [
        make_run(tmp_path, ["/bin/true"], attempt=f"t-{n}.1", linger_ms=60_000) for n in range(60)
    ]
    hub.start(*run_dirs)
    for run_dir in run_dirs:
        wait_for_end(run_dir)

    hub.collect(Exited, 60)


def test_asking_twice_starts_once(hub: Hub, tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "echo ran")
    hub.start(run_dir, run_dir)
    hub.collect(Exited, 1)
    hub.start(run_dir, shell(tmp_path, "true", attempt="t-2.1"))
    hub.collect(Exited, 2)

    assert stdout_of(run_dir) == "ran\n"
    assert [type(event).__name__ for event in hub.events] == ["Started", "Exited"] * 2


def test_a_killed_shim_is_told_and_its_tree_is_gone(hub: Hub, tmp_path: Path, mark: str) -> None:
    run_dir = shell(tmp_path, ESCAPEES.format(mark=mark, python=sys.executable) + f"sleep {mark}")
    hub.start(run_dir)
    (started,) = hub.collect(Started, 1)
    wait_until(lambda: len(pids_with_mark(mark)) >= 6, "five escapees and the main process")
    assert isinstance(started, Started)

    os.kill(started.shim_pid, signal.SIGKILL)

    (died,) = hub.collect(ShimDied, 1)
    assert isinstance(died, ShimDied)
    assert (died.dir, died.status) == (str(run_dir), -signal.SIGKILL)
    # Also those with an empty environment: the launcher inherits a dead shim's orphans.
    wait_until(lambda: not pids_with_mark(mark), "no escapee is left")
    assert inspect_run(run_dir).phase is RunPhase.SUPERVISOR_LOST


def test_attempts_go_on_without_agent_and_launcher(tmp_path: Path) -> None:
    launcher = Launcher()
    launcher.start()
    gate = tmp_path / "gate"
    run_dir = shell(tmp_path, f"while [ ! -e {gate} ]; do sleep 0.05; done; echo on; exit 6")
    launcher.request_start([str(run_dir)])
    wait_for_start(run_dir)
    pid = launcher.pid

    launcher.close()

    wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the launcher ends with its agent")
    assert inspect_run(run_dir).phase is RunPhase.RUNNING
    gate.touch()
    wait_for_end(run_dir)
    assert exit_of(run_dir).code == 6
    assert stdout_of(run_dir) == "on\n"


def test_a_shim_whose_agent_is_gone_stays_until_its_end_is_taken_note_of(tmp_path: Path) -> None:
    launcher = Launcher()
    launcher.start()
    gate = tmp_path / "gate"
    run_dir = shell(tmp_path, f"while [ ! -e {gate} ]; do sleep 0.05; done", linger_ms=3_600_000)
    launcher.request_start([str(run_dir)])
    started = wait_for_start(run_dir)
    launcher.close()
    gate.touch()
    wait_for_end(run_dir)
    shim_stat = Path(f"/proc/{started.shim_pid}/stat")
    assert shim_stat.exists()

    (run_dir / "done").touch()

    wait_until(lambda: not shim_stat.exists() or ") Z" in shim_stat.read_text(), "it has left")


def test_a_launcher_that_dies_is_replaced_and_nothing_asked_for_is_lost(
    hub: Hub, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    before = shell(tmp_path, f"while [ ! -e {gate} ]; do sleep 0.05; done; exit 1")
    hub.start(before)
    hub.collect(Started, 1)
    old_pid, old_fd = hub.launcher.pid, hub.launcher.fileno()
    os.kill(old_pid, signal.SIGSTOP)
    after = shell(tmp_path, "exit 2", attempt="t-2.1")
    hub.start(after)

    os.kill(old_pid, signal.SIGKILL)

    (restarted,) = hub.collect(LauncherRestarted, 1)
    assert isinstance(restarted, LauncherRestarted)
    assert restarted.pid == hub.launcher.pid != old_pid
    assert hub.launcher.fileno() == old_fd
    gate.touch()
    codes = {event.dir: event.code for event in hub.collect(Exited, 2) if isinstance(event, Exited)}
    assert codes == {str(before): 1, str(after): 2}


def test_a_start_that_died_with_its_launcher_is_asked_for_again(hub: Hub, tmp_path: Path) -> None:
    pid = hub.launcher.pid
    hub.start(shell(tmp_path, "true"))
    hub.collect(Exited, 1)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: ") T" in Path(f"/proc/{pid}/stat").read_text())
    lost = shell(tmp_path, "exit 3", attempt="t-2.1")
    hub.start(lost)
    far = hub.launcher._far
    assert far is not None
    far.recv(65536)  # as if the launcher had read it and died before it forked

    os.kill(pid, signal.SIGKILL)

    hub.collect(Exited, 2)
    assert exit_of(lost).code == 3


def test_a_launcher_that_never_stays_up_is_an_error_with_a_place_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.sys, "executable", "/bin/false")
    launcher = Launcher(log_path=tmp_path / "launcher.log")
    launcher.start()
    try:
        with pytest.raises(InternalError, match="does not stay up") as caught:
            _read_until_it_raises(launcher)
    finally:
        launcher.close()
    assert "launcher.log" in (caught.value.hint or "")


def _read_until_it_raises(launcher: Launcher) -> None:
    for _ in range(10):
        select.select([launcher.fileno()], [], [], PATIENCE_S)
        launcher.read_events()


def test_secrets_of_the_agent_stay_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWHIVE_PASSWORD", "geheim")
    launcher = Launcher()
    launcher.start()
    try:
        environ = Path(f"/proc/{launcher.pid}/environ")
        wait_until(lambda: b"LD_BIND_NOW" in environ.read_bytes())
        assert b"geheim" not in environ.read_bytes()
    finally:
        launcher.close()


def test_a_launcher_keeps_nothing_open_that_its_shims_would_inherit(
    hub: Hub, tmp_path: Path
) -> None:
    hub.start(shell(tmp_path, ":"))
    hub.collect(Exited, 1)
    links = {os.readlink(fd) for fd in Path(f"/proc/{hub.launcher.pid}/fd").iterdir()}
    assert not [link for link in links if "rehearsal" in link or "deleted" in link]


def test_a_shim_waits_for_an_agent_that_makes_its_directory_again(hub: Hub, tmp_path: Path) -> None:
    """Goal: the exit is not lost, and no shim outlives its use. Method: no agent, and its run
    directory is deleted."""
    line = f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; exit 7"
    run_dir = shell(tmp_path, line, linger_ms=60_000)
    hub.start(run_dir)
    hub.collect(Started, 1)
    (started,) = [event for event in hub.events if isinstance(event, Started)]
    hub.launcher.close()
    for path in run_dir.iterdir():
        path.unlink()
    run_dir.rmdir()
    (tmp_path / "go").touch()
    wait_until(lambda: not proctree.is_alive(started.pid))

    by_link = tmp_path / "by-link"
    by_link.symlink_to(run_dir.parent)
    assert make_again(tmp_path, str(by_link)) == [run_dir.name]
    wait_until(lambda: inspect_run(run_dir).phase is RunPhase.ENDED)
    keep_exit(str(run_dir))
    acknowledge(run_dir)
    wait_until(lambda: not Path(f"/proc/{started.shim_pid}").exists())
    state = inspect_run(run_dir)
    assert state.exited is not None
    assert state.exited.code == 7

"""Run directories read back, signals that hit only what is proven, trees without a shim."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from fluxhive.agent import process, proctree
from fluxhive.agent.process import (
    attempt_of_pid,
    boot_id,
    kill_now,
    kill_tree,
    make_cgroup,
    remove_cgroup,
    stop,
    watch,
)
from fluxhive.agent.run_directory import (
    RunPhase,
    RunSpec,
    Started,
    give_up_start,
    inspect_run,
    read_spec,
    write_spec,
)
from fluxhive.core.errors import InternalError
from tests.helpers.attempts import (
    ESCAPEES,
    exit_of,
    kill_marked,
    make_run,
    new_mark,
    pids_with_mark,
    run_alone,
    shell,
    start_alone,
    wait_for_start,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes of attempts need Linux")


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark whose processes are gone after the test in any case."""
    mark = new_mark()
    yield mark
    kill_marked(mark)


@pytest.fixture
def running(tmp_path: Path, mark: str) -> Iterator[tuple[Path, Started, subprocess.Popen[bytes]]]:
    """An attempt that sleeps, with its shim."""
    run_dir = make_run(tmp_path, ["/bin/sleep", mark])
    shim = start_alone(run_dir)
    yield run_dir, wait_for_start(run_dir), shim
    shim.kill()
    shim.wait()


Running = tuple[Path, Started, subprocess.Popen[bytes]]


# -- reading a run directory -----------------------------------------------------------------------


def test_a_spec_comes_back_as_it_was_written(tmp_path: Path) -> None:
    spec = RunSpec(
        attempt="t-1.1",
        argv=["a", os.fsdecode(b"\xff"), "\U0001f41d"],
        env={"K": "v=\n\"'"},
        cwd="/",
        cookie="c",
        time_limit_ms=5,
        cgroup="/x",
    )
    write_spec(tmp_path, spec)

    assert read_spec(tmp_path) == spec
    assert (tmp_path / "spec.json").stat().st_mode & 0o777 == 0o600


def test_a_spec_of_another_format_is_refused(tmp_path: Path) -> None:
    write_spec(tmp_path, RunSpec(attempt="a", argv=[], env={}, cwd="/", cookie="c", format=99))

    with pytest.raises(InternalError, match="99"):
        read_spec(tmp_path)


def test_a_directory_without_a_claim_is_not_started(tmp_path: Path) -> None:
    assert inspect_run(shell(tmp_path, "true")).phase is RunPhase.NOT_STARTED


def test_a_start_that_was_given_up_never_happens(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "echo ran")

    assert give_up_start(run_dir)

    assert start_alone(run_dir).wait(30) != 0
    assert not (run_dir / "stdout").exists()


def test_a_start_that_has_happened_cannot_be_given_up(running: Running) -> None:
    run_dir, _, _ = running

    assert not give_up_start(run_dir)
    assert inspect_run(run_dir).phase is RunPhase.RUNNING


def test_a_running_attempt_is_adopted_with_its_start_record(running: Running) -> None:
    run_dir, started, shim = running
    state = inspect_run(run_dir)

    assert state.phase is RunPhase.RUNNING
    assert started.shim_pid == shim.pid
    assert started.boot_id == boot_id()
    assert started.pid_start == proctree.start_ticks(started.pid) > 0


def test_a_start_record_cut_short_does_not_hide_a_running_attempt(running: Running) -> None:
    run_dir, _, _ = running
    for text in ("", '{"format": 1'):
        (run_dir / "started").write_text(text)
        state = inspect_run(run_dir)
        assert (state.phase, state.started) == (RunPhase.RUNNING, None)


def test_a_record_that_was_written_but_not_renamed_counts(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "exit 3")
    run_alone(run_dir)
    (run_dir / "exit").rename(run_dir / ".exit.tmp")

    assert exit_of(run_dir).code == 3


@pytest.mark.parametrize("text", ["", " " * 1024, "{}", "\0\0", '{"format": 2}', "\xff"])
def test_a_damaged_exit_record_is_corrupt_and_never_a_success(tmp_path: Path, text: str) -> None:
    run_dir = shell(tmp_path, "exit 0")
    run_alone(run_dir)
    (run_dir / "exit").write_text(text, encoding="latin-1")

    state = inspect_run(run_dir)

    assert state.phase is RunPhase.CORRUPT
    assert state.exited is None
    assert state.problem


def test_an_exit_record_of_a_newer_format_is_not_guessed_at(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "exit 0")
    run_alone(run_dir)
    record = json.loads((run_dir / "exit").read_text())
    (run_dir / "exit").write_text(json.dumps(record | {"format": 2}))

    state = inspect_run(run_dir)

    assert state.phase is RunPhase.CORRUPT
    assert "format 2" in (state.problem or "")


# -- signals ---------------------------------------------------------------------------------------


def test_stop_ends_an_adopted_attempt(running: Running) -> None:
    run_dir, started, shim = running

    assert stop(str(run_dir), started)

    shim.wait(30)
    assert exit_of(run_dir).stopped_by == "stop"
    assert not stop(str(run_dir), started)


@pytest.mark.parametrize("ask", [process.stop, process.kill_now])
def test_a_shim_that_was_stopped_is_woken_to_end_its_tree(
    running: Running, ask: Callable[[str, Started], bool]
) -> None:
    """Whoever has sent SIGSTOP to it has not asked that its task cannot be cancelled any more."""
    run_dir, started, shim = running
    shim.send_signal(signal.SIGSTOP)
    wait_until(lambda: "T" in (proctree.stat_of(shim.pid) or ()), "the shim being stopped")

    assert ask(str(run_dir), started)

    assert shim.wait(30) == 0
    assert exit_of(run_dir).stopped_by == "stop"


def test_a_shim_that_was_stopped_is_woken_without_being_asked_anything(running: Running) -> None:
    run_dir, started, shim = running
    assert not process.wake(str(run_dir), started)
    shim.send_signal(signal.SIGSTOP)
    wait_until(lambda: "T" in (proctree.stat_of(shim.pid) or ()), "the shim being stopped")
    stranger = msgspec.structs.replace(started, shim_start=started.shim_start + 1)
    assert not process.wake(str(run_dir), stranger)

    assert process.wake(str(run_dir), started)

    wait_until(lambda: "T" not in (proctree.stat_of(shim.pid) or ("T",)), "the shim going on")
    assert proctree.is_alive(started.pid)


def test_kill_now_ends_it_at_once(running: Running) -> None:
    run_dir, started, shim = running

    assert kill_now(str(run_dir), started)

    shim.wait(30)
    assert exit_of(run_dir).signal == signal.SIGKILL


def test_a_pid_that_is_another_process_now_is_never_signalled(tmp_path: Path, mark: str) -> None:
    run_dir = shell(tmp_path, "true")
    run_alone(run_dir)
    stranger = subprocess.Popen(["/bin/sleep", mark])
    try:
        record = inspect_run(run_dir).started
        assert record is not None
        # The worst case: same pid, and the same start within the grain of the clock.
        same = msgspec.structs.replace(
            record, shim_pid=stranger.pid, shim_start=proctree.start_ticks(stranger.pid)
        )
        assert not stop(str(run_dir), same)
        assert not kill_now(str(run_dir), same)
        assert watch(str(run_dir), same) is None
        time.sleep(0.05)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_nothing_is_signalled_after_a_reboot(running: Running, mark: str) -> None:
    run_dir, started, _ = running
    before = msgspec.structs.replace(started, boot_id="another-boot")
    cookie = read_spec(run_dir).cookie

    assert not stop(str(run_dir), before)
    assert watch(str(run_dir), before) is None
    assert kill_tree(cookie, started=before) == []
    assert pids_with_mark(mark) == [started.pid]


def test_the_end_of_an_adopted_shim_can_be_waited_for(running: Running) -> None:
    import select

    run_dir, started, shim = running
    pidfd = watch(str(run_dir), started)
    if pidfd is None:
        pytest.skip("this system has no pidfds")
    try:
        assert select.select([pidfd], [], [], 0)[0] == []
        shim.kill()
        assert select.select([pidfd], [], [], 30)[0] == [pidfd]
    finally:
        os.close(pidfd)


def test_a_tree_without_its_shim_is_found_by_its_cookie(tmp_path: Path, mark: str) -> None:
    line = f"sleep {mark} & setsid sleep {mark} & env -i sleep {mark} & "
    line += f"setsid sh -c 'env -i sleep {mark} & wait' & sleep 3600"
    run_dir = shell(tmp_path, line)
    shim = start_alone(run_dir)
    wait_until(lambda: len(pids_with_mark(mark)) == 4)
    shim.kill()
    shim.wait()

    assert kill_tree(read_spec(run_dir).cookie) == []

    # The one child that cleared its environment and lost its parent is the launcher's to kill.
    assert len(pids_with_mark(mark)) <= 1


def test_a_strangers_tree_is_left_alone(running: Running, mark: str) -> None:
    _, started, _ = running

    assert kill_tree("0" * 32) == []

    assert pids_with_mark(mark) == [started.pid]


# -- cgroups ---------------------------------------------------------------------------------------


@pytest.fixture
def cgroup() -> Iterator[tuple[str, str]]:
    """A cookie and a cgroup made for it."""
    cookie = os.urandom(16).hex()
    path = make_cgroup("t-1[5].2", cookie)
    if path is None:
        pytest.skip("no cgroup can be made here (cgroup v2 with cgroup.kill, and the right to)")
    yield cookie, path
    proctree.write_if_possible(path + "/cgroup.kill", "1")
    wait_until(lambda: remove_cgroup(path))


def test_a_cgroup_holds_all_escapees_and_ends_them(
    tmp_path: Path, mark: str, cgroup: tuple[str, str]
) -> None:
    cookie, path = cgroup
    line = ESCAPEES.format(mark=mark, python=sys.executable) + "sleep 3600"
    run_dir = shell(tmp_path, line, cookie=cookie, cgroup=path)
    shim = start_alone(run_dir)
    wait_until(lambda: len(pids_with_mark(mark)) >= 5)
    assert set(pids_with_mark(mark)) <= set(proctree.cgroup_pids(path))
    assert shim.pid not in proctree.cgroup_pids(path)
    shim.kill()
    shim.wait()

    assert kill_tree(cookie, cgroup=path) == []

    assert pids_with_mark(mark) == []
    assert remove_cgroup(path)
    assert remove_cgroup(path), "removing what is gone is no failure"


def test_a_shim_with_a_cgroup_ends_what_outlived_its_task(
    tmp_path: Path, mark: str, cgroup: tuple[str, str]
) -> None:
    cookie, path = cgroup
    line = ESCAPEES.format(mark=mark, python=sys.executable) + "sleep 0.3"
    exited = run_alone(shell(tmp_path, line, cookie=cookie, cgroup=path))

    assert exited.leftovers >= 5
    assert pids_with_mark(mark) == []
    assert proctree.cgroup_pids(path) == []


# -- whose pid -------------------------------------------------------------------------------------


def test_a_pid_is_mapped_to_its_attempt_by_its_cookie(running: Running) -> None:
    run_dir, started, _ = running
    cookie = read_spec(run_dir).cookie

    assert attempt_of_pid(started.pid, {"other": "t-9.1", cookie: "t-1.1"}) == "t-1.1"
    assert attempt_of_pid(os.getpid(), {cookie: "t-1.1"}) is None
    assert attempt_of_pid(started.pid, {}) is None


def test_a_program_that_has_overwritten_its_environment_is_known_by_its_parent(
    tmp_path: Path, mark: str
) -> None:
    run_dir = shell(tmp_path, f"env -i sleep {mark}; true")
    shim = start_alone(run_dir)
    try:
        wait_until(lambda: pids_with_mark(mark))
        (pid,) = pids_with_mark(mark)
        assert attempt_of_pid(pid, {read_spec(run_dir).cookie: "t-1.1"}) == "t-1.1"
    finally:
        shim.terminate()
        shim.wait()


def test_a_program_without_environment_or_parent_is_known_by_its_cgroup(
    tmp_path: Path, mark: str, cgroup: tuple[str, str]
) -> None:
    cookie, path = cgroup
    line = f"( setsid env -i sleep {mark} & ); sleep 3600"
    run_dir = shell(tmp_path, line, cookie=cookie, cgroup=path)
    shim = start_alone(run_dir)
    try:
        wait_until(lambda: pids_with_mark(mark))
        (pid,) = pids_with_mark(mark)
        assert attempt_of_pid(pid, {"0" * 32: "t-9.1", cookie: "t-1[5].2"}) == "t-1[5].2"
    finally:
        shim.terminate()
        shim.wait()


def test_this_boot_and_this_machine_have_names() -> None:
    assert boot_id() == process.boot_id() != ""
    assert len(process.machine_id()) >= 32

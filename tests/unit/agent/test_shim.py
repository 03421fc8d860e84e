"""What a shim does with one attempt: real processes, shims run alone, no agent."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.agent import shim
from fluxhive.agent.process import boottime_ms
from fluxhive.agent.run_directory import RunPhase, inspect_run
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
    stdout_of,
    wait_for_end,
    wait_for_start,
    wait_until,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shims need Linux")


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark whose processes are gone after the test in any case."""
    mark = new_mark()
    yield mark
    kill_marked(mark)


# -- how it ended ----------------------------------------------------------------------------------


def test_the_exit_code_is_recorded(tmp_path: Path) -> None:
    exited = run_alone(shell(tmp_path, "exit 7"))

    assert (exited.code, exited.signal, exited.exec_errno) == (7, None, 0)
    assert exited.stopped_by is None
    assert exited.leftovers == 0
    assert exited.started_boottime_ms <= exited.ended_boottime_ms <= boottime_ms()


def test_a_death_by_signal_is_no_exit_code(tmp_path: Path) -> None:
    exited = run_alone(shell(tmp_path, "kill -SEGV $$"))

    assert (exited.code, exited.signal) == (None, signal.SIGSEGV)


def test_a_task_that_kills_itself_with_sigkill_is_told_apart_from_a_stop(tmp_path: Path) -> None:
    exited = run_alone(shell(tmp_path, "kill -KILL $$"))

    assert (exited.signal, exited.stopped_by) == (signal.SIGKILL, None)


def test_cpu_time_and_memory_of_the_whole_tree_are_counted(tmp_path: Path) -> None:
    burn = "import time\nb = b'x' * (64 << 20)\nwhile time.process_time() < 0.3: pass"
    exited = run_alone(shell(tmp_path, f'{sys.executable} -c "{burn}"; true'))

    assert exited.cpu_ms >= 300
    assert exited.maxrss_kib > 64 << 10


# -- what cannot be started ------------------------------------------------------------------------


def _script(folder: Path, text: str, mode: int = 0o755) -> str:
    path = folder / "program"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("argv", "error", "words"),
    [
        (["/no/such/program"], "ENOENT", "/no/such/program does not exist"),
        (["no-such-program"], "ENOENT", "not on the task's PATH"),
        (["/etc"], "EACCES", "cannot be executed"),
        ([""], "ENOENT", "PATH"),
        ([], "EINVAL", "empty"),
        (["/bin/echo", "a\0b"], "EINVAL", "NUL"),
        (["/bin/echo", "x" * 200_000], "E2BIG", "too long"),
    ],
)
def test_a_command_that_cannot_be_executed_says_why(
    tmp_path: Path, argv: list[str], error: str, words: str
) -> None:
    exited = run_alone(make_run(tmp_path, argv))

    assert exited.exec_error == error
    assert exited.exec_errno == getattr(errno, error)
    assert (exited.code, exited.signal) == (None, None)
    assert words in (exited.detail or "")


@pytest.mark.parametrize(
    ("text", "mode", "error", "words"),
    [
        ("#!/bin/sh\n", 0o644, "EACCES", "Permission denied"),
        ("#!/no/such/interpreter\n", 0o755, "ENOENT", "interpreter"),
        ("echo no interpreter line\n", 0o755, "ENOEXEC", "interpreter line"),
    ],
)
def test_a_script_that_cannot_be_executed_says_why(
    tmp_path: Path, text: str, mode: int, error: str, words: str
) -> None:
    exited = run_alone(make_run(tmp_path, [_script(tmp_path, text, mode)]))

    assert exited.exec_error == error
    assert words in (exited.detail or "")


def test_a_missing_working_directory_is_named(tmp_path: Path) -> None:
    exited = run_alone(make_run(tmp_path, ["/bin/true"], cwd="/no/such/place"))

    assert exited.exec_error == "ENOENT"
    assert exited.detail == "working directory /no/such/place does not exist"


def test_a_long_name_full_of_odd_characters_still_leaves_a_record(tmp_path: Path) -> None:
    exited = run_alone(make_run(tmp_path, ["/bin/true"], cwd="/" + "\U0001f41d\udcff" * 500))

    assert exited.exec_error == "ENAMETOOLONG"
    assert len((tmp_path / "t-1.1" / "exit").read_bytes()) == 1024


def test_a_damaged_spec_starts_nothing(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "echo ran")
    (run_dir / "spec.json").write_text('{"format": 1, "argv": ["/bin/echo"]')

    assert run_alone(run_dir).exec_error == "EPROTO"
    assert not (run_dir / "stdout").exists()


@pytest.mark.parametrize(
    "change",
    [{"env": {"A=B": "x"}}, {"env": {"": "x"}}, {"env": {"A": 1}}, {"env": {"A": "\ud800"}}],
)
def test_an_environment_that_no_program_can_be_given_starts_nothing(
    tmp_path: Path, change: dict[str, object]
) -> None:
    run_dir = shell(tmp_path, "echo ran")
    spec = json.loads((run_dir / "spec.json").read_text())
    (run_dir / "spec.json").write_text(json.dumps(spec | change))

    exited = run_alone(run_dir)

    assert exited.exec_error in {"EINVAL", "EPROTO"}
    assert exited.detail
    assert not (run_dir / "stdout").exists()


def test_a_spec_of_an_unknown_format_starts_nothing(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "echo ran")
    spec = json.loads((run_dir / "spec.json").read_text())
    (run_dir / "spec.json").write_text(json.dumps(spec | {"format": 99}))

    exited = run_alone(run_dir)

    assert exited.exec_error == "EPROTO"
    assert "99" in (exited.detail or "")


def test_an_attempt_is_never_executed_twice(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "echo ran")
    first = run_alone(run_dir)

    again = start_alone(run_dir)

    assert again.wait(30) == shim.STATUS_CLAIMED_BY_ANOTHER
    assert exit_of(run_dir) == first
    assert stdout_of(run_dir) == "ran\n"


# -- what a task finds -----------------------------------------------------------------------------


def test_the_environment_is_exactly_what_was_given(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, ["/usr/bin/env", "-0"], env={"A": "1", "EMPTY": ""}, cookie="c00")
    run_alone(run_dir)

    lines = stdout_of(run_dir).split("\0")[:-1]
    assert sorted(lines) == ["A=1", "EMPTY=", "FLUXHIVE_COOKIE=c00", "PATH=/usr/bin:/bin"]


def test_bytes_that_are_no_utf_8_survive_in_arguments_and_environment(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe caf\xe9")
    run_dir = shell(tmp_path, f'printf "%s|%s" "{odd}" "$ODD"', env={"ODD": odd})
    run_alone(run_dir, env={"LC_ALL": "C", "PATH": os.environ["PATH"]})

    assert (run_dir / "stdout").read_bytes() == b"\xff\xfe caf\xe9|\xff\xfe caf\xe9"


def test_a_task_has_no_descriptor_but_the_standard_three(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "ls -l /proc/self/fd")
    run_alone(run_dir)

    lines = [line.split(" ", 8)[-1] for line in stdout_of(run_dir).splitlines()[1:]]
    links = dict(line.split()[-3::2] for line in lines)
    assert links.pop("3").startswith("/proc/")  # the directory that ls reads
    assert links == {
        "0": "/dev/null",
        "1": str(run_dir / "stdout"),
        "2": str(run_dir / "stderr"),
    }


def test_signals_of_a_task_are_as_a_shell_would_find_them(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "grep -E 'Sig(Blk|Ign)' /proc/self/status; umask; pwd")
    # An agent started by nohup ignores SIGHUP; Python ignores SIGPIPE.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run_alone(run_dir)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

    words = stdout_of(run_dir).split()
    assert words == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16, "0022", str(tmp_path)]


def test_a_pipeline_broken_by_head_ends_quietly(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "yes | head -1")

    assert run_alone(run_dir).code == 0
    assert (run_dir / "stderr").read_bytes() == b""


def test_ten_megabytes_of_output_arrive_as_written(tmp_path: Path) -> None:
    program = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 40960)"
    run_dir = make_run(tmp_path, [sys.executable, "-c", program])
    run_alone(run_dir)

    assert (run_dir / "stdout").read_bytes() == bytes(range(256)) * 40960


def test_output_can_be_merged_in_the_order_of_writing(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "echo a; echo b >&2; echo c", merge_output=True)
    run_alone(run_dir)

    assert stdout_of(run_dir) == "a\nb\nc\n"
    assert not (run_dir / "stderr").exists()


def test_files_of_an_attempt_are_readable_by_its_user_alone(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "touch made-by-task", cwd=str(tmp_path))
    run_alone(run_dir)

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in run_dir.iterdir()}
    names = {"spec.json", "shim.lock", "started", "exit", "stdout", "stderr"}
    assert modes == dict.fromkeys(names, "0o600")
    assert (tmp_path / "made-by-task").stat().st_mode & 0o777 == 0o644


# -- the stop ladder -------------------------------------------------------------------------------


def test_sigterm_to_the_shim_lets_the_task_end_by_itself(tmp_path: Path) -> None:
    run_dir = shell(
        tmp_path, "trap 'echo saved; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    )
    process = start_alone(run_dir)
    wait_until(lambda: (run_dir / "stdout").exists() and stdout_of(run_dir) == "up\n")

    process.send_signal(signal.SIGTERM)

    exited = wait_for_end(run_dir).exited
    assert process.wait() == 0
    assert exited is not None
    assert (exited.code, exited.stopped_by) == (3, "stop")
    assert stdout_of(run_dir) == "up\nsaved\n"


def test_a_task_that_ignores_sigterm_is_killed_after_its_grace(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "trap '' TERM; echo up; sleep 3600", grace_ms=200)
    process = start_alone(run_dir)
    wait_until(lambda: (run_dir / "stdout").exists() and stdout_of(run_dir) == "up\n")

    process.send_signal(signal.SIGTERM)
    process.wait(30)

    exited = exit_of(run_dir)
    assert (exited.signal, exited.stopped_by) == (signal.SIGKILL, "stop")


def test_a_child_has_the_grace_even_if_the_shell_above_it_dies_at_once(tmp_path: Path) -> None:
    save = "import signal, time, sys\n"
    save += "def f(*_): time.sleep(2.5); print('saved', flush=True); sys.exit()\n"
    save += "signal.signal(signal.SIGTERM, f); print('up', flush=True); time.sleep(3600)"
    (tmp_path / "save.py").write_text(save)
    run_dir = shell(tmp_path, f"{sys.executable} save.py; true", grace_ms=30_000)
    process = start_alone(run_dir)
    wait_until(lambda: (run_dir / "stdout").exists() and stdout_of(run_dir) == "up\n")

    process.send_signal(signal.SIGTERM)
    process.wait(30)

    assert exit_of(run_dir).signal == signal.SIGTERM
    assert stdout_of(run_dir) == "up\nsaved\n"


def test_sigusr1_kills_without_grace(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "trap '' TERM; echo up; sleep 3600", grace_ms=3_600_000)
    process = start_alone(run_dir)
    wait_until(lambda: (run_dir / "stdout").exists() and stdout_of(run_dir) == "up\n")

    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGUSR1)
    process.wait(30)

    exited = exit_of(run_dir)
    assert (exited.signal, exited.stopped_by) == (signal.SIGKILL, "stop")


def test_the_time_limit_stops_a_task(tmp_path: Path) -> None:
    exited = run_alone(shell(tmp_path, "sleep 3600", time_limit_ms=300))

    assert (exited.signal, exited.stopped_by) == (signal.SIGTERM, "time-limit")


def test_a_task_within_its_time_limit_is_left_alone(tmp_path: Path) -> None:
    exited = run_alone(shell(tmp_path, "sleep 0.2", time_limit_ms=600_000))

    assert (exited.code, exited.stopped_by) == (0, None)


# -- the lease -------------------------------------------------------------------------------------


def _contact(path: Path, at_ms: int) -> str:
    new = path.with_suffix(".new")
    new.write_text(f"{at_ms}\n")
    new.rename(path)
    return str(path)


def test_a_task_is_stopped_when_the_node_was_without_contact_for_too_long(tmp_path: Path) -> None:
    contact_ms = boottime_ms()
    path = _contact(tmp_path / "contact", contact_ms)
    exited = run_alone(shell(tmp_path, "sleep 3600", failover_ms=4_000, contact_path=path))

    assert (exited.signal, exited.stopped_by) == (signal.SIGTERM, "lease")
    assert exited.ended_boottime_ms >= contact_ms + 4_000


@pytest.mark.parametrize("stop", [None, signal.SIGTERM])
def test_a_shim_that_slept_through_lease_and_grace_kills_at_once(
    tmp_path: Path, stop: signal.Signals | None
) -> None:
    """Elsewhere the next attempt may run by now. Whoever asks for a stop then changes nothing."""
    contact_ms = boottime_ms()
    path = _contact(tmp_path / "contact", contact_ms)
    line = f"trap '' TERM; while :; do sleep 0.02; date >> {tmp_path}/beats; done"
    run_dir = shell(tmp_path, line, failover_ms=4_000, grace_ms=2_000, contact_path=path)
    process = start_alone(run_dir)
    wait_until((tmp_path / "beats").exists, "the task")
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: boottime_ms() > contact_ms + 6_000, "the end of lease and grace")
    if stop is not None:
        process.send_signal(stop)
    awake_ms = boottime_ms()
    process.send_signal(signal.SIGCONT)
    process.wait(30)

    exited = exit_of(run_dir)
    assert exited.signal == signal.SIGKILL
    assert exited.stopped_by in ("lease", "stop")
    assert exited.ended_boottime_ms < awake_ms + 2_000


def test_what_is_without_contact_for_too_long_before_its_start_is_not_started(
    tmp_path: Path,
) -> None:
    """Its agent was paused between taking it on and starting it: it may run elsewhere by now."""
    path = _contact(tmp_path / "contact", boottime_ms() - 600)
    exited = run_alone(shell(tmp_path, f"touch {tmp_path}/ran", failover_ms=500, contact_path=path))

    assert exited.exec_error == "ECANCELED"
    assert "before it was started" in (exited.detail or "")
    assert not (tmp_path / "ran").exists()


def test_renewed_contact_keeps_a_task_alive(tmp_path: Path) -> None:
    path = tmp_path / "contact"
    line = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.2; done"
    run_dir = shell(tmp_path, line, failover_ms=1_000, contact_path=_contact(path, boottime_ms()))
    process = start_alone(run_dir)
    while process.poll() is None:
        _contact(path, boottime_ms())
        time.sleep(0.02)

    exited = exit_of(run_dir)
    assert (exited.code, exited.stopped_by) == (0, None)
    assert exited.ended_boottime_ms - exited.started_boottime_ms > 1_500


def test_a_contact_ahead_of_the_clock_is_of_another_boot_and_holds_no_lease(tmp_path: Path) -> None:
    path = _contact(tmp_path / "contact", boottime_ms() + 1_000_000)
    exited = run_alone(shell(tmp_path, "echo ran", failover_ms=500, contact_path=path))

    assert exited.exec_error == "EINVAL"
    assert "contact" in (exited.detail or "")


# -- the tree --------------------------------------------------------------------------------------


def test_nothing_of_an_attempt_outlives_it(tmp_path: Path, mark: str) -> None:
    line = ESCAPEES.format(mark=mark, python=sys.executable) + "sleep 0.5; exit 4"
    exited = run_alone(shell(tmp_path, line))

    assert exited.code == 4
    assert exited.leftovers >= 5
    assert exited.unkillable == []
    assert pids_with_mark(mark) == []


def test_a_stop_reaches_all_that_escaped(tmp_path: Path, mark: str) -> None:
    run_dir = shell(tmp_path, ESCAPEES.format(mark=mark, python=sys.executable) + "sleep 3600")
    process = start_alone(run_dir)
    wait_until(lambda: len(pids_with_mark(mark)) >= 5, "five escapees")

    process.send_signal(signal.SIGTERM)
    process.wait(30)

    assert pids_with_mark(mark) == []
    assert exit_of(run_dir).stopped_by == "stop"


def test_a_leftover_that_ignores_sigterm_is_killed(tmp_path: Path, mark: str) -> None:
    exited = run_alone(shell(tmp_path, f"(trap '' TERM; exec sleep {mark}) & exit 0"))

    assert (exited.code, exited.leftovers) == (0, 1)
    assert pids_with_mark(mark) == []


def test_a_leftover_is_asked_before_it_is_killed(tmp_path: Path) -> None:
    line = "(trap 'echo saved; exit' TERM; echo up; while :; do sleep 0.05; done) &"
    run_dir = shell(tmp_path, f"{line} while ! grep -q up {tmp_path}/t-1.1/stdout; do :; done")

    assert run_alone(run_dir).code == 0
    assert stdout_of(run_dir) == "up\nsaved\n"


def test_a_child_that_ends_right_after_its_parent_is_no_leftover(tmp_path: Path) -> None:
    exited = run_alone(shell(tmp_path, "sleep 0.01 & exit 0"))

    assert exited.leftovers == 0


@pytest.fixture
def freezer() -> Iterator[Path]:
    """A cgroup whose processes SIGKILL cannot end while it is frozen (state D)."""
    path = Path("/sys/fs/cgroup/freezer", f"fluxhive-test-{os.getpid()}")
    try:
        path.mkdir()
    except OSError:
        pytest.skip("needs a v1 freezer cgroup and the right to make one")
    yield path
    (path / "freezer.state").write_text("THAWED")
    wait_until(lambda: not (path / "cgroup.procs").read_text())
    path.rmdir()


@pytest.mark.slow
def test_what_cannot_be_killed_is_named(tmp_path: Path, mark: str, freezer: Path) -> None:
    run_dir = make_run(tmp_path, ["/bin/sleep", mark])
    process = start_alone(run_dir)
    started = wait_for_start(run_dir)
    (freezer / "cgroup.procs").write_text(str(started.pid))
    (freezer / "freezer.state").write_text("FROZEN")

    process.send_signal(signal.SIGUSR1)
    process.wait(30)

    exited = exit_of(run_dir)
    assert exited.unkillable == [started.pid]
    assert (exited.code, exited.signal, exited.stopped_by) == (None, None, "stop")


# -- what must not be lost -------------------------------------------------------------------------


def test_the_main_process_dies_with_its_shim(tmp_path: Path, mark: str) -> None:
    run_dir = make_run(tmp_path, ["/bin/sleep", mark])
    process = start_alone(run_dir)
    wait_for_start(run_dir)
    assert inspect_run(run_dir).phase is RunPhase.RUNNING

    process.kill()
    process.wait()

    wait_until(lambda: not pids_with_mark(mark), "the main process is gone")
    assert inspect_run(run_dir).phase is RunPhase.SUPERVISOR_LOST


def test_a_disk_that_is_full_for_the_output_costs_no_exit_code(tmp_path: Path) -> None:
    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    # The shell itself ignores SIGXFSZ, so that it lives to see its write fail.
    line = "trap '' XFSZ; dd if=/dev/zero bs=1024 count=100 2>/dev/null || exit 9"
    run_dir = shell(tmp_path, line)

    assert run_alone(run_dir, preexec_fn=limit).code == 9
    assert (run_dir / "stdout").stat().st_size == 4096


def test_a_full_disk_starts_nothing_that_it_could_not_report(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, "echo ran > /dev/null; exit 0")

    def limit() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    process = start_alone(run_dir, preexec_fn=limit)

    assert process.wait(30) == shim.STATUS_NOT_RECORDED
    assert not (run_dir / "stdout").exists()
    assert inspect_run(run_dir).phase is RunPhase.SUPERVISOR_LOST


def test_a_deleted_run_directory_ends_the_shim_but_not_before_its_task(tmp_path: Path) -> None:
    run_dir = shell(tmp_path, f"echo up; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done")
    process = start_alone(run_dir)
    wait_for_start(run_dir)
    for path in run_dir.iterdir():
        path.unlink()
    run_dir.rmdir()
    assert process.poll() is None

    (tmp_path / "go").touch()

    assert process.wait(30) == shim.STATUS_NOT_RECORDED

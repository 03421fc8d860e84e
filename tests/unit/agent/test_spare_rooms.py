"""Run directories that are used again: nothing of one attempt reaches the next."""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

import pytest

from fluxhive.agent import shim, spare_rooms
from fluxhive.agent.run_directory import (
    RunPhase,
    RunSpec,
    give_up_start,
    inspect_run,
    read_spec,
    write_spec,
)
from fluxhive.agent.spare_rooms import SpareRooms
from tests.helpers.attempts import make_run, run_alone, shell, start_alone, stdout_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shims need Linux")


@pytest.fixture
def spare(tmp_path: Path) -> SpareRooms:
    return SpareRooms(tmp_path / "spare")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def again(spare: SpareRooms, runs: Path, line: str, attempt: str) -> Path:
    """A run directory made from a spare one."""
    model = shell(runs, line, attempt="model")
    spec = (model / "spec.json").read_bytes()
    run_dir = runs / attempt
    assert spare.take(str(run_dir))
    (run_dir / "spec.json").write_bytes(spec)
    return run_dir


def test_a_room_serves_again_and_tells_only_of_its_new_attempt(
    spare: SpareRooms, runs: Path
) -> None:
    first = shell(runs, "echo first; echo no >&2; exit 3", attempt="t-1.1", env={"SECRET": "x-y-z"})
    assert run_alone(first).code == 3
    inodes = {name: (first / name).stat().st_ino for name in ("spec.json", "shim.lock", "exit")}
    stdout = (first / "stdout").open()
    assert spare.put(str(first))
    assert not first.exists()
    assert not any(b"x-y-z" in f.read_bytes() for f in runs.parent.rglob("*") if f.is_file())

    second = again(spare, runs, "echo second; exit 4", "t-2.1")
    assert inspect_run(second).phase is RunPhase.NOT_STARTED
    assert run_alone(second).code == 4
    assert stdout_of(second) == "second\n"
    assert (second / "stderr").read_text() == ""
    assert {name: (second / name).stat().st_ino for name in inodes} == inodes
    # Whoever reads the first one's output reads that to the end, and nothing else.
    assert stdout.read() == "first\n"


def test_a_room_is_claimed_once(spare: SpareRooms, runs: Path) -> None:
    first = shell(runs, "true", attempt="t-1.1")
    run_alone(first)
    spare.put(str(first))
    second = again(spare, runs, "touch ran", "t-2.1")
    assert give_up_start(second)

    assert start_alone(second).wait() == shim.STATUS_CLAIMED_BY_ANOTHER
    assert not (runs / "ran").exists()


def test_a_shim_that_dies_in_a_room_of_before_has_recorded_nothing(
    spare: SpareRooms, runs: Path
) -> None:
    first = shell(runs, "exit 3", attempt="t-1.1")
    run_alone(first)
    spare.put(str(first))
    second = again(spare, runs, "true", "t-2.1")
    (second / ".started.spare").rename(second / "started")

    assert inspect_run(second).phase is RunPhase.SUPERVISOR_LOST


@pytest.mark.parametrize("spoilt", ["made something", "shim lives", "not ended"])
def test_some_rooms_are_not_used_again(spare: SpareRooms, runs: Path, spoilt: str) -> None:
    run_dir = shell(runs, "true", attempt="t-1.1")
    if spoilt != "not ended":
        run_alone(run_dir)
    if spoilt == "made something":
        (run_dir / "of-the-task").mkdir()
    lock = os.open(run_dir / "shim.lock", os.O_RDWR | os.O_CREAT)
    if spoilt == "shim lives":
        fcntl.flock(lock, fcntl.LOCK_EX)

    assert not spare.put(str(run_dir))
    assert not spare.take(str(runs / "t-2.1"))
    os.close(lock)


def test_no_more_rooms_are_kept_than_help(
    spare: SpareRooms, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare_rooms, "ROOMS_MAX", 1)
    for number in (1, 2):
        run_dir = make_run(runs, ["/bin/true"], attempt=f"t-{number}.1")
        run_alone(run_dir)
        assert spare.put(str(run_dir)) is (number == 1)


def test_rooms_of_an_earlier_life_are_removed(tmp_path: Path) -> None:
    (tmp_path / "spare" / "7").mkdir(parents=True)
    spare = SpareRooms(tmp_path / "spare")

    assert not spare.take(str(tmp_path / "run"))
    assert list((tmp_path / "spare").iterdir()) == []


def test_a_spec_is_written_over_an_empty_one(spare: SpareRooms, runs: Path) -> None:
    first = shell(runs, "true", attempt="t-1.1", env={"LONG": "x" * 5000})
    run_alone(first)
    spare.put(str(first))
    assert spare.take(str(runs / "t-2.1"))
    spec = RunSpec(attempt="t-2.1", argv=["true"], env={}, cwd="/", cookie="c")
    write_spec(runs / "t-2.1", spec)
    assert read_spec(runs / "t-2.1") == spec


def test_an_output_that_nobody_wrote_to_serves_again(spare: SpareRooms, runs: Path) -> None:
    first = shell(runs, "echo first", attempt="t-1.1")
    run_alone(first)
    inodes = {name: (first / name).stat().st_ino for name in ("stdout", "stderr")}
    assert spare.put(str(first))
    second = again(spare, runs, "echo second; echo no >&2", "t-2.1")
    assert not (second / "stdout").exists()
    assert (second / "stderr").stat().st_ino == inodes["stderr"]
    run_alone(second)
    assert stdout_of(second) == "second\n"
    assert (second / "stderr").read_text() == "no\n"


@pytest.mark.parametrize("way", ["open", "named", "opened up", "a pipe"])
def test_an_output_that_somebody_could_write_to_is_made_anew(
    spare: SpareRooms, runs: Path, tmp_path: Path, way: str
) -> None:
    first = shell(runs, "true", attempt="t-1.1")
    run_alone(first)
    output = first / "stdout"
    late = output.open("a")
    if way == "named":
        os.link(output, tmp_path / "other-name")
    elif way == "opened up":
        output.chmod(0o666)
    elif way == "a pipe":
        output.unlink()
        os.mkfifo(output, 0o600)
    if way != "open":
        late.close()
    assert spare.put(str(first))
    second = again(spare, runs, "echo second", "t-2.1")
    assert not (second / "stdout").exists()
    run_alone(second)
    if way == "open":
        late.write("of the first")
        late.close()
    assert stdout_of(second) == "second\n"

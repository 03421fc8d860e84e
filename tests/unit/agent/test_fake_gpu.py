"""Pretended GPUs: real processes use them, exceed them and fight over them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxhive import testing
from fluxhive.agent.fake_gpu import FakeGpuSource
from fluxhive.agent.gpu_source import open_gpu_source
from fluxhive.core.errors import InputError, NotFound
from fluxhive.core.gpu_monitor import GpuMonitor, Reading, Surroundings
from fluxhive.core.node import GpuState

CONTEXT = testing.CONTEXT_MIB


@pytest.fixture
def source(tmp_path: Path) -> FakeGpuSource:
    """Two GPUs of 80 GiB."""
    return FakeGpuSource("2x80G", state_dir=tmp_path)


def env_of(source: FakeGpuSource, *indexes: int) -> dict[str, str]:
    """What a task is given that got these GPUs."""
    gpus = source.read().gpus
    uuids = ",".join(gpus[index].uuid for index in indexes)
    return source.task_env() | {"FLUXHIVE_GPU_UUIDS": uuids}


def uses(source: FakeGpuSource, index: int = 0) -> dict[int, int | None]:
    processes = source.read().gpus[index].processes or ()
    return {process.pid: process.used_mib for process in processes}


def until(claim: Callable[[], bool]) -> None:
    for _ in range(1000):
        if claim():
            return
        time.sleep(0.01)
    pytest.fail("it did not come to pass")


@contextlib.contextmanager
def task(env: dict[str, str], size: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real process that holds memory until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fluxhive.testing", size, "60"], env=os.environ | env
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_description_makes_gpus_that_outlive_the_agent(tmp_path: Path) -> None:
    first = FakeGpuSource("2x80G,1x24G", state_dir=tmp_path).read()
    assert [gpu.total_mib for gpu in first.gpus] == [81_920, 81_920, 24_576]
    assert len({gpu.uuid for gpu in first.gpus}) == 3
    assert first.gpus[0].used_mib == testing.BASELINE_MIB
    again = FakeGpuSource("1x80G,1x24G", state_dir=tmp_path).read()
    assert [gpu.total_mib for gpu in again.gpus] == [81_920, 24_576]
    assert again.gpus[0].uuid == first.gpus[0].uuid


def test_two_nodes_never_have_the_same_gpu(tmp_path: Path) -> None:
    first = FakeGpuSource("1x8G", state_dir=tmp_path / "one").read()
    second = FakeGpuSource("1x8G", state_dir=tmp_path / "two").read()
    assert first.gpus[0].uuid != second.gpus[0].uuid


@pytest.mark.parametrize(
    "text", ["4", "x80G", "0x80G", "60x8G,5x8G", "4x", "4xlots", "1000x8G", "4x80G;"]
)
def test_a_description_that_means_nothing_is_refused_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_gpu_source(text, state_dir=tmp_path)
    assert caught.value.field == "FLOWHIVE_FAKE_GPUS"


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        open_gpu_source(str(tmp_path / "none"), state_dir=tmp_path)


def test_a_directory_made_by_somebody_else_is_read(tmp_path: Path) -> None:
    (made,) = testing.make_gpus(tmp_path / "gpus", "1x16G")
    source = open_gpu_source(str(tmp_path / "gpus"), state_dir=tmp_path)
    assert [gpu.uuid for gpu in source.read().gpus] == [made.uuid]


def test_a_process_pays_for_its_context_and_its_memory_is_seen(source: FakeGpuSource) -> None:
    with task(env_of(source, 1), "20G") as process:
        until(lambda: uses(source, 1) != {})
        assert uses(source, 1) == {process.pid: 20_480 + CONTEXT}
        assert uses(source, 0) == {}
        reading = source.read().gpus[1]
        assert reading.used_mib == testing.BASELINE_MIB + 20_480 + CONTEXT
        assert reading.utilization_percent


def test_memory_is_back_when_the_process_is_killed_even_if_nobody_waits_for_it(
    source: FakeGpuSource,
) -> None:
    with task(env_of(source, 0), "20G") as process:
        until(lambda: uses(source) != {})
        process.kill()
        # Dead once its end can be waited for; it is not waited for, and so it is a zombie.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert uses(source) == {}
        assert source.read().gpus[0].used_mib == testing.BASELINE_MIB


def test_whoever_comes_second_runs_out_of_memory_as_in_pytorch(source: FakeGpuSource) -> None:
    env = env_of(source, 0)
    with task(env, "60G"):
        until(lambda: uses(source) != {})
        second = subprocess.run(
            [sys.executable, "-m", "fluxhive.testing", "30G"],
            env=os.environ | env,
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 1
    assert "OutOfMemoryError: CUDA out of memory. Tried to allocate 30.00 GiB." in second.stderr


def test_allocations_add_up_and_can_be_given_back(source: FakeGpuSource) -> None:
    env = env_of(source, 0)
    testing.allocate(0, 1000, environ=env)
    testing.allocate(0, 500, environ=env)
    assert uses(source) == {os.getpid(): 1500 + CONTEXT}
    testing.free(0, 1000, environ=env)
    assert uses(source) == {os.getpid(): 500 + CONTEXT}
    testing.free(0, 9999, environ=env)
    assert uses(source) == {os.getpid(): CONTEXT}


def test_a_gpu_can_be_filled_to_the_last_mebibyte_and_no_further(source: FakeGpuSource) -> None:
    env = env_of(source, 0)
    rest = 81_920 - testing.BASELINE_MIB - CONTEXT
    with pytest.raises(testing.OutOfMemoryError):
        testing.allocate(0, rest + 1, environ=env)
    testing.allocate(0, rest, environ=env)
    with pytest.raises(testing.OutOfMemoryError):
        testing.allocate(0, 1, environ=env)


def test_a_reused_pid_does_not_inherit_memory(source: FakeGpuSource) -> None:
    uuid = source.read().gpus[0].uuid
    stale = source.directory / "use" / uuid / str(os.getpid())
    stale.parent.mkdir(parents=True)
    stale.write_text("5000 12345\n")
    assert uses(source) == {}
    assert not stale.exists()


def test_foreign_use_is_a_process_of_nobodys(source: FakeGpuSource) -> None:
    testing.set_gpu(source.directory, 0, foreign_mib=30_000)
    monitor = GpuMonitor()
    around = Surroundings(owners={1: None})
    first, second = monitor.handle(source.read(), around)
    assert (first.foreign_mib, second.foreign_mib) == (30_000, 0)


def test_states_are_those_of_a_real_driver(source: FakeGpuSource) -> None:
    monitor = GpuMonitor()
    monitor.handle(source.read())
    testing.set_gpu(source.directory, 0, state="lost")
    lost, good = monitor.handle(source.read())
    assert (lost.state, good.state) == (GpuState.FAULTY, GpuState.HEALTHY)
    testing.set_gpu(source.directory, 0, state="gone")
    (left,) = source.read().gpus
    assert (left.uuid, left.index) == (good.uuid, 0), "the driver counts what it sees"
    testing.set_gpu(source.directory, 0, state="slow")
    assert source.read().stale


def test_allocating_on_a_lost_gpu_fails_as_cuda_does(source: FakeGpuSource) -> None:
    env = env_of(source, 0)
    testing.set_gpu(source.directory, 0, state="lost")
    with pytest.raises(RuntimeError, match="GPU is lost"):
        testing.allocate(0, 1, environ=env)


def test_outside_a_task_there_is_nothing_to_allocate(source: FakeGpuSource) -> None:
    with pytest.raises(NotFound, match="FLUXHIVE_FAKE_GPUS"):
        testing.allocate(0, 1, environ={})
    with pytest.raises(NotFound, match="was not given a GPU 1"):
        testing.allocate(1, 1, environ=env_of(source, 0))


def test_every_field_of_a_reading_is_there(source: FakeGpuSource) -> None:
    reading = source.read().gpus[0]
    # As an older driver: what it takes for itself is within what is used.
    told = [name for name in Reading.__struct_fields__ if name != "reserved_mib"]
    assert None not in [getattr(reading, name) for name in told]

"""submitit on a hive, found by its entry points: what its users do runs as tasks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import submitit
from submitit.core.utils import FailedJobError

from fluxhive.sdk import decorator
from tests.helpers.cli_hive import CliHive


@pytest.fixture
def executor(hive: CliHive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("FLOWHIVE_CONTROL_URL", hive.transport.base_url)
    monkeypatch.setenv("FLOWHIVE_TOKEN", str(hive.transport.token))
    monkeypatch.setattr(decorator, "_clients", [])
    return submitit.AutoExecutor(folder=tmp_path / "%j", cluster="fluxhive")


def add(a: int, b: int) -> int:
    print("adding", a, b)
    return a + b


def whoami() -> tuple[int, int, str]:
    env = submitit.JobEnvironment()
    return env.global_rank, env.num_tasks, env.job_id


class Counting:
    """Counts on where it was when it was told to save."""

    def __init__(self) -> None:
        self.reached = 0

    def __call__(self, start: int, end: int) -> tuple[int, int]:
        for self.reached in range(start, end):
            time.sleep(0.1)
        return start, end

    def checkpoint(self, start: int, end: int) -> Any:
        return submitit.helpers.DelayedSubmission(self, self.reached, end)


def test_jobs_arrays_and_errors_come_back(executor: Any, hive: CliHive) -> None:
    executor.update_parameters(gpus_per_node=1, name="sum", fluxhive_gpu_mem="2G")
    jobs = executor.map_array(add, [1, 2], [10, 20])
    failing = executor.submit(add, 1, "x")
    assert [job.result() for job in jobs] == [11, 22]
    assert "adding 2 20" in jobs[1].stdout()
    with pytest.raises(FailedJobError, match="unsupported operand"):
        failing.result()
    task = hive.task(jobs[1].job_id.replace("_1", "[1]"))
    assert (task["word"], task["name"]) == ("succeeded", "sum")
    assert task["spec"]["request"]["gpu_memory_mib"] == 2048


def test_the_processes_of_a_job_know_their_ranks(executor: Any) -> None:
    executor.update_parameters(tasks_per_node=2)
    job = executor.submit(whoami)
    assert job.results() == [(0, 2, job.job_id), (1, 2, job.job_id)]


def test_a_job_saves_before_its_time_is_over_and_goes_on(executor: Any, hive: CliHive) -> None:
    executor.update_parameters(timeout_min=1, fluxhive_signal_delay_s=58, fluxhive_backoff=0)
    job = executor.submit(Counting(), 0, 25)
    start, end = job.result()
    assert (start > 0, end) == (True, 25)
    attempts = hive.task(job.job_id)["attempts"]
    *saved, last = [each["outcome"].get("exit_code") for each in attempts]
    assert (set(saved), last) == ({144}, 0)


def test_a_cancelled_job_ends(executor: Any) -> None:
    job = executor.submit(time.sleep, 100)
    job.cancel()
    job.wait()
    assert job.watcher.get_state(job.job_id, mode="force") == "CANCELLED"

"""Tasks that were sent ahead of a free place, with real processes: each runs exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.task import ExecutorKind, TaskSpec
from fluxhive.protocol.rest import TaskPage
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until

N_TASKS = 12
TRIES, RUNS_REMEMBERED = 10, 15


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    config = tmp_path / "config.toml"
    config.touch(0o600)
    config.write_text("[agent]\nmax_cpus = 1\n")
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()


def submit_many(hive: AgentHive, home: Path, n_tasks: int) -> list[str]:
    """Each writes its name down and is over, as soon as there is the file that lets them go."""
    line = f"while [ ! -e {home}/go ]; do sleep 0.02; done; echo $FLUXHIVE_TASK_ID >> {home}/ran"
    spec = TaskSpec(command=(line,), executor=ExecutorKind.SHELL, name="short")
    body = {"tasks": [spec] * n_tasks}
    page = hive.transport().call("POST", "/api/v1/tasks/batch", TaskPage, body=body)
    return [task.id for task in page.items]


def make_row(hive: AgentHive, home: Path) -> list[str]:
    """Tasks of a kind that is known to be short: the first runs and does not end, others wait."""
    for _ in range(TRIES):
        (home / "go").touch()
        for task in submit_many(hive, home, RUNS_REMEMBERED):
            hive.ended(task)
        (home / "go").unlink()
        tasks = submit_many(hive, home, N_TASKS)
        # As soon as they are answered for: nothing of it takes time.
        if "next after" in hive.task(tasks[5]).reason:
            return tasks
        # This machine is so busy that what does nothing takes long.
        (home / "go").touch()
        for task in tasks:
            hive.ended(task)
    raise AssertionError("a task that does nothing was never short")


def check_each_ran_once(hive: AgentHive, home: Path, tasks: list[str]) -> None:
    ends = [hive.ended(task) for task in tasks]
    assert {end.state.value for end in ends} == {"succeeded"}
    counts = Counter((home / "ran").read_text().split())
    assert {task: counts[task] for task in tasks} == dict.fromkeys(tasks, 1)


def test_an_agent_that_is_killed_under_a_row_starts_nothing_twice_and_loses_nothing(
    hive: AgentHive, tmp_path: Path
) -> None:
    tasks = make_row(hive, tmp_path)
    hive.kill_agent()
    (tmp_path / "go").touch()
    hive.start_agent()
    check_each_ran_once(hive, tmp_path, tasks)


def test_a_server_that_is_killed_under_a_row_loses_nothing(hive: AgentHive, tmp_path: Path) -> None:
    tasks = make_row(hive, tmp_path)
    hive.kill_server()
    (tmp_path / "go").touch()
    until(lambda: len((tmp_path / "ran").read_text().split()) > 6, what="the row going on")
    hive.start_server()
    check_each_ran_once(hive, tmp_path, tasks)


def test_one_that_is_cancelled_in_a_row_never_starts(hive: AgentHive, tmp_path: Path) -> None:
    tasks = make_row(hive, tmp_path)
    hive.cancel(tasks[3])
    until(lambda: hive.is_final(tasks[3]), what="the end of what never started")
    (tmp_path / "go").touch()
    assert hive.task(tasks[3]).state.value == "cancelled"
    check_each_ran_once(hive, tmp_path, [*tasks[:3], *tasks[4:]])
    assert tasks[3] not in (tmp_path / "ran").read_text().split()

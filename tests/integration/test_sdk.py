"""The SDK against a real hive: what a program submits, waits for and gets back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib.util
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cloudpickle
import pytest

import fluxhive
from fluxhive import Client, TaskCancelled, TaskFailed, WaitTimeout
from fluxhive.sdk import decorator
from fluxhive.sdk.functions import RemoteTraceback
from tests.helpers.cli_hive import CliHive, until

assert cloudpickle, "named here so that the file is left out where it is missing"


@pytest.fixture(scope="module")
def client(hive: CliHive) -> Iterator[Client]:
    with Client(transport=hive.transport) as client:
        yield client


def test_a_command_runs_and_tells_of_its_end(client: Client) -> None:
    task = client.submit("echo out; echo err >&2", name="both", cpus=1)
    assert task.wait(30).exit_code == 0
    assert (b"".join(task.logs()), b"".join(task.logs("stderr"))) == (b"out\n", b"err\n")
    assert b"".join(task.logs(follow=True)).split() == [b"out", b"err"]
    assert client.task("both") == task
    assert task in list(client.tasks(limit=5))
    assert repr(task).startswith(f"<Task {task.id} both succeeded on ")


def test_a_failure_says_why_and_what_it_printed_last(client: Client) -> None:
    task = client.submit("sh", "-c", "echo no such data >&2; exit 3")
    with pytest.raises(TaskFailed, match="no such data") as caught:
        task.result(30)
    assert (caught.value.exit_code, caught.value.cause) == (3, "failure")
    assert f"fluxhive logs {task.id}" in (caught.value.hint or "")


def test_a_function_gives_its_value_and_its_numbers(client: Client) -> None:
    offset = 40

    def train(n: int, *, lr: float) -> dict[str, object]:
        for step in range(n):
            fluxhive.log(step=step, loss=lr / (step + 1))
        return {"answer": offset + n, "gpus": os.environ["CUDA_VISIBLE_DEVICES"]}

    task = client.submit(train, 2, kwargs={"lr": 0.5}, gpus=1, gpu_mem="2G")
    assert task.result(60) == {"answer": 42, "gpus": "0"}
    assert task.view.spec.command[1].endswith("train")
    assert task.view.spec.command[2:] == ("2", "lr=0.5")
    (loss,) = task.metrics("loss").series
    assert (loss.steps, loss.lasts) == ((0, 1), (0.5, 0.25))


def test_what_a_function_raises_is_raised_here(client: Client) -> None:
    task = client.submit(lambda: {}["missing"])
    with pytest.raises(KeyError, match="missing") as caught:
        task.result(60)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert isinstance(task.exception(), KeyError)


def test_a_map_gives_results_in_order_and_ends_in_any(client: Client) -> None:
    group = client.map(lambda n: n * n, range(5), at_most=3)
    assert group.results(60) == [0, 1, 4, 9, 16]
    assert {task.id for task in fluxhive.as_completed(group)} == {each.id for each in group}
    assert len(list(client.tasks(array=group.id))) == 5


def test_waiting_ends_in_time_and_a_cancelled_task_says_so(client: Client) -> None:
    task = client.submit("sleep 60")
    until(lambda: task.word == "running")
    with pytest.raises(WaitTimeout, match=r"is running after 0\.1 s"):
        task.wait(0.1)
    with pytest.raises(TimeoutError):
        next(fluxhive.as_completed([task], timeout=0.1))
    task.cancel()
    with pytest.raises(TaskCancelled):
        task.result(30)


def test_a_cancelled_map_ends_for_all_who_wait(client: Client) -> None:
    group = client.map(time.sleep, [60] * 6, at_most=1)
    until(lambda: group[0].word == "running")
    threading.Timer(0.5, group.cancel).start()  # once they are waited for
    assert {task.view.state.value for task in fluxhive.as_completed(group, timeout=30)} == {
        "cancelled"
    }


def test_a_large_result_comes_back_byte_for_byte(client: Client) -> None:
    data = client.submit(lambda: bytes(range(256)) * 40_000).result(60)
    assert data == bytes(range(256)) * 40_000


def test_a_decorated_function_runs_here_and_there(client: Client) -> None:
    @fluxhive.task(client=client, name="square", cpus=1)
    def square(n: int) -> int:
        return n * n

    assert square(3) == 9
    task = square.options(name="other").submit(4)
    assert (task.result(60), task.name) == (16, "other")
    assert square.map([1, 2]).results(60) == [1, 4]


def test_an_executor_has_real_futures(client: Client) -> None:
    with fluxhive.Executor(client) as executor:
        good, bad = executor.submit(pow, 2, 5), executor.submit(divmod, 1, 0)
        done, left = concurrent.futures.wait([good, bad], timeout=60)
        assert (len(done), len(left), good.result()) == (2, 0, 32)
        assert isinstance(bad.exception(), ZeroDivisionError)
        assert list(executor.map(pow, [2, 3, 4], [2, 2, 2], chunksize=2, timeout=60)) == [4, 9, 16]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(pow, 1, 1)


def test_a_future_that_waits_can_be_cancelled_and_one_that_runs_cannot(client: Client) -> None:
    executor = fluxhive.Executor(client, gpus=4)
    runs = executor.submit(time.sleep, 60)
    until(runs.running)
    waits = executor.submit(time.sleep, 60)
    assert not runs.cancel()
    assert waits.cancel()
    assert waits.cancelled()
    assert concurrent.futures.wait([waits], timeout=1).done == {waits}
    assert waits.task.view.state.value == "cancelled"
    executor.shutdown(wait=False, cancel_futures=True)
    assert runs.running()
    runs.task.cancel()
    with pytest.raises(TaskCancelled):
        runs.result(30)


def test_all_of_it_can_be_awaited(hive: CliHive) -> None:
    async def told() -> list[object]:
        async with fluxhive.AsyncClient(transport=hive.transport) as client:
            task = await client.submit("echo hello; exit 4")
            with pytest.raises(TaskFailed):
                await task.result(30)
            out = b"".join([piece async for piece in task.logs()])
            group = await client.map(abs, [-1, -2, -3])
            first = await client.submit(max, 3, 7)
            sleeper = await client.submit("sleep 60")
            with pytest.raises(WaitTimeout):
                await sleeper.wait(0.1)
            await sleeper.cancel()
            return [out, await first, await group.results(60)]

    assert asyncio.run(told()) == [b"hello\n", 7, [1, 2, 3]]


def test_waiting_outlives_a_lost_connection_and_the_server(client: Client, hive: CliHive) -> None:
    """Server and agent are killed and come back: the result is known, no number is missing."""

    def count() -> int:
        for step in range(150):
            fluxhive.log(step=step, square=step * step)
            time.sleep(0.02)
        return 150

    executor = fluxhive.Executor(client)
    future = executor.submit(count)
    until(lambda: client.calls.metrics(future.task.id).series)
    for name in ("agent_pid", "server_pid"):
        os.kill(hive.processes[name], signal.SIGKILL)
    hive.ok("up", "--detach", "--port", client.url.rpartition(":")[2])
    assert future.result(60) == 150
    (square,) = until(lambda: (told := future.task.metrics()).complete and told.series)
    assert square.steps == tuple(range(150))
    assert square.lasts == tuple(float(step * step) for step in range(150))
    assert len(future.task.attempts) == 1
    executor.shutdown()


def test_the_guide_runs_as_it_is_written(
    hive: CliHive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each block of docs/sdk.md and README.md, in order, as one program."""
    monkeypatch.setenv("FLOWHIVE_CONTROL_URL", hive.transport.base_url)
    monkeypatch.setenv("FLOWHIVE_TOKEN", str(hive.transport.token))
    monkeypatch.setattr(decorator, "_clients", [])
    monkeypatch.chdir(tmp_path)
    blocks = []
    for page in ("README.md", "docs/sdk.md"):
        text = (Path(__file__).parents[2] / page).read_text()
        blocks += re.findall(r"(<!-- needs: (\w+) -->\n)?```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 7
    names: dict[str, object] = {"__name__": "__main__"}
    for _, needs, block in blocks:
        if not needs or importlib.util.find_spec(needs):
            exec(compile(block, "docs/sdk.md", "exec"), names)
    said = capsys.readouterr().out
    assert "hello from" in said
    assert "failure 3 no such data set" in said
    assert "1024 [1, 2]" in said
    assert "[32, 9]" in said or not importlib.util.find_spec("submitit")

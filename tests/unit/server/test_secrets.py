"""Secrets by REST: kept, listed without what they hold, and given to nobody but the node."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluxhive.protocol.agent import Dispatch, Launch
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio
HELD = "hunter2-very-secret"


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def dispatched(agent: FakeAgent) -> Dispatch:
    await agent.until(lambda: agent.all(Dispatch))
    found: Dispatch = agent.all(Dispatch)[0]
    return found


async def keep(it: RestHive, name: str = "HF_TOKEN", value: str = HELD) -> None:
    answer = await it.admin.put(f"/secrets/{name}", json={"value": value})
    assert answer.status_code == 200, answer.text


async def test_a_secret_is_listed_without_what_it_holds(it: RestHive) -> None:
    await keep(it)
    answer = await it.admin.get("/secrets")
    (shown,) = answer.json()["items"]
    assert (shown["name"], shown["n_bytes"]) == ("HF_TOKEN", len(HELD))
    assert HELD not in answer.text


async def test_setting_it_again_changes_it(it: RestHive) -> None:
    await keep(it)
    await keep(it, value="other")
    (shown,) = (await it.admin.get("/secrets")).json()["items"]
    assert shown["n_bytes"] == 5
    assert shown["changed_at_ms"] >= shown["created_at_ms"]


async def test_secrets_are_ones_own(it: RestHive) -> None:
    await keep(it)
    async with await it.user("bob") as bob:
        assert (await bob.get("/secrets")).json() == {"items": []}
        assert (await bob.delete("/secrets/HF_TOKEN")).status_code == 404
        wanted = {"command": ["true"], "secrets": {"HF_TOKEN": "variable"}}
        answer = await bob.post("/tasks", json=wanted)
        assert answer.status_code == 422
        assert "you have no secret `HF_TOKEN`" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["a-b", "1a", "FLUXHIVE_X", "a.b", "x" * 101, "%2e%2e"])
async def test_a_name_that_is_no_variable_is_refused(it: RestHive, name: str) -> None:
    answer = await it.admin.put(f"/secrets/{name}", json={"value": "x"})
    assert answer.status_code == 422
    assert answer.json()["hint"]


@pytest.mark.parametrize("value", ["", "a\x00b", "x" * 65_537])
async def test_what_no_task_could_be_given_is_refused_and_not_repeated(
    it: RestHive, value: str
) -> None:
    answer = await it.admin.put("/secrets/K", json={"value": value})
    assert answer.status_code == 422
    assert answer.json().get("value", "") == ""


async def test_only_the_node_of_the_attempt_is_given_it(it: RestHive, tmp_path: Path) -> None:
    """In no message, no answer to a person, no log and no journal of ours; in one answer."""
    await keep(it)
    token = await it.node_token()
    async with it.listening() as url:
        agent = FakeAgent(agent_url(url), node=token, answers=False)
        async with agent.connected():
            body = {"command": ["true"], "secrets": {"HF_TOKEN": "file"}}
            answer = await it.admin.post("/tasks", json=body)
            task = answer.json()["id"]
            dispatch = await dispatched(agent)
            assert dispatch.launch is None
            async with it.client(token) as node:
                found = await node.get(f"/agent/launches/{dispatch.attempt_id}")
            shown = await it.admin.get(f"/tasks/{task}")
            async with it.client(await it.node_token("gpu-b")) as other:
                foreign = await other.get(f"/agent/launches/{dispatch.attempt_id}")
    assert found.json()["secrets"] == [{"name": "HF_TOKEN", "form": "file", "value": HELD}]
    assert foreign.status_code == 404
    for said in (answer, shown, foreign):
        assert HELD not in said.text
    assert_only_in_the_database(tmp_path)


def assert_only_in_the_database(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.name.startswith("hive.db"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        elif path.is_file():
            assert HELD.encode() not in path.read_bytes(), path


async def test_a_secret_that_was_removed_fails_the_launch(it: RestHive) -> None:
    await keep(it)
    token = await it.node_token()
    async with it.listening() as url:
        agent = FakeAgent(agent_url(url), node=token, answers=False)
        async with agent.connected():
            body = {"command": ["true"], "secrets": {"HF_TOKEN": "variable"}}
            await it.admin.post("/tasks", json=body)
            dispatch = await dispatched(agent)
            assert (await it.admin.delete("/secrets/HF_TOKEN")).json() == {"items": []}
            async with it.client(token) as node:
                answer = await node.get(f"/agent/launches/{dispatch.attempt_id}")
    assert answer.status_code == 409
    assert "has no secret `HF_TOKEN` any more" in answer.json()["detail"]


def test_a_launch_does_not_show_its_secrets_in_a_trace() -> None:
    from fluxhive.core.task import ExecutorKind, SecretForm
    from fluxhive.protocol.agent import LaunchSecret

    secret = LaunchSecret(name="K", form=SecretForm.FILE, value=HELD)
    launch = Launch(command=("true",), executor=ExecutorKind.EXEC, secrets=(secret,))
    assert HELD not in repr(launch)

"""Blobs at the server: pieces, resumption, hash, quota, whose they are, and when they go."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from fluxhive.core.errors import InputError, QuotaExceeded
from fluxhive.protocol.agent import Dispatch
from fluxhive.server.blobs import KEEP_AT_LEAST_S, KEEP_S, BlobStore, folder_of
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import RestHive, agent_url, rest_hive

DATA = os.urandom(10_000)
SHA = hashlib.sha256(DATA).hexdigest()


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> BlobStore:
    return BlobStore(tmp_path / "blobs", user_bytes_max=25_000, clock=clock)


def put(store: BlobStore, data: bytes = DATA, owner: str = "ada", **parts: Any) -> None:
    sha256 = hashlib.sha256(data).hexdigest()
    view = store.write(owner, sha256, offset=0, size=len(data), data=data, **parts)
    assert view.complete


def test_pieces_make_a_whole_that_is_verified(store: BlobStore) -> None:
    for offset in range(0, len(DATA), 3000):
        view = store.write(
            "ada", SHA, offset=offset, size=len(DATA), data=DATA[offset : offset + 3000]
        )
        assert view.received == min(len(DATA), offset + 3000)
    assert view.complete
    assert store.read("ada", SHA, 5, 10) == DATA[5:15]
    assert store.read("ada", SHA, len(DATA), 10) == b""


def test_another_server_goes_on_where_the_killed_one_was(store: BlobStore, tmp_path: Path) -> None:
    store.write("ada", SHA, offset=0, size=len(DATA), data=DATA[:4000])
    other = BlobStore(tmp_path / "blobs")
    assert other.look("ada", SHA).received == 4000
    view = other.write("ada", SHA, offset=4000, size=len(DATA), data=DATA[4000:])
    assert view.complete
    assert other.read("ada", SHA, 0, len(DATA)) == DATA


def test_a_piece_beyond_is_not_taken_and_one_before_not_written_again(store: BlobStore) -> None:
    store.write("ada", SHA, offset=0, size=len(DATA), data=DATA[:4000])
    assert store.write("ada", SHA, offset=5000, size=len(DATA), data=DATA[5000:]).received == 4000
    overlapping = b"?" * 1000 + DATA[4000:6000]
    assert store.write("ada", SHA, offset=3000, size=len(DATA), data=overlapping).received == 6000
    assert store.write("ada", SHA, offset=6000, size=len(DATA), data=DATA[6000:]).complete


def test_bytes_of_another_hash_are_never_kept(store: BlobStore) -> None:
    with pytest.raises(InputError, match="do not have this hash"):
        store.write("ada", SHA, offset=0, size=len(DATA), data=b"?" + DATA[1:])
    assert store.look("ada", SHA).received == 0
    assert store.size("ada", SHA) is None
    put(store)


@pytest.mark.parametrize("sha256", ["../../hive.db", "", "a" * 63, "A" * 64, "a" * 64 + ".part"])
def test_what_is_no_hash_becomes_no_path(store: BlobStore, sha256: str) -> None:
    for call in (store.look, store.size):
        with pytest.raises(InputError, match="not a SHA-256"):
            call("ada", sha256)


@pytest.mark.parametrize(
    ("offset", "size", "data"), [(0, 0, b"x"), (0, 1 << 40, b"x"), (0, 5, b"123456"), (0, 5, b"")]
)
def test_a_piece_that_fits_nowhere_is_refused(
    store: BlobStore, offset: int, size: int, data: bytes
) -> None:
    with pytest.raises(InputError):
        store.write("ada", SHA, offset=offset, size=size, data=data)


def test_a_blob_is_its_users_alone(store: BlobStore) -> None:
    put(store)
    assert store.size("bob", SHA) is None
    assert store.look("bob", SHA).received == 0


def test_what_no_living_task_needs_goes_a_day_after_its_last_use(
    store: BlobStore, clock: Clock
) -> None:
    put(store)
    clock.now += KEEP_S + 1
    assert store.collect(lambda folder, sha256: (folder, sha256) == (folder_of("ada"), SHA)) == 0
    assert store.size("ada", SHA) == len(DATA)  # which uses it
    clock.now += KEEP_S - 1
    assert store.collect(lambda folder, sha256: False) == 0
    clock.now += 2
    assert store.collect(lambda folder, sha256: False) == 1
    assert store.size("ada", SHA) is None


def test_an_upload_that_nobody_goes_on_with_goes_too(
    store: BlobStore, clock: Clock, tmp_path: Path
) -> None:
    store.write("ada", SHA, offset=0, size=len(DATA), data=DATA[:10])
    (part,) = (tmp_path / "blobs").rglob("*.part")
    os.utime(part, (clock.now, clock.now))
    assert store.collect(lambda folder, sha256: False) == 0
    clock.now += KEEP_S + 1
    assert store.collect(lambda folder, sha256: False) == 1
    assert not part.exists()


def test_a_quota_takes_the_longest_unused_and_never_what_is_needed(
    store: BlobStore, clock: Clock
) -> None:
    blobs = [os.urandom(10_000) for _ in range(4)]
    names = [hashlib.sha256(blob).hexdigest() for blob in blobs]
    for blob in blobs[:2]:
        put(store, blob)
        clock.now += KEEP_AT_LEAST_S + 1
    put(store, blobs[2], is_needed=lambda sha256: sha256 == names[0])
    assert [store.size("ada", name) for name in names[:3]] == [10_000, None, 10_000]
    with pytest.raises(QuotaExceeded, match="a user may have"):
        put(store, blobs[3], is_needed=lambda sha256: sha256 == names[0])
    put(store, blobs[3], owner="bob")


# ── by REST ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


CODE = {"sha256": SHA, "n_bytes": len(DATA), "n_files": 1}


async def upload(client: httpx.AsyncClient) -> None:
    answer = await client.put(f"/blobs/{SHA}?size={len(DATA)}", content=DATA)
    assert answer.json()["complete"], answer.text


@pytest.mark.anyio
async def test_two_uploads_of_one_blob_at_once_make_one(it: RestHive) -> None:
    async def send() -> None:
        for offset in range(0, len(DATA), 700):
            await it.admin.put(
                f"/blobs/{SHA}?size={len(DATA)}&offset={offset}",
                content=DATA[offset : offset + 700],
            )

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(send)
    assert (await it.admin.get(f"/blobs/{SHA}")).json() == {
        "sha256": SHA,
        "received": len(DATA),
        "complete": True,
    }


@pytest.mark.anyio
async def test_code_that_was_not_uploaded_is_refused_at_submit(it: RestHive) -> None:
    task = {"command": ["true"], "code": CODE}
    answer = await it.admin.post("/tasks", json=task)
    assert answer.status_code == 422
    assert "was not uploaded" in answer.json()["detail"]
    await upload(it.admin)
    wrong = {**task, "code": {**CODE, "n_bytes": 5}}
    assert (await it.admin.post("/tasks", json=wrong)).status_code == 422
    assert (await it.admin.post("/tasks", json=task)).status_code == 201
    async with await it.user("bob") as bob:
        # Knowing the hash of another's code opens nothing.
        assert (await bob.post("/tasks", json=task)).status_code == 422
        assert (await bob.get(f"/blobs/{SHA}")).json()["received"] == 0


@pytest.mark.anyio
async def test_only_the_node_of_the_attempt_reads_the_code(it: RestHive) -> None:
    await upload(it.admin)
    token, other = await it.node_token(), await it.node_token("gpu-b")
    async with it.listening() as url:
        agent = FakeAgent(agent_url(url), node=token, answers=False)
        async with agent.connected():
            await it.admin.post("/tasks", json={"command": ["true"], "code": CODE})
            await agent.until(lambda: agent.all(Dispatch))
            (dispatch,) = agent.all(Dispatch)
            path = f"/agent/code/{dispatch.attempt_id}"
            async with it.client(token) as node, it.client(other) as foreign:
                whole = (await node.get(path)).content
                piece = (await node.get(f"{path}?offset=9990&limit=100")).content
                refused = await foreign.get(path)
                too_much = await node.get(f"{path}?limit={1 << 30}")
            by_person = await it.admin.get(path)
    assert dispatch.launch.code.sha256 == SHA
    assert (whole, piece) == (DATA, DATA[9990:])
    assert (refused.status_code, too_much.status_code, by_person.status_code) == (404, 422, 403)


@pytest.mark.anyio
async def test_what_a_living_task_needs_is_not_collected(it: RestHive, tmp_path: Path) -> None:
    await upload(it.admin)
    task = (await it.admin.post("/tasks", json={"command": ["true"], "code": CODE})).json()
    (path,) = (tmp_path / "blobs").rglob(SHA)
    os.utime(path, (0, 0))
    await it.services.code.collect()
    assert path.exists()
    await it.admin.post(f"/tasks/{task['id']}/cancel")
    await it.services.code.collect()
    assert not path.exists()

"""The files of a task's code as people see them; no name and no archive leads elsewhere."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fluxhive.protocol.rest import TokenScope
from fluxhive.sdk.snapshot import look, pack
from fluxhive.server.code_files import TEXT_BYTES_MAX
from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio

LONG = "/".join(["a-rather-long-directory-name"] * 6) + "/x.txt"
#: Its last character lies across the end of what is shown.
CUT = "a" * (TEXT_BYTES_MAX - 1) + "é" + "b"
FILES: dict[str, bytes] = {
    "train.py": b"print('hello')\n",
    "conf/base.yaml": "rate: 1e-4  # größer\n".encode(),
    "logo.bin": bytes(range(256)),
    "latin.txt": b"caf\xe9",
    "long.txt": CUT.encode(),
    "empty": b"",
    LONG: b"deep",
}


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


def packed(tree: Path) -> tuple[bytes, int]:
    """The archive that `fluxhive submit --code` makes of these files."""
    for name, data in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    archive = pack(look(str(tree)))
    with archive.file as file:
        return file.read(), archive.code.n_files


def by_hand(*entries: tarfile.TarInfo) -> bytes:
    """An archive of whatever the entries say."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    return file.getvalue()


async def submitted(client: httpx.AsyncClient, data: bytes, n_files: int) -> str:
    """The id of a task with this code."""
    sha256 = hashlib.sha256(data).hexdigest()
    answer = await client.put(f"/blobs/{sha256}", params={"size": len(data)}, content=data)
    assert answer.json()["complete"], answer.text
    code = {"sha256": sha256, "n_bytes": len(data), "n_files": n_files}
    answer = await client.post("/tasks", json={"command": ["true"], "code": code})
    assert answer.status_code == 201, answer.text
    task_id: str = answer.json()["id"]
    return task_id


async def shown(client: httpx.AsyncClient, task_id: str, name: str) -> Any:
    """A file as the page gets it."""
    return (await client.get(f"/tasks/{task_id}/code/file", params={"name": name})).json()


async def test_files_are_listed_by_name_and_their_text_is_what_was_submitted(
    it: RestHive, tmp_path: Path
) -> None:
    task_id = await submitted(it.admin, *packed(tmp_path / "tree"))
    listed = (await it.admin.get(f"/tasks/{task_id}/code")).json()
    assert {each["name"]: each["n_bytes"] for each in listed["files"]} == {
        name: len(data) for name, data in FILES.items()
    }
    assert [each["name"] for each in listed["files"]] == sorted(FILES)
    for name in ("train.py", "conf/base.yaml", "empty", LONG):
        file = await shown(it.admin, task_id, name)
        assert (file["text"], file.get("is_cut", False)) == (FILES[name].decode(), False)
    assert (await shown(it.admin, task_id, "logo.bin")).get("text") is None
    assert (await shown(it.admin, task_id, "latin.txt")).get("text") is None
    cut = await shown(it.admin, task_id, "long.txt")
    assert (cut["text"], cut["is_cut"]) == ("a" * (TEXT_BYTES_MAX - 1), True)


async def test_a_long_listing_comes_in_pages_and_by_a_part_of_names(
    it: RestHive, tmp_path: Path
) -> None:
    task_id = await submitted(it.admin, *packed(tmp_path / "tree"))
    path, names, offset = f"/tasks/{task_id}/code", [], 0
    while offset is not None:
        page = (await it.admin.get(path, params={"limit": 3, "offset": offset})).json()
        names += [each["name"] for each in page["files"]]
        offset = page.get("next")
    assert names == sorted(FILES)
    found = (await it.admin.get(path, params={"text": ".txt"})).json()
    assert found["total"] == 3


@pytest.mark.parametrize(
    "name", ["../../hive.db", "/etc/passwd", "conf", "conf/../train.py", "", "train.py/"]
)
async def test_a_name_is_one_of_the_archive_or_nothing(
    it: RestHive, tmp_path: Path, name: str
) -> None:
    task_id = await submitted(it.admin, *packed(tmp_path / "tree"))
    assert (await shown(it.admin, task_id, name))["status"] == 404


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 1, link: str = "") -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


@pytest.mark.parametrize(
    ("archive", "why"),
    [
        (by_hand(entry("../../outside")), "not a plain path"),
        (by_hand(entry("/etc/passwd")), "absolute"),
        (by_hand(entry("link", tarfile.SYMTYPE, 0, "/etc/passwd")), "a symbolic link"),
        (by_hand(entry("a"), entry("b")), "more than the 1 files"),
        (b"no archive at all, but long enough" * 40, "no plain tar archive"),
    ],
)
async def test_what_a_node_would_refuse_is_not_shown(
    it: RestHive, archive: bytes, why: str
) -> None:
    task_id = await submitted(it.admin, archive, n_files=1)
    answer = await it.admin.get(f"/tasks/{task_id}/code")
    assert (answer.status_code, why in answer.json()["detail"]) == (409, True), answer.text
    assert (await shown(it.admin, task_id, "link"))["status"] == 409


async def test_code_is_shown_to_its_owner_and_to_administrators(
    it: RestHive, tmp_path: Path
) -> None:
    alice, bob = await it.user("alice"), await it.user("bob")
    task_id = await submitted(alice, *packed(tmp_path / "tree"))
    read = it.client(await it.token("alice", scope=TokenScope.READ))
    for client, status in ((alice, 200), (it.admin, 200), (bob, 403), (read, 403)):
        assert (await client.get(f"/tasks/{task_id}/code")).status_code == status
        file = await client.get(f"/tasks/{task_id}/code/file", params={"name": "train.py"})
        assert file.status_code == status


async def test_what_is_not_there_says_why(it: RestHive, tmp_path: Path) -> None:
    answer = await it.admin.post("/tasks", json={"command": ["true"]})
    without = await it.admin.get(f"/tasks/{answer.json()['id']}/code")
    assert (without.status_code, "no code of its own" in without.text) == (404, True)
    task_id = await submitted(it.admin, *packed(tmp_path / "tree"))
    for path in (it.directory / "blobs").glob("*/*"):
        path.unlink()
    gone = await it.admin.get(f"/tasks/{task_id}/code")
    assert (gone.status_code, "not kept any more" in gone.text) == (404, True)

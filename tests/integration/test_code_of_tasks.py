"""Tasks that run the code as it was at submit: by the command line, through kills on both sides."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.code import CodeSnapshot
from fluxhive.sdk.snapshot import look, pack
from fluxhive.sdk.upload import upload
from fluxhive.transport import Transport
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import CliHive, until


@pytest.fixture
def project(hive: CliHive) -> Path:
    """A project with something to ignore."""
    path = hive.home / f"project{len(list(hive.home.glob('project*')))}"
    (path / "src").mkdir(parents=True)
    (path / "src" / "train.py").write_text("print('first version')\n")
    (path / "run.sh").write_text("#!/bin/sh\npython3 src/train.py; ls; pwd\n")
    (path / "run.sh").chmod(0o755)
    (path / ".gitignore").write_text("data/\n")
    (path / "data").mkdir()
    (path / "data" / "big").write_bytes(b"x" * 100_000)
    return path


def submit(hive: CliHive, project: Path, *words: str) -> str:
    return hive.submit("--code", str(project), *words)


def test_a_task_runs_in_a_fresh_copy_of_its_code(hive: CliHive, project: Path) -> None:
    done = hive.run("submit", "-f", "--code", project.name, "--", "./run.sh; echo in $PWD")
    assert done.returncode == 0
    assert "first version" in done.stdout
    assert "data" not in done.stdout.split()
    assert f"in {hive.state}" in done.stdout
    assert "code: " in done.stderr
    assert "3 files" in done.stderr


def test_what_is_queued_runs_the_code_as_it_was(hive: CliHive, project: Path) -> None:
    """Also after the author has changed and deleted it, and when it is tried again."""
    blocker = hive.submit("--gpus", "4", "--", "sleep 60")
    hive.when(blocker, "running")
    line = "python3 src/train.py; echo spoiled > src/train.py; exit 1"
    task = submit(hive, project, "--gpus", "4", "--retry", "1", "--", line)
    (project / "src" / "train.py").write_text("print('second version')\n")
    for path in sorted(project.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    hive.ok("cancel", blocker)
    hive.when(task, "failed", limit_s=60)
    assert len(hive.task(task)["attempts"]) == 2
    assert hive.ok("logs", task).count("first version") == 2
    assert "second version" not in hive.ok("logs", task)


def test_copies_are_apart_and_go_with_their_attempts(hive: CliHive, project: Path) -> None:
    line = "echo $$ > src/mine; sleep 1; ls src; cat src/mine | wc -l"
    tasks = [submit(hive, project, "--", line) for _ in range(3)]
    for task in tasks:
        assert hive.run("wait", task).returncode == 0
        assert hive.ok("logs", task).split() == ["mine", "train.py", "1"]
    until(lambda: not list(hive.state.glob("agent/*/runs/*")), what="the end of all copies")


def test_it_is_uploaded_once(hive: CliHive, project: Path) -> None:
    submit(hive, project, "--", "true")
    (blob,) = [
        path
        for path in hive.state.glob("server/blobs/*/*")
        if b"first version" in path.read_bytes()
    ]
    before = blob.stat().st_ino
    submit(hive, project, "--", "true")
    assert blob.stat().st_ino == before
    assert not list(hive.state.glob("server/blobs/*/*.part"))


def test_a_directory_of_the_code_is_the_working_directory(hive: CliHive, project: Path) -> None:
    flags = ("submit", "-f", "--code", str(project), "--workdir", "src")
    out = hive.ok(*flags, "--python", "/usr/bin/python3", "--", "train.py")
    assert "first version" in out
    task = submit(hive, project, "--workdir", "nowhere", "--", "true")
    outcome = hive.when(task, "failed")["outcome"]
    assert outcome["kind"] == "launch-failed"
    assert "there is no directory `nowhere` in its code" in outcome["detail"]
    done = hive.run("submit", "--code", str(project), "--workdir", "../x", "--", "true")
    assert done.returncode == 2


def test_a_task_shows_what_code_it_has(hive: CliHive, project: Path) -> None:
    task = submit(hive, project, "--", "true")
    assert "3 files" in hive.ok("show", task)
    assert hive.task(task)["spec"]["code"]["n_files"] == 3


# ── through kills ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def own(tmp_path: Path) -> Iterator[AgentHive]:
    """A server and an agent that a test may kill."""
    hive = AgentHive(tmp_path)
    hive.start_server()
    yield hive
    hive.close()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Code that takes a while to pass: 24 MiB."""
    path = tmp_path / "large"
    path.mkdir()
    for number in range(6):
        (path / f"part{number}").write_bytes(os.urandom(4 << 20))
    (path / "sum.sh").write_text("cat part* | sha256sum\n")
    return path


def sum_of(folder: Path) -> str:
    parts = sorted(folder.glob("part*"))
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()


def send(hive: AgentHive, folder: Path) -> CodeSnapshot:
    made = pack(look(str(folder)))
    token = (hive.state / "server" / "admin-token").read_text().strip()
    transport = Transport(hive.url, token=token)
    upload(transport, made.file, made.code.sha256, made.code.n_bytes)
    return made.code


def test_a_server_killed_in_mid_upload_gets_the_rest_and_no_more(
    own: AgentHive, large: Path
) -> None:
    own.start_agent()
    done: list[CodeSnapshot] = []
    sender = threading.Thread(target=lambda: done.append(send(own, large)))
    sender.start()
    sizes = []
    for at in (2 << 20, 9 << 20, 17 << 20):
        until(lambda at=at: part_size(own) >= at, what=f"{at} bytes")
        own.kill_server()
        sizes.append(part_size(own))
        own.start_server()
    sender.join(60)
    assert sizes == sorted(sizes)
    assert sizes[0] >= 2 << 20
    task = own.submit("sh sum.sh", code=done[0])
    assert own.ended(task).state.value == "succeeded"
    assert own.log(task).decode().split()[0] == sum_of(large)


def part_size(hive: AgentHive) -> int:
    parts = list(hive.state.glob("server/blobs/*/*.part"))
    return sum(part.stat().st_size for part in parts)


def cached(hive: AgentHive) -> int:
    parts = list(hive.state.glob("agent/*/code/*.part"))
    return sum(part.stat().st_size for part in parts)


def test_a_server_killed_in_mid_download_is_asked_for_the_rest(own: AgentHive, large: Path) -> None:
    code = send(own, large)
    own.start_agent()
    task = own.submit("sh sum.sh", code=code)
    until(lambda: cached(own) >= 1 << 20, what="a part of the code")
    own.kill_server()
    own.start_server()
    assert own.ended(task).state.value == "succeeded"
    assert own.log(task).decode().split()[0] == sum_of(large)
    assert len(own.task(task).attempts) == 1


def test_an_agent_killed_in_mid_download_goes_on_where_it_was(own: AgentHive, large: Path) -> None:
    code = send(own, large)
    own.start_agent()
    task = own.submit("sh sum.sh", code=code)
    until(lambda: cached(own) >= 1 << 20, what="a part of the code")
    own.kill_agent()
    left = cached(own)
    own.start_agent()
    ended = own.ended(task)
    assert ended.state.value == "succeeded"
    assert own.log(task).decode().split()[0] == sum_of(large)
    assert left >= 1 << 20
    # The attempt of which nothing had run was handed back, and another one made.
    assert [each.outcome.kind.value for each in ended.attempts if each.outcome] == [
        "refused",
        "success",
    ]


def test_a_cancel_in_mid_download_does_not_wait_for_it(own: AgentHive, large: Path) -> None:
    code = send(own, large)
    own.start_agent()
    task = own.submit("sh sum.sh", code=code)
    until(lambda: cached(own) >= 1 << 20, what="a part of the code")
    own.cancel(task)
    assert own.ended(task).state.value == "cancelled"


def test_damaged_code_on_the_server_is_never_run(own: AgentHive, large: Path) -> None:
    code = send(own, large)
    (blob,) = own.state.glob(f"server/blobs/*/{code.sha256}")
    with blob.open("r+b") as file:
        file.seek(5000)
        file.write(b"damaged")
    own.start_agent()
    task = own.submit("sh sum.sh", code=code)
    first = until(lambda: [a for a in own.task(task).attempts if a.outcome], what="an end")[0]
    assert first.outcome.kind.value == "refused"
    assert "does not have its hash" in first.outcome.detail
    assert own.log(task) == b""
    own.cancel(task)


def test_an_archive_that_is_an_attack_fails_the_task(own: AgentHive, tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        link = tarfile.TarInfo("d")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        tar.addfile(link)
        inside = tarfile.TarInfo("d/owned")
        inside.size = 1
        tar.addfile(inside, io.BytesIO(b"x"))
    sha256 = hashlib.sha256(file.getvalue()).hexdigest()
    upload(own.transport(), file, sha256, len(file.getvalue()))
    own.start_agent()
    code = CodeSnapshot(sha256=sha256, n_bytes=len(file.getvalue()), n_files=2)
    task = own.submit("true", code=code)
    ended = own.ended(task)
    assert ended.outcome is not None
    assert ended.outcome.kind.value == "launch-failed"
    assert "entry `d` is refused: it is a symbolic link" in ended.outcome.detail
    assert not (tmp_path / "owned").exists()

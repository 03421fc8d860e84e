"""Code on a node: fetched once, resumed, verified, bounded, and never taken from under anybody."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from fluxhive.agent import code_cache
from fluxhive.agent.code_cache import PIECE_BYTES, CodeCache, NotWanted
from fluxhive.core.code import CodeSnapshot
from fluxhive.core.errors import InternalError, RemoteError, Unreachable
from fluxhive.core.values import AttemptId
from fluxhive.sdk.snapshot import look, pack

ATTEMPT = AttemptId("t-1.1")


class Server:
    """The archives there are; fails when told to."""

    def __init__(self) -> None:
        self.archives: dict[AttemptId, bytes] = {}
        self.asked: list[tuple[int, int]] = []
        self.failures: list[Exception] = []

    def add(self, folder: Path, attempt: AttemptId = ATTEMPT, size: int = 10) -> CodeSnapshot:
        """Code of one file of this size."""
        folder.mkdir()
        (folder / "a.py").write_bytes(os.urandom(size))
        made = pack(look(str(folder)))
        self.archives[attempt] = made.file.read()
        return made.code

    def fetch(self, attempt: AttemptId, offset: int, limit: int) -> bytes:
        self.asked.append((offset, limit))
        if self.failures:
            raise self.failures.pop(0)
        return self.archives[attempt][offset : offset + limit]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def cache(tmp_path: Path, server: Server) -> CodeCache:
    return CodeCache(str(tmp_path / "cache"), server.fetch, sleep=lambda s: None)


def kept(tmp_path: Path) -> set[str]:
    return set(os.listdir(tmp_path / "cache"))


def test_it_is_fetched_once_and_each_attempt_has_its_own_copy(
    cache: CodeCache, server: Server, tmp_path: Path
) -> None:
    code = server.add(tmp_path / "tree")
    for number in (1, 2):
        cache.copy(code, ATTEMPT, str(tmp_path / f"copy{number}"))
    assert len(server.asked) == 1
    (tmp_path / "copy1" / "a.py").write_text("changed by the task")
    cache.copy(code, ATTEMPT, str(tmp_path / "copy3"))
    original = (tmp_path / "tree" / "a.py").read_bytes()
    for number in (2, 3):
        assert (tmp_path / f"copy{number}" / "a.py").read_bytes() == original


def test_a_broken_fetch_goes_on_where_it_was(
    cache: CodeCache, server: Server, tmp_path: Path
) -> None:
    code = server.add(tmp_path / "tree", size=3 * PIECE_BYTES)
    server.failures = [Unreachable("gone"), RemoteError("broke off")]
    cache.copy(code, ATTEMPT, str(tmp_path / "copy"))
    offsets = [offset for offset, _ in server.asked]
    assert offsets == [0, 0, 0, PIECE_BYTES, 2 * PIECE_BYTES, 3 * PIECE_BYTES]


def test_another_agent_goes_on_where_the_killed_one_was(server: Server, tmp_path: Path) -> None:
    code = server.add(tmp_path / "tree", size=3 * PIECE_BYTES)

    class Killed(BaseException):
        pass

    def fetch(attempt: AttemptId, offset: int, limit: int) -> bytes:
        if offset >= 2 * PIECE_BYTES:
            raise Killed
        return server.fetch(attempt, offset, limit)

    with pytest.raises(Killed):
        CodeCache(str(tmp_path / "cache"), fetch).copy(code, ATTEMPT, str(tmp_path / "first"))
    server.asked.clear()
    CodeCache(str(tmp_path / "cache"), server.fetch).copy(code, ATTEMPT, str(tmp_path / "copy"))
    assert server.asked[0][0] == 2 * PIECE_BYTES
    copied = (tmp_path / "copy" / "a.py").read_bytes()
    assert copied == (tmp_path / "tree" / "a.py").read_bytes()


def test_what_does_not_have_its_hash_is_never_unpacked_nor_kept(
    cache: CodeCache, server: Server, tmp_path: Path
) -> None:
    code = server.add(tmp_path / "tree")
    good = server.archives[ATTEMPT]
    server.archives[ATTEMPT] = good[:520] + b"!" + good[521:]
    with pytest.raises(RemoteError, match="does not have its hash"):
        cache.copy(code, ATTEMPT, str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()
    assert kept(tmp_path) == set()
    server.archives[ATTEMPT] = good
    cache.copy(code, ATTEMPT, str(tmp_path / "copy"))


def test_a_server_that_stays_away_is_given_up(server: Server, tmp_path: Path) -> None:
    code = server.add(tmp_path / "tree")
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        server.failures = [Unreachable("gone")]

    cache = CodeCache(str(tmp_path / "cache"), server.fetch, sleep=sleep, clock=lambda: now[0])
    server.failures = [Unreachable("gone")]
    with pytest.raises(Unreachable):
        cache.copy(code, ATTEMPT, str(tmp_path / "copy"))
    assert now[0] > code_cache.STALLED_S


def test_a_server_that_has_less_than_was_said_is_not_asked_for_ever(
    cache: CodeCache, server: Server, tmp_path: Path
) -> None:
    code = server.add(tmp_path / "tree")
    server.archives[ATTEMPT] = server.archives[ATTEMPT][:600]
    with pytest.raises(RemoteError, match="less of the code"):
        cache.copy(code, ATTEMPT, str(tmp_path / "copy"))


def test_an_attempt_that_is_stopped_waits_for_no_more(
    cache: CodeCache, server: Server, tmp_path: Path
) -> None:
    code = server.add(tmp_path / "tree", size=3 * PIECE_BYTES)
    with pytest.raises(NotWanted):
        cache.copy(code, ATTEMPT, str(tmp_path / "copy"), lambda: len(server.asked) < 2)
    assert len(server.asked) == 2


def test_the_longest_unused_goes_when_there_is_too_much(server: Server, tmp_path: Path) -> None:
    names = [AttemptId(f"t-{number}.1") for number in range(3)]
    codes = [
        server.add(tmp_path / f"tree{number}", name, size=100_000)
        for number, name in enumerate(names)
    ]
    bound = sum(code.n_bytes for code in codes[:2])
    cache = CodeCache(str(tmp_path / "cache"), server.fetch, bytes_max=bound)
    for number in (0, 1, 0, 2):
        cache.copy(codes[number], names[number], str(tmp_path / f"c{number}-{len(server.asked)}"))
        for at, path in enumerate(sorted((tmp_path / "cache").iterdir(), key=os.path.getmtime)):
            os.utime(path, (1000 + at, 1000 + at))
    assert kept(tmp_path) == {codes[0].sha256, codes[2].sha256}


def test_one_that_is_being_unpacked_stays(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = server.add(tmp_path / "tree1", AttemptId("t-1.1"), size=100_000)
    second = server.add(tmp_path / "tree2", AttemptId("t-2.1"), size=100_000)
    cache = CodeCache(str(tmp_path / "cache"), server.fetch, bytes_max=1)
    real = code_cache.unpack
    seen: list[set[str]] = []

    def slowly(archive: object, target: str, code: CodeSnapshot) -> None:
        if code == first:
            other = CodeCache.copy
            other(cache, second, AttemptId("t-2.1"), str(tmp_path / "copy2"))
            seen.append(kept(tmp_path))
        real(archive, target, code)  # type: ignore[arg-type]

    monkeypatch.setattr(code_cache, "unpack", slowly)
    cache.copy(first, AttemptId("t-1.1"), str(tmp_path / "copy1"))
    assert seen == [{first.sha256}]
    assert kept(tmp_path) == set()


def test_attempts_that_start_together_fetch_it_once(server: Server, tmp_path: Path) -> None:
    code = server.add(tmp_path / "tree", size=2 * PIECE_BYTES)
    cache = CodeCache(str(tmp_path / "cache"), server.fetch)
    threads = [
        threading.Thread(target=cache.copy, args=(code, ATTEMPT, str(tmp_path / f"copy{n}")))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(offset for offset, _ in server.asked) == [0, PIECE_BYTES, 2 * PIECE_BYTES]
    digests = {
        hashlib.sha256((tmp_path / f"copy{n}" / "a.py").read_bytes()).digest() for n in range(8)
    }
    assert len(digests) == 1


def test_a_name_that_is_no_hash_becomes_no_path(cache: CodeCache) -> None:
    code = CodeSnapshot(sha256="../../x", n_bytes=1, n_files=1)
    with pytest.raises(InternalError):
        cache.copy(code, ATTEMPT, "never")

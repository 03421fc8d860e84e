"""Archives of code: what ours give, and that no attack of others makes anything outside."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from fluxhive.agent.unpack import unpack
from fluxhive.core.archive import PAX_BYTES_MAX, BadArchive
from fluxhive.core.code import CodeSnapshot
from fluxhive.sdk.snapshot import look, pack

CODE = CodeSnapshot(sha256="0" * 64, n_bytes=1 << 20, n_files=1)


def archive(*members: tuple[tarfile.TarInfo, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive by hand, of whatever the members say."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=kind) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def member(
    name: str = "a.py", content: bytes = b"x", **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


@pytest.fixture
def attack(tmp_path: Path) -> Callable[..., str]:
    """Unpacks and says why it was refused; sees that nothing was made outside."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("untouched")

    def run(data: bytes, code: CodeSnapshot = CODE) -> str:
        with pytest.raises(BadArchive) as caught:
            unpack(io.BytesIO(data), str(tmp_path / "target"), code)
        assert (tmp_path / "outside" / "secret").read_text() == "untouched"
        assert sorted(os.listdir(tmp_path)) == ["outside", "target"]
        assert os.listdir(tmp_path / "outside") == ["secret"]
        return str(caught.value)

    return run


def test_what_was_packed_comes_out_the_same(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    long = "/".join(["deep" * 10] * 8) + "/" + "n" * 150 + "é"
    files = {"run.sh": b"#!/bin/sh\n", "src/a.py": b"a" * 70_000, "empty": b"", long: b"long"}
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "run.sh").chmod(0o700)
    made = pack(look(str(tree)))
    unpack(made.file, str(tmp_path / "target"), made.code)  # type: ignore[arg-type]
    found = {
        path.relative_to(tmp_path / "target").as_posix(): path.read_bytes()
        for path in (tmp_path / "target").rglob("*")
        if path.is_file()
    }
    assert found == files
    assert os.access(tmp_path / "target/run.sh", os.X_OK)
    assert not os.access(tmp_path / "target/src/a.py", os.X_OK)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside/secret", "a/../../outside/secret", "a/./b", "a\\b", "x\ny"]
)
def test_a_name_that_leads_elsewhere_is_refused(attack: Callable[..., str], name: str) -> None:
    assert "is refused: " in attack(archive(member(name)))


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside/secret", "x" * 5000])
def test_so_is_one_that_a_pax_header_gives(attack: Callable[..., str], name: str) -> None:
    data = archive(member("fine", pax_headers={"path": name}))
    assert "is refused" in attack(data)


def test_a_symbolic_link_is_refused_and_nothing_written_through_it(
    attack: Callable[..., str],
) -> None:
    link = member("d", b"", type=tarfile.SYMTYPE, linkname="../outside")
    said = attack(archive(link, member("d/secret", b"changed")))
    assert said == "entry `d` is refused: it is a symbolic link"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.FIFOTYPE, "a FIFO"),
        (tarfile.DIRTYPE, "a directory entry"),
        (tarfile.CONTTYPE, "a contiguous file"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (b"Z", "of the unknown kind"),
    ],
)
def test_whatever_is_no_regular_file_is_refused(
    attack: Callable[..., str], kind: bytes, words: str
) -> None:
    info, _ = member("a", b"", type=kind, linkname="../outside/secret")
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    assert words in attack(bytes(header) + b"\0" * 1024)


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777])
def test_a_file_with_special_bits_is_refused(attack: Callable[..., str], mode: int) -> None:
    assert "setuid" in attack(archive(member(mode=mode)))


def test_more_files_than_were_said_are_refused(attack: Callable[..., str]) -> None:
    assert "more than the 1 files" in attack(archive(member("a"), member("b")))


def test_fewer_are_too(attack: Callable[..., str]) -> None:
    assert attack(archive(member()), replace(CODE, n_files=2)) == "it holds 1 files instead of 2"


def test_a_bomb_of_zeros_is_refused_before_it_is_written(attack: Callable[..., str]) -> None:
    """A header may say anything; what was said before it counts."""
    info, _ = member("big", b"")
    info.size = 1 << 32
    said = attack(info.tobuf(tarfile.USTAR_FORMAT) + b"\0" * 4096)
    assert "more than the 1048576 bytes" in said


def test_a_sparse_file_of_pax_is_refused(attack: Callable[..., str]) -> None:
    """GNU's sparse files in pax clothes say a real size of terabytes."""
    headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": str(1 << 40)}
    said = attack(archive(member("a", b"x", pax_headers=headers)))
    assert "gives anything but a name" in said


@pytest.mark.parametrize(
    "headers", [{"linkpath": "../outside"}, {"size": "99999999999"}, {"path": "a", "uid": "0"}]
)
def test_a_pax_header_of_anything_else_is_refused(
    attack: Callable[..., str], headers: dict[str, str]
) -> None:
    assert "gives anything but a name" in attack(archive(member("fine", pax_headers=headers)))


def test_a_pax_header_that_would_fill_the_memory_is_refused(attack: Callable[..., str]) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, PAX_BYTES_MAX + 1
    assert "a pax header of" in attack(info.tobuf(tarfile.USTAR_FORMAT))


def test_two_pax_headers_in_a_row_are_refused(attack: Callable[..., str]) -> None:
    one = archive(member("é", b"", pax_headers={"path": "a"}))[:1024]
    assert "unknown kind `x`" in attack(one + one)


def test_a_global_header_is_refused(attack: Callable[..., str]) -> None:
    file = io.BytesIO()
    with tarfile.open(
        fileobj=file, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "../outside/x"}
    ) as tar:
        tar.addfile(tarfile.TarInfo("a"), io.BytesIO())
    assert "a global header" in attack(file.getvalue())


def test_gnu_tars_way_is_refused(attack: Callable[..., str]) -> None:
    data = archive(member("x" * 150), kind=tarfile.GNU_FORMAT)
    assert "no plain tar archive of ours" in attack(data)


def test_what_is_compressed_is_refused_unread(attack: Callable[..., str]) -> None:
    """So no ratio is to be feared: a gzip bomb is no archive at all."""
    bomb = gzip.compress(archive(member("a", b"\0" * (1 << 20))))
    assert len(bomb) < 5000
    assert "no plain tar archive of ours" in attack(bomb)


def test_a_file_that_comes_twice_is_refused(attack: Callable[..., str]) -> None:
    data = archive(member("a", b"1"), member("a", b"2"))
    assert "it comes twice" in attack(data, replace(CODE, n_files=2))


def test_a_file_below_a_file_is_refused(attack: Callable[..., str]) -> None:
    data = archive(member("a", b"1"), member("a/b", b"2"))
    assert "it lies below a file" in attack(data, replace(CODE, n_files=2))


def test_a_file_in_place_of_a_directory_is_refused(attack: Callable[..., str]) -> None:
    data = archive(member("a/b", b"1"), member("a", b"2"))
    assert "it comes twice" in attack(data, replace(CODE, n_files=2))


def test_files_that_are_too_much_together_are_refused(attack: Callable[..., str]) -> None:
    code = CodeSnapshot(sha256="0" * 64, n_bytes=1_000, n_files=2)
    said = attack(archive(member("a", b"x" * 600), member("b", b"x" * 600)), code)
    assert said.startswith("entry `b` is refused")
    assert "more than the 1000 bytes" in said


@pytest.mark.parametrize("n_bytes", [0, 100, 512, 600, 1023])
def test_one_that_was_cut_is_refused(attack: Callable[..., str], n_bytes: int) -> None:
    assert "it ends" in attack(archive(member("a", b"x" * 300))[:n_bytes])


@pytest.mark.parametrize("at", [0, 100, 124, 148, 156])
def test_one_with_a_damaged_header_is_refused(attack: Callable[..., str], at: int) -> None:
    data = bytearray(archive(member()))
    data[at] ^= 1
    assert attack(bytes(data)) in (
        "a header of it is damaged",
        "a header's mode is no octal number",
        "a header's size is no octal number",
        "a header's checksum is no octal number",
    )


def test_an_existing_directory_is_not_unpacked_into(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        unpack(io.BytesIO(archive(member())), str(tmp_path), CODE)
    assert os.listdir(tmp_path) == []

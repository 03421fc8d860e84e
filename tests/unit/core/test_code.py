"""What may be in an archive of code, and what names one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fluxhive.core.code import (
    CODE_BYTES_MAX,
    CODE_FILES_MAX,
    CodeSnapshot,
    Entry,
    check_code,
    entry_problem,
    name_problem,
)
from fluxhive.core.errors import InputError

CODE = CodeSnapshot(sha256="0" * 64, n_bytes=1000, n_files=2)
FILE = Entry(name="src/train.py", kind="0", mode=0o644, n_bytes=10)


def problem(entry: Entry, *, n_before: int = 0, bytes_before: int = 0) -> str:
    return entry_problem(entry, n_before=n_before, bytes_before=bytes_before, limits=CODE) or ""


def test_a_plain_file_below_the_tree_is_made() -> None:
    assert problem(FILE) == ""
    assert problem(replace(FILE, mode=0o755, n_bytes=0)) == ""


@pytest.mark.parametrize("kind", ["1", "2", "3", "4", "5", "6", "7", "g", "K", "L", "S", "\x7f"])
def test_whatever_is_no_regular_file_is_not(kind: str) -> None:
    assert problem(replace(FILE, kind=kind)).startswith("it is ")


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1755])
def test_special_bits_are_not(mode: int) -> None:
    assert "setuid" in problem(replace(FILE, mode=mode))


@pytest.mark.parametrize(
    "name",
    [
        *("", "/etc/passwd", "../x", "a/../../x", "a/..", "./a", "a//b", "a/", "C:x", "a\\b"),
        *("a\nb", "a\x7f", "\udc80", "/".join("d" * 65), "x" * 256, "x/" * 1024 + "x", "é" * 128),
    ],
)
def test_a_name_that_leads_elsewhere_or_fits_nowhere_is_not(name: str) -> None:
    assert name_problem(name)
    assert problem(replace(FILE, name=name)) == name_problem(name)


@pytest.mark.parametrize("name", ["a", ".env", "..a", "a..", "ä/é.py", "a b/c", "-rf", "x" * 255])
def test_other_names_are_plain(name: str) -> None:
    assert name_problem(name) is None


def test_more_than_was_said_is_not_made() -> None:
    assert "more than the 2 files" in problem(FILE, n_before=2)
    assert "more than the 1000 bytes" in problem(FILE, bytes_before=991)
    assert problem(FILE, bytes_before=990) == ""
    assert problem(replace(FILE, n_bytes=-1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"sha256": "../../etc/passwd"},
        {"sha256": "0" * 63},
        {"sha256": "A" * 64},
        {"n_bytes": 0},
        {"n_bytes": CODE_BYTES_MAX + 1},
        {"n_files": 0},
        {"n_files": CODE_FILES_MAX + 1},
    ],
)
def test_what_names_no_archive_is_refused(wrong: dict[str, object]) -> None:
    check_code(CODE)
    with pytest.raises(InputError) as caught:
        check_code(replace(CODE, **wrong))
    assert caught.value.field == f"code.{next(iter(wrong))}"

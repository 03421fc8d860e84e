"""Snapshots of code: which files, the same bytes each time, and clear words about the rest."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from fluxhive.core.errors import InputError
from fluxhive.sdk import snapshot
from fluxhive.sdk.snapshot import look, pack, show_bytes


@pytest.fixture(autouse=True)
def no_users_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The excludes of whoever runs the tests say nothing."""
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    return path


def put(tree: Path, *names: str, **texts: str) -> None:
    for name in names:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    for name, text in texts.items():
        (tree / {"git": ".gitignore", "ours": ".fluxhiveignore"}[name]).write_text(text)


def taken(tree: Path) -> set[str]:
    return {each.name for each in look(str(tree)).files} - {".gitignore", ".fluxhiveignore"}


def git(tree: Path, *words: str) -> None:
    subprocess.run(["git", "-C", tree, *words], check=True, capture_output=True)


def test_the_same_files_give_the_same_hash_wherever_and_whenever(
    tree: Path, tmp_path: Path
) -> None:
    put(tree, "b.py", "a/c.py", "a/" + "long" * 40 + "é.py")
    first = pack(look(str(tree)))
    other = tmp_path / "elsewhere"
    shutil.copytree(tree, other)
    for path in other.rglob("*"):
        os.utime(path, (time.time() - 9999, 1))
    second = pack(look(str(other)))
    assert first.code == second.code
    assert first.file.read() == second.file.read()
    assert first.code.n_files == 3


@pytest.mark.parametrize("change", ["contents", "name", "mode"])
def test_any_change_gives_another_hash(tree: Path, change: str) -> None:
    put(tree, "a.py")
    before = pack(look(str(tree))).code.sha256
    if change == "contents":
        (tree / "a.py").write_text("other")
    elif change == "name":
        (tree / "a.py").rename(tree / "b.py")
    else:
        (tree / "a.py").chmod(0o755)
    assert pack(look(str(tree))).code.sha256 != before


def test_what_git_ignores_is_left_out_nested_and_with_negation(tree: Path) -> None:
    put(tree, "a.py", "x.log", "keep.log", "data/big", "src/x.log", "src/build/o", "src/deep/y.log")
    put(tree, git="*.log\n!keep.log\n/data/\n")
    (tree / "src" / ".gitignore").write_text("build/\n!deep/*.log\n")
    assert taken(tree) == {"a.py", "keep.log", "src/.gitignore", "src/deep/y.log"}


def test_our_own_ignore_file_goes_before_gits(tree: Path) -> None:
    put(tree, "a.py", "data/small.csv", "data/big.bin", "docs/a.md")
    put(tree, git="data/\n", ours="!data/\ndata/*.bin\ndocs\n")
    assert taken(tree) == {"a.py", "data/small.csv"}


def test_a_file_that_git_tracks_is_taken_all_the_same(tree: Path) -> None:
    put(tree, "a.py", "vendor/lib.so", "vendor/other.so", "secret/key")
    git(tree, "init", "-q")
    git(tree, "add", "-f", "vendor/lib.so", "secret/key")
    put(tree, git="*.so\nsecret/\n", ours="secret/\n")
    assert taken(tree) == {"a.py", "vendor/lib.so"}


def test_of_a_directory_in_a_repository_the_rules_above_hold(tree: Path) -> None:
    put(tree, "sub/a.py", "sub/x.log", "sub/only/here", "sub/only2/here")
    git(tree, "init", "-q")
    put(tree, git="*.log\nsub/only/\n")
    (tree / ".git" / "info" / "exclude").write_text("only2\n")
    assert taken(tree / "sub") == {"a.py"}


def test_git_itself_and_what_works_nowhere_else_is_left_out(tree: Path) -> None:
    put(tree, "a.py", "pkg/__pycache__/a.pyc", ".venv/pyvenv.cfg", ".venv/lib/x.py")
    put(tree, "env/conda-meta/history", "lib/.git/config", "lib/b.py")
    found = look(str(tree))
    assert {each.name for each in found.files} == {"a.py", "lib/b.py"}
    assert dict(found.left_out) == {
        ".venv/": "is an environment of Python, made for this place alone",
        "env/": "is an environment of Python, made for this place alone",
    }


def test_a_link_to_a_file_of_the_tree_is_taken_as_that_file_and_others_are_named(
    tree: Path, tmp_path: Path
) -> None:
    put(tree, "a.py", "sub/b.py")
    (tmp_path / "secret").write_text("not yours")
    (tree / "sub" / "to-a.py").symlink_to("../a.py")
    (tree / "out").symlink_to("../secret")
    (tree / "absolute").symlink_to("/etc/passwd")
    (tree / "folder").symlink_to("sub")
    (tree / "broken").symlink_to("nowhere")
    os.mkfifo(tree / "fifo")
    found = look(str(tree))
    assert {each.name for each in found.files} == {"a.py", "sub/b.py", "sub/to-a.py"}
    left_out = dict(found.left_out)
    assert left_out["out"] == "is a link that leads out of the tree: ../secret"
    assert left_out["absolute"] == "is a link that leads out of the tree: /etc/passwd"
    assert left_out["folder"] == "is a link to a directory"
    assert left_out["broken"] == "cannot be read: No such file or directory"
    assert left_out["fifo"] == "is no regular file"
    data = pack(found).file.read()
    assert b"not yours" not in data
    assert b"root:" not in data


def test_a_name_that_no_archive_may_have_is_named(tree: Path) -> None:
    put(tree, "a.py", "line\nbreak", "back\\slash")
    (tree / os.fsdecode(b"bytes\xff")).write_text("x")
    found = look(str(tree))
    assert [each.name for each in found.files] == ["a.py"]
    assert len(found.left_out) == 3


def test_too_much_is_refused_with_the_largest_files(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "CODE_BYTES_MAX", 50_000)
    put(tree, "a.py")
    (tree / "model.ckpt").write_bytes(b"x" * 60_000)
    (tree / "data.bin").write_bytes(b"x" * 2_000)
    with pytest.raises(InputError) as caught:
        look(str(tree))
    assert (
        "The largest are model.ckpt (60.0 kB), data.bin (2.0 kB), a.py (4 B)" in caught.value.text
    )
    assert ".fluxhiveignore" in (caught.value.hint or "")
    put(tree, ours="*.ckpt\n")
    assert "model.ckpt" not in taken(tree)


def test_a_directory_that_is_none_or_holds_nothing_is_refused(tree: Path) -> None:
    for path in (tree, tree / "none"):
        with pytest.raises(InputError) as caught:
            look(str(path))
        assert caught.value.field == "--code"


def test_a_file_that_vanishes_meanwhile_is_said(tree: Path) -> None:
    put(tree, "a.py")
    found = look(str(tree))
    (tree / "a.py").unlink()
    with pytest.raises(InputError, match=r"cannot read `a\.py`: No such file"):
        pack(found)


@pytest.mark.parametrize(
    ("n_bytes", "text"), [(0, "0 B"), (999, "999 B"), (1300, "1.3 kB"), (1_300_000, "1.3 MB")]
)
def test_sizes_are_for_people(n_bytes: int, text: str) -> None:
    assert show_bytes(n_bytes) == text


NAMES = ["a", "b", "build", "x.py", "y.log", "foo bar", "k[1]", "#h", "!n", "a.b", "doc"]
PARTS = [
    *("a", "b", "build", "*.py", "*.log", "x.*", "*", "?", "**", "foo\\ bar", "foo bar", "**a"),
    *("k\\[1\\]", "[a-c]", "[!a]*", "\\#h", "\\!n", "a*", "*a*", "do?", "[[:alpha:]]", "[^x]*"),
    *("[]a]", "[a-", "k[[]1]", "\\*", "a\\", "d[o-p]c"),
]


def random_line(chance: random.Random) -> str:
    line = "/".join(chance.choice(PARTS) for _ in range(chance.choice([1, 1, 1, 2, 2, 3])))
    line = "/" * (chance.random() < 0.25) + line + "/" * (chance.random() < 0.25)
    line = "!" * (chance.random() < 0.3) + line + "  " * (chance.random() < 0.05)
    return "# " * (chance.random() < 0.05) + line


def random_tree(chance: random.Random, folder: Path, depth: int = 0) -> None:
    for name in chance.sample(NAMES, chance.randint(1, 5)):
        if depth < 3 and chance.random() < 0.5:
            (folder / name).mkdir()
            random_tree(chance, folder / name, depth + 1)
        else:
            (folder / name).write_text("x")
    if depth == 0 or chance.random() < 0.3:
        lines = [random_line(chance) for _ in range(chance.randint(1, 5))]
        (folder / ".gitignore").write_text("\n".join(lines) + "\n")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the judge here")
@pytest.mark.parametrize("seed", range(40))
def test_git_takes_the_same_files(tree: Path, seed: int) -> None:
    """Goal: gitignore(5) to the letter. Method: random trees and patterns, git as the judge."""
    git(tree, "init", "-q")
    random_tree(random.Random(seed), tree)
    words = ["git", "-C", tree, "ls-files", "-z", "--others", "--exclude-standard"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    expected = {name for name in said.split("\0") if name}
    try:
        found = {each.name for each in look(str(tree)).files}
    except InputError:
        found = set()  # all of them are ignored
    assert found == expected

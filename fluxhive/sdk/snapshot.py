"""A snapshot of a directory: which of its files, and their archive with its hash.

Left out are ``.git``, what .gitignore files say (as git does it: nested, with negation, with the
repository's own and the user's excludes; a file that git tracks is taken all the same), and what
.fluxhiveignore files say, which go before those; also virtual environments and compiled Python,
which would not work anywhere else.

A symbolic link to a file within the tree is taken as that file. Any other link is left out and
named, as is what is no regular file: an archive holds nothing but files.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from fluxhive.core.code import (
    CODE_BYTES_MAX,
    CODE_FILES_MAX,
    CodeSnapshot,
    archive_bytes,
    name_problem,
)
from fluxhive.core.errors import InputError

from .ignore import Rules, is_ignored, parse_rules

GIT_IGNORE, OUR_IGNORE = ".gitignore", ".fluxhiveignore"
IGNORE_BYTES_MAX = 1 << 20
GIT_TIMEOUT_S = 20
#: Archives up to here are made in memory.
SPOOL_BYTES = 8 << 20
COPY_BYTES = 1 << 20
LARGEST_NAMED = 5
#: What makes a directory an environment of Python: made for one place on one machine.
_ENVIRONMENT_MARKS = ("pyvenv.cfg", "conda-meta")
_COMPILED = "__pycache__"


class TreeFile(NamedTuple):
    """One file of a tree."""

    #: Below the tree, with `/`.
    name: str
    #: Where it lies: another file when the name is a link to it.
    path: str
    n_bytes: int
    is_executable: bool


class Tree(NamedTuple):
    """What a snapshot would hold."""

    files: tuple[TreeFile, ...]
    #: Name and reason of what was left out though no rule says so.
    left_out: tuple[tuple[str, str], ...]

    @property
    def n_bytes(self) -> int:
        """Of all files together."""
        return sum(each.n_bytes for each in self.files)


class Archive(NamedTuple):
    """An archive, to be read from its beginning; closing the file frees it."""

    file: IO[bytes]
    code: CodeSnapshot


def look(directory: str) -> Tree:
    """The files of a directory that a snapshot takes, sorted. Raises ``InputError``."""
    root = os.path.realpath(directory)
    if not os.path.isdir(root):
        raise InputError(
            f"not a directory: `{directory}`", field="--code", hint="name the one with your code"
        )
    walk = _Walk(root)
    walk.run()
    tree = Tree(tuple(sorted(walk.files.values())), tuple(sorted(walk.left_out.items())))
    _check_size(tree, directory)
    return tree


def pack(tree: Tree) -> Archive:
    """The archive of these files: the same files give the same bytes, wherever and whenever."""
    file = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115  # the caller's
    writer = _Hashing(file)
    try:
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]  # write() is all it needs
            for each in tree.files:
                _add(tar, each)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    code = CodeSnapshot(
        sha256=writer.digest.hexdigest(), n_bytes=writer.n_bytes, n_files=len(tree.files)
    )
    return Archive(file, code)


class _Hashing:
    """Hashes what passes through."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.n_bytes = 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.n_bytes += len(data)
        return self._file.write(data)


def _add(tar: tarfile.TarFile, each: TreeFile) -> None:
    member = tarfile.TarInfo(each.name)
    member.mode = 0o755 if each.is_executable else 0o644
    try:
        with open(each.path, "rb") as source:
            member.size = os.fstat(source.fileno()).st_size
            tar.addfile(member, source)
    except OSError as error:
        # What tarfile says when a file ends early has no errno.
        why = error.strerror or "it changed while it was read"
        raise InputError(
            f"cannot read `{each.name}`: {why}",
            field="--code",
            hint="try again, or leave it out by .fluxhiveignore",
        ) from error


class _Walk:
    """Walks a tree, directory by directory, with the ignore files on the way."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.files: dict[str, TreeFile] = {}
        self.left_out: dict[str, str] = {}
        self._tracked = _tracked_though_ignored(root)

    def run(self) -> None:
        above = _rules_above(self._root)
        self._directory("", [], above)
        for name in self._tracked:
            if name not in self.files:
                self._tracked_file(name)

    def _directory(self, prefix: str, ours: list[Rules], gits: list[Rules]) -> None:
        """``ours`` and ``gits``: rules of this directory's parents, the deepest first."""
        path = os.path.join(self._root, prefix)
        ours = _with(ours, os.path.join(path, OUR_IGNORE), prefix)
        gits = _with(gits, os.path.join(path, GIT_IGNORE), prefix)
        try:
            with os.scandir(path) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.left_out[prefix or "."] = f"cannot be read: {error.strerror}"
            return
        if prefix and {entry.name for entry in found} & {*_ENVIRONMENT_MARKS}:
            self.left_out[prefix] = "is an environment of Python, made for this place alone"
            return
        for entry in found:
            name = prefix + entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if entry.name == ".git" or (is_directory and entry.name == _COMPILED):
                continue
            if is_ignored([*ours, *gits], name, is_directory=is_directory):
                continue
            if is_directory:
                self._directory(f"{name}/", ours, gits)
            else:
                self._entry(name)

    def _tracked_file(self, name: str) -> None:
        """Git tracks it, though a rule of git's says that it is left out."""
        ours: list[Rules] = []
        prefix = ""
        for part in name.split("/"):
            ours = _with(ours, os.path.join(self._root, prefix, OUR_IGNORE), prefix)
            here = prefix + part
            if is_ignored(ours, here, is_directory=here != name):
                return
            prefix = f"{here}/"
        if os.path.lexists(os.path.join(self._root, name)):
            self._entry(name)

    def _entry(self, name: str) -> None:
        problem = name_problem(name)
        if problem is not None:
            self.left_out[name] = problem
            return
        path = os.path.join(self._root, name)
        try:
            is_link = os.path.islink(path)
            target = os.path.realpath(path) if is_link else path
            found = os.stat(path)
        except OSError as error:
            self.left_out[name] = f"cannot be read: {error.strerror}"
            return
        inside = os.path.commonpath([self._root, target]) == self._root
        if is_link and (not inside or f"{os.sep}.git{os.sep}" in target):
            self.left_out[name] = f"is a link that leads out of the tree: {os.readlink(path)}"
        elif not stat.S_ISREG(found.st_mode):
            kind = "a link to a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
            self.left_out[name] = f"is {kind}"
        else:
            is_executable = bool(found.st_mode & stat.S_IXUSR)
            self.files[name] = TreeFile(name, target, found.st_size, is_executable)


def _with(rules: list[Rules], path: str, prefix: str) -> list[Rules]:
    found = _read_rules(path, prefix)
    return rules if found is None else [found, *rules]


def _read_rules(path: str, prefix: str) -> Rules | None:
    try:
        with open(path, "rb") as file:
            text = file.read(IGNORE_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return None  # most directories have none
    return parse_rules(text, prefix)


def _rules_above(root: str) -> list[Rules]:
    """What git says of a tree from outside it: directories above, the repository, the user."""
    found: list[Rules] = []
    top, names = root, [""]
    while not os.path.lexists(os.path.join(top, ".git")):
        parent, name = os.path.split(top)
        if parent == top:
            return []  # in no repository: git says nothing
        top = parent
        names.append(f"{name}/{names[-1]}")
        rules = _read_rules(os.path.join(top, GIT_IGNORE), "")
        if rules is not None:
            found.append(_seen_from(rules, names[-1]))
    for path in _excludes(top):
        rules = _read_rules(path, "")
        if rules is not None:
            found.append(_seen_from(rules, names[-1]))
    return found


class _Above(Rules):
    """Rules of a directory above the tree, which see the tree's paths with that much before."""

    def decide(self, path: str, *, is_directory: bool) -> bool | None:
        below = Rules("", self.patterns)
        return below.decide(self.prefix + path, is_directory=is_directory)


def _seen_from(rules: Rules, prefix: str) -> Rules:
    return _Above(prefix, rules.patterns) if prefix else rules


def _excludes(top: str) -> Iterator[str]:
    path = _git(top, "rev-parse", "--git-path", "info/exclude")
    yield os.path.join(top, path.strip() or ".git/info/exclude")
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    chosen = _git(top, "config", "--path", "core.excludesFile").strip()
    yield chosen or os.path.join(home, "git", "ignore")


def _tracked_though_ignored(root: str) -> list[str]:
    names = _git(root, "ls-files", "-z", "--cached", "--ignored", "--exclude-standard")
    return sorted(name for name in names.split("\0") if name)


def _git(directory: str, *words: str) -> str:
    """What git says; empty where there is no git, or nothing that it knows."""
    try:
        done = subprocess.run(
            ["git", "-C", directory, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else ""


def _check_size(tree: Tree, directory: str) -> None:
    if not tree.files:
        raise InputError(
            f"`{directory}` holds no file to take",
            field="--code",
            hint="are all of them ignored? Name the directory with your code",
        )
    n_bytes = archive_bytes(tree.n_bytes, len(tree.files))
    if len(tree.files) <= CODE_FILES_MAX and n_bytes <= CODE_BYTES_MAX:
        return
    largest = sorted(tree.files, key=lambda each: each.n_bytes, reverse=True)[:LARGEST_NAMED]
    named = ", ".join(f"{each.name} ({show_bytes(each.n_bytes)})" for each in largest)
    raise InputError(
        f"the code in `{directory}` has {len(tree.files)} files and {show_bytes(tree.n_bytes)}; "
        f"at most {CODE_FILES_MAX} files and {show_bytes(CODE_BYTES_MAX)} are taken. "
        f"The largest are {named}",
        field="--code",
        hint="leave data out by lines in .fluxhiveignore, such as `data/` or `*.ckpt`",
    )


def show_bytes(n_bytes: int) -> str:
    """A size for people: `512 B`, `1.3 MB`."""
    if n_bytes < 1000:
        return f"{n_bytes} B"
    for size, unit in ((1e3, "kB"), (1e6, "MB")):
        if n_bytes < size * 1000:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / 1e9:.1f} GB"

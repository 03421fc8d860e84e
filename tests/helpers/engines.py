"""Real docker and real podman for tests, with data of their own and an image made of busybox.

Both want root here, a daemon or a runtime, and the statically linked busybox as the one program of
the image; nothing is pulled. What is missing, or cannot run on this machine, is said in a sentence.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

IMAGE = "busybox:here"
APPLETS = (
    "cat",
    "dd",
    "echo",
    "env",
    "false",
    "head",
    "id",
    "ls",
    "seq",
    "sh",
    "sleep",
    "timeout",
    "true",
)
_START_S = 60.0


class CannotRun(Exception):
    """One sentence: why this engine is not there."""


class Docker:
    """A daemon with a directory, a socket and no network of its own."""

    name = "docker"

    def __init__(self, home: Path) -> None:
        self.env = {"DOCKER_HOST": f"unix://{home}/docker.sock"}
        words = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]
        words += [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"]
        words.append(f"--host={self.env['DOCKER_HOST']}")
        with (home / "daemon.log").open("wb") as log:
            daemon = [_found("dockerd"), *words]
            self._daemon = subprocess.Popen(daemon, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + _START_S
        while self.run("info").returncode:
            if self._daemon.poll() is not None or time.monotonic() > until:
                said = (home / "daemon.log").read_text().splitlines()
                self.close()
                raise CannotRun(f"dockerd does not come up: {said[-1] if said else 'no word'}")
            time.sleep(0.1)
        _make_image(self, home)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Its command line."""
        return _run([_found("docker"), *words], self.env)

    def close(self) -> None:
        """Ends the daemon, and containerd with it."""
        self._daemon.terminate()
        try:
            self._daemon.wait(30)
        except subprocess.TimeoutExpired:
            self._daemon.kill()
            self._daemon.wait()


class Podman:
    """No daemon: a store of its own, by its configuration files."""

    name = "podman"

    def __init__(self, home: Path) -> None:
        _found("runc")
        (home / "containers.conf").write_text(
            # The limits that it would set are above what a test machine may give.
            '[containers]\nnetns = "none"\ndefault_ulimits = ["nofile=1024:1024", '
            '"nproc=1000:1000"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        (home / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{home}/data"\nrunroot = "{home}/run"\n'
        )
        self.env = {
            "CONTAINERS_CONF": f"{home}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{home}/storage.conf",
        }
        done = self.run("info")
        if done.returncode:
            raise CannotRun(f"podman does not run here: {done.stderr.strip()[-300:]}")
        _make_image(self, home)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Its command line."""
        return _run([_found("podman"), *words], self.env)

    def close(self) -> None:
        """Nothing runs but containers, which have been removed."""


ENGINES = {Docker.name: Docker, Podman.name: Podman}


def start_engine(name: str, home: Path) -> Docker | Podman:
    """One that runs containers. Raises ``CannotRun``."""
    if os.geteuid() != 0:
        raise CannotRun("engines are started by root")
    engine = ENGINES[name](home)
    done = engine.run("run", "--rm", IMAGE, "echo", "it runs")
    if done.stdout != "it runs\n":
        engine.close()
        raise CannotRun(f"{name} runs no container here: {done.stderr.strip()[-300:]}")
    return engine


def _make_image(engine: Docker | Podman, home: Path) -> None:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise CannotRun("no busybox is here: apt-get install busybox-static")
    path = home / "image.tar"
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "tmp", "proc", "sys", "dev", "etc", "run"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(made)
        tar.add(busybox, "bin/busybox")
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    done = engine.run("import", str(path), IMAGE)
    if done.returncode:
        raise CannotRun(f"no image can be made: {done.stderr.strip()[-300:]}")


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise CannotRun(f"{program} is not installed")
    return path


def _run(words: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env={**os.environ, **env}, capture_output=True, text=True)

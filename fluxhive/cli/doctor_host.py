"""What `fluxhive doctor` asks of the machine itself: Python, user, disk, limits, clock, GPUs."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from fluxhive import config, env, places
from fluxhive.agent.machine import DISK_FREE_BYTES_MIN
from fluxhive.cli.doctor_finding import Finding, note, ok, problem, warning
from fluxhive.core.errors import FluxhiveError

PYTHON_MIN = (3, 10)
PYTHON_SUPPORTED = (3, 11)
"""Python 3.10 gets no more fixes since October 2026."""
DISK_WARN_BYTES = 5 << 30
FILES_MIN = 4096
"""Two streams, a pidfd and a lock for each of a thousand attempts."""
PROCESSES_MIN = 2048
EARLIEST_S = 1_767_225_600
"""2026-01-01: no clock that is right shows an earlier time to this version."""
NVIDIA_VENDOR = "0x10de"
DISPLAY_CLASS = "0x03"


def look(settings: config.Settings) -> Iterator[Finding]:
    """Everything that needs no other program and no server."""
    yield python(sys.version_info[:2])
    yield user(allow_root=settings.allow_root, task_user=settings.task_user)
    yield from state()
    yield from limits()
    yield clock(time.time())
    yield gpus(env.get(env.FAKE_GPUS))


def python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is one that gets fixes."""
    text = f"Python {'.'.join(map(str, version))} ({sys.executable})"
    if version < PYTHON_MIN:
        return problem("python", f"{text} is too old", "install 3.11 or newer")
    if version < PYTHON_SUPPORTED:
        return warning("python", f"{text} gets no more fixes", "install 3.11 or newer")
    return ok("python", text)


def user(*, allow_root: bool, task_user: str | None = None) -> Finding:
    """As whom tasks would run."""
    import getpass

    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):  # no name in the environment, and no pwd on Windows
        name = str(os.getuid()) if hasattr(os, "getuid") else "who starts the agent"
    if os.name == "posix" and os.getuid() == 0:
        if task_user:
            return note("user", f"the agent is root's, its tasks run as {task_user}")
        if allow_root:
            says = "the agent is root's, and was allowed to run tasks as root"
        else:
            says = "this is root, as whom `fluxhive run` refuses to start tasks"
        return warning("user", says, "start the agent as a plain user, or with --task-user NAME")
    return note("user", f"tasks run as {name}: users of one agent are not kept apart")


def state() -> Iterator[Finding]:
    """Where the agent keeps what it must not forget."""
    root = places.state_root()
    kind = places.file_system_type(root) or "unknown"
    if kind in places.NETWORK_FILE_SYSTEMS:
        yield problem(
            "state",
            f"{root} lies on a network file system ({kind}): locks and SQLite fail there",
            f"let {env.STATE_DIR.name} name a directory of a local disk",
        )
    elif places.moved_off_network():
        yield note("state", f"the home is on the network, state is kept in {root}")
    try:
        places.private_dir(root)
    except FluxhiveError as error:
        yield problem("state", error.text, error.hint or "")
        return
    yield _disk(root, kind)
    yield from _modes(root)


def _disk(root: Path, kind: str) -> Finding:
    if not hasattr(os, "statvfs"):
        return ok("disk", f"{root}: {_size(shutil.disk_usage(root).free)} free")
    found = os.statvfs(root)
    free = found.f_bavail * found.f_frsize
    text = f"{root} ({kind}): {_size(free)} free"
    if found.f_flag & os.ST_RDONLY:
        return problem("disk", f"{root} is read-only", "remount it, or see what the kernel says")
    if free < DISK_FREE_BYTES_MIN:
        return problem(
            "disk", f"{text}: nothing new is started here", "make room, or set FLOWHIVE_STATE_DIR"
        )
    if free < DISK_WARN_BYTES:
        return warning("disk", text, "make room: output of tasks is kept here until it is sent")
    if found.f_favail == 0 and found.f_files:
        return problem("disk", f"{root}: no inode is free", "remove files there")
    return ok("disk", text)


def _modes(root: Path) -> Iterator[Finding]:
    """Files with secrets that others may read. Windows has no such modes: its files inherit the
    rights of the user's directory."""
    if os.name != "posix":
        return
    paths = [places.config_path(), *root.glob("agent/*/node.json")]
    paths += [root / "server" / "admin-token", places.config_path().parent / "tokens.json"]
    for path in paths:
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if mode & 0o077:
            yield problem("secrets", f"{path} may be read by others", f"chmod 600 {path}")


def limits() -> Iterator[Finding]:
    """Open files and processes."""
    if sys.platform == "win32":
        return
    import resource

    for name, number, least, remedy in (
        ("open files", resource.RLIMIT_NOFILE, FILES_MIN, "LimitNOFILE="),
        ("processes", resource.RLIMIT_NPROC, PROCESSES_MIN, "LimitNPROC="),
    ):
        _, hard = resource.getrlimit(number)
        shown = "no limit" if hard == resource.RLIM_INFINITY else str(hard)
        if hard != resource.RLIM_INFINITY and hard < least:
            yield warning(
                "limits",
                f"{name}: at most {shown}; starts fail beyond it",
                f"raise it in limits.conf(5), or by {remedy} in the unit",
            )
        else:
            yield ok("limits", f"{name}: {shown}")


def clock(now_s: float) -> Finding:
    """Whether the clock can be right at all; against the server's, see doctor_server.py."""
    shown = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now_s))
    if now_s < EARLIEST_S:
        return problem(
            "clock", f"it is {shown} UTC here, before this version was made", "set it: chrony, ntpd"
        )
    return ok("clock", f"it is {shown} UTC here")


def gpus(fake: str | None) -> Finding:
    """What the driver says; whether there is a card that it does not see."""
    if fake is not None:
        return warning(
            "gpus",
            f"GPUs are only pretended: {env.FAKE_GPUS.name}={fake}",
            "unset it for real ones",
        )
    from fluxhive.agent.nvml import NvmlSource

    source = NvmlSource()
    source.start()
    found = source.read()
    source.close()
    n_cards = n_nvidia_cards()
    if found.stale:
        return problem(
            "gpus", "the GPU driver does not answer", "see `dmesg`; a reboot is often what helps"
        )
    ailing = [f"GPU {gpu.index}: {gpu.fault}" for gpu in found.gpus if gpu.fault]
    if ailing:
        return problem("gpus", "; ".join(ailing), "see `nvidia-smi -q` and `dmesg` (Xid)")
    if n_cards > len(found.gpus):
        return problem(
            "gpus",
            f"the machine has {n_cards} NVIDIA GPUs and the driver shows {len(found.gpus)}: "
            f"{found.driver}",
            "install the driver with its library (libnvidia-ml.so.1), or reboot after an upgrade",
        )
    if not found.gpus:
        return note("gpus", f"none: {found.driver}; the node takes CPU tasks")
    return ok("gpus", f"{len(found.gpus)}, driver {found.driver}")


def n_nvidia_cards(devices: Path = Path("/sys/bus/pci/devices")) -> int:
    """NVIDIA's display and 3D controllers, by PCI ids: no driver needed."""
    count = 0
    for device in devices.glob("*"):
        try:
            vendor = (device / "vendor").read_text().strip()
            kind = (device / "class").read_text().strip()
        except OSError:
            continue
        count += vendor == NVIDIA_VENDOR and kind.startswith(DISPLAY_CLASS)
    return count


def _size(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):.1f} GiB" if n_bytes >= 1 << 30 else f"{n_bytes >> 20} MiB"

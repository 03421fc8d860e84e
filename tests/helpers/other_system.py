"""``python -m tests.helpers.other_system win32|darwin``: imports ours as another system would.

First everything is imported as it is here, so that the standard library and what we depend on are
loaded. Then ours is forgotten, what the other system lacks is taken away, and ours is imported
anew, module by module. Prints one line for each that cannot be; with words after the system, runs
`fluxhive WORDS` there and ends with its code.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import pathlib
import pkgutil
import select
import shutil
import signal
import socket
import sys
import time
from types import ModuleType
from typing import Any, NamedTuple

import fluxhive

#: Python's documentation says of each where it is ("Availability").
LACKING: dict[str, dict[ModuleType, str]] = {
    "win32": {
        os: "fork forkpty getuid geteuid getgid getegid getgroups getgrouplist setsid getsid "
        "getpgid setpgid killpg wait3 wait4 pidfd_open pread pwrite preadv pwritev fdatasync "
        "statvfs fstatvfs chown fchown lchown mkfifo uname sched_getaffinity sysconf O_CLOEXEC "
        "O_NOFOLLOW O_DIRECTORY O_NONBLOCK WNOHANG setresuid setresgid posix_fallocate "
        "posix_fadvise getloadavg sendfile memfd_create ST_RDONLY openpty set_blocking "
        "register_at_fork",
        signal: "SIGKILL SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGCHLD SIGALRM SIGPIPE SIGXFSZ SIGCONT "
        "SIGSTOP SIGTSTP SIGWINCH pthread_sigmask sigwait sigtimedwait sigwaitinfo SIG_BLOCK "
        "SIG_SETMASK pidfd_send_signal setitimer alarm pause",
        time: "clock_gettime clock_gettime_ns CLOCK_BOOTTIME CLOCK_MONOTONIC tzset",
        select: "epoll poll EPOLLIN EPOLLOUT POLLIN POLLOUT",
        socket: "AF_UNIX SOCK_SEQPACKET SOCK_CLOEXEC SCM_RIGHTS",
    },
    "darwin": {
        os: "pidfd_open sched_getaffinity setresuid setresgid fdatasync posix_fallocate "
        "posix_fadvise memfd_create eventfd splice copy_file_range O_TMPFILE",
        signal: "pidfd_send_signal sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGSTKFLT SIGPWR",
        time: "CLOCK_BOOTTIME",
        select: "epoll EPOLLIN EPOLLOUT",
        socket: "SOCK_SEQPACKET SOCK_CLOEXEC",
    },
}
MODULES = {
    "win32": ("fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog"),
    "darwin": (),
}
LIBRARY_CALLS = ("prctl", "signalfd", "timer_create", "inotify_init1", "fallocate")
#: Of one system each, and imported by nothing that runs elsewhere.
LINUX_ONLY = frozenset(
    f"fluxhive.agent.{name}"
    for name in ("launcher", "process_linux", "shim", "shim_service", "shim_start")
)
POSIX_ONLY = frozenset(f"fluxhive.agent.{name}" for name in ("process_posix", "tree_posix"))
LEFT_OUT = {"darwin": LINUX_ONLY, "win32": LINUX_ONLY | POSIX_ONLY}


class Room(NamedTuple):
    """What Windows says of a disk."""

    total: int
    used: int
    free: int


class Library:
    """Stands in for ctypes.CDLL: Windows has no library of the process, macOS not all calls."""

    def __init__(self, name: str | None, **options: Any) -> None:
        if sys.platform == "win32" and name is None:
            raise TypeError("LoadLibrary() argument 1 must be str, not None")

    def __getattr__(self, call: str) -> Any:
        if call in LIBRARY_CALLS:
            raise AttributeError(call)
        return lambda *arguments: -1


def names(platform: str) -> list[str]:
    """All our modules that are for this system."""
    found = pkgutil.walk_packages(fluxhive.__path__, "fluxhive.", onerror=lambda name: None)
    of_server = ("fluxhive.server",) if platform == "win32" else ()
    return [
        each.name
        for each in found
        if each.name not in LEFT_OUT[platform]
        and not each.name.startswith(of_server or ("-",))
        and not each.name.endswith("__main__")
    ]


def become(platform: str) -> None:
    """From here on Python looks like that system's."""
    for module, words in LACKING[platform].items():
        for name in words.split():
            if hasattr(module, name):
                delattr(module, name)
    for hidden in MODULES[platform]:
        sys.modules[hidden] = None  # type: ignore[assignment]  # import then fails
    ctypes.CDLL = Library  # type: ignore[misc, assignment]
    sys.platform = platform
    if platform == "win32":
        os.name = "nt"
        # The paths themselves stay those of the system that we are really on.
        shutil.disk_usage = lambda path: Room(1 << 40, 0, 1 << 40)
        pathlib.WindowsPath = pathlib.PosixPath  # type: ignore[misc, assignment]


def main(platform: str, words: list[str]) -> int:
    """See the module."""
    wanted = names(platform)
    for name in wanted:
        importlib.import_module(name)
    for name in list(sys.modules):
        if name == "fluxhive" or name.startswith("fluxhive."):
            del sys.modules[name]
    become(platform)
    if words:
        from fluxhive.cli.fluxhive import main as fluxhive_main

        return int(fluxhive_main(words) or 0)
    failed = [each for each in wanted if not imports(each)]
    print(f"{len(wanted)} modules as on {platform}, {len(failed)} of them cannot be imported")
    return len(failed)


def imports(name: str) -> bool:
    """Whether the module can be imported; says why not."""
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{name}: {type(error).__name__}: {error}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))

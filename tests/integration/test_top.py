"""`fluxhive top` on a real terminal, of a real hive: drawn, resized, a task cancelled, left."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from contextlib import suppress

from tests.helpers.cli_hive import COMMAND, CliHive, until


class Terminal:
    """A pseudo terminal with a program in it."""

    def __init__(self, hive: CliHive, *words: str) -> None:
        self.seen = b""
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.chdir(hive.home)
            os.execve(COMMAND[0], [*COMMAND, *words], {**hive.env, "TERM": "xterm-256color"})
        self.resize(80, 24)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def type(self, keys: str) -> None:
        """Presses keys; what was seen until then is forgotten."""
        self.seen = b""
        os.write(self.handle, keys.encode())

    def shows(self, text: str) -> bool:
        """Reads on, and says whether the text was drawn."""
        with suppress(OSError):  # the other side is closed
            while select.select([self.handle], [], [], 0.05)[0]:
                self.seen += os.read(self.handle, 65536)
        return text.encode() in self.seen

    def ended(self) -> int:
        """The exit code, once it has ended."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            self.shows("")
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it did not end")


def test_top_shows_a_hive_and_cancels_a_task(hive: CliHive) -> None:
    task = hive.submit("--gpus", "1", "--gpu-mem", "20G", "-n", "vit", "--", "sleep 60")
    hive.when(task, "running")
    top = Terminal(hive, "top")
    until(lambda: top.shows(task), what="the task on the screen")
    assert b"\x1b[?1049h" in top.seen, "it takes the other screen"
    until(lambda: top.shows("3 of 4 GPUs free"), what="the counts")
    top.seen = b""
    top.resize(120, 30)
    until(lambda: top.shows("m mine  g GPUs"), what="the longer line of keys of a wider window")
    top.type("\r")
    until(lambda: top.shows("sleep 60"), what="the details")
    top.type("q")
    until(lambda: top.shows("tasks"), what="the screen again")
    top.type("c")
    until(lambda: top.shows(f"cancel {task} vit, running?"), what="the question")
    top.type("y")
    hive.when(task, "cancelled")
    top.type("q")
    assert top.ended() == 0
    assert b"\x1b[?1049l" in top.seen, "it gives the screen back"


def test_what_happens_is_shown_without_asking(hive: CliHive) -> None:
    """Asked every ten minutes, it would not know of the task."""
    top = Terminal(hive, "top", "--interval", "600")
    until(lambda: top.shows("tasks"), what="the screen")
    # Its ear is open a moment after: what changed before that is not told.
    until(lambda: _submitted_and_seen(hive, top), what="a new task on the screen")
    top.type("q")
    assert top.ended() == 0


def _submitted_and_seen(hive: CliHive, top: Terminal) -> bool:
    task = hive.submit("--", "true")
    hive.when(task, "succeeded")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if top.shows(task):
            return True
    return False


def test_a_terminal_is_given_back_to_whoever_ends_top(hive: CliHive) -> None:
    top = Terminal(hive, "top")
    until(lambda: top.shows("of 4 GPUs free"), what="the screen")
    os.kill(top.pid, signal.SIGTERM)
    assert top.ended() == 128 + signal.SIGTERM
    assert b"\x1b[?1049l" in top.seen


def test_events_are_told_as_they_happen(hive: CliHive) -> None:
    watcher = Terminal(hive, "events", "-f", "--since", "1s")
    first = hive.submit("--", "true")
    until(lambda: watcher.shows(first), what="the first event, by the list or live")
    task = hive.submit("-n", "quick", "--", "exit 3")
    until(lambda: watcher.shows("exit code 3"), what="the end of a task")
    assert task.encode() in watcher.seen
    watcher.type("\x03")
    assert watcher.ended() == 130

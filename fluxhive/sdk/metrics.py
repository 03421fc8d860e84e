"""``fluxhive.log``: numbers that a task reports of itself, for plots.

Appends a line to a file that the agent gave the task; the agent ships it like output. Standard
library only, and nothing here ever waits for anybody or ends the program: what cannot be kept is
said once on stderr.
"""

from __future__ import annotations

import json
import math
import os
import stat
import sys
import time
from collections.abc import Mapping
from typing import Any

#: What the server keeps of one attempt; more would be written for nobody.
FILE_BYTES_MAX = 64 * 1024 * 1024
NOTICES_MAX = 100

_said: set[str] = set()


def log(
    values: Mapping[str, Any] | None = None, /, *, step: int | None = None, **more: Any
) -> None:
    """Report numbers of this task: ``fluxhive.log(step=10, loss=0.31)``.

    Names that are no identifiers come in a dictionary: ``fluxhive.log({"val/acc": 0.8}, step=10)``.
    Anything that ``float`` takes is a number, an array of one element too. Without ``step``, values
    of a name are counted from 0. ``nan`` and infinities are kept as such.

    They are shown as plots on the task's page and read by ``Task.metrics()``. Outside a task this
    does nothing, and says so once. Of several processes, let one call it.
    """
    path = os.environ.get("FLUXHIVE_METRICS")
    if not path:
        _say("fluxhive.log outside a task: nothing is kept")
        return
    given = {**(values or {}), **more}
    numbers = {str(name): _number(str(name), value) for name, value in given.items()}
    line: dict[str, Any] = {
        "values": {name: value for name, value in numbers.items() if value is not None},
        "time_ms": time.time_ns() // 1_000_000,
    }
    if step is not None:
        line["step"] = _step(step)
    if line["values"] and line.get("step", 0) is not None:
        _append(path, json.dumps(line, separators=(",", ":")).encode() + b"\n")


def _number(name: str, value: Any) -> float | str | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        _say(f"fluxhive.log: `{name}` is no number and not kept: {error}")
        return None
    return number if math.isfinite(number) else str(number)


def _step(step: Any) -> int | None:
    try:
        return int(step)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        _say(f"fluxhive.log: `step` is no whole number, this is not kept: {error}")
        return None


class _File:
    """The file that lines go to; opened once. Each line is one write, so processes may share it."""

    def __init__(self) -> None:
        self.path = ""
        self.descriptor = -1
        self.is_broken = False

    def append(self, path: str, line: bytes) -> None:
        if path != self.path:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
            self.descriptor, self.path = os.open(path, flags, 0o600), path
        status = os.fstat(self.descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_size + len(line) > FILE_BYTES_MAX:
            _say(f"fluxhive.log: {FILE_BYTES_MAX >> 20} MiB are kept of a task; no more is written")
            return
        if self.is_broken:
            line = b"\n" + line  # a full disk took a part of the last one
        self.is_broken = os.write(self.descriptor, line) < len(line)


_file = _File()


def _append(path: str, line: bytes) -> None:
    try:
        _file.append(path, line)
    except OSError as error:
        _say(f"fluxhive.log: cannot write {path}: {error.strerror}")


def _say(text: str) -> None:
    """Once each, and not more than a hundred: a loop must not fill the log."""
    if text in _said or len(_said) >= NOTICES_MAX:
        return
    _said.add(text)
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # it is the task's own voice

"""Logging for people and machines, and how to read a failure out of a group of them.

One line per event: on a terminal ``time level event key=value``, otherwise one JSON object. Values
go in by ``log.info("attempt ended", extra={"attempt": "t-7f3k.2"})``; line breaks and control
characters in them are escaped in both forms, so that nobody can forge a line. Secrets and output of
tasks never belong in a log line. Loggers are named after their module.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

from fluxhive.core.errors import InputError

LEVELS = ("debug", "info", "warning", "error")
VALUE_LENGTH_MAX = 2000
"""Longer values are cut: a log line is read by people and shipped by others."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def setup(level: str = "info", *, stream: TextIO | None = None) -> None:
    """Sends our log lines to `stream` (standard error when None). Raises InputError."""
    if level.lower() not in LEVELS:
        raise InputError(
            f"unknown log level: `{level}`",
            field="log_level",
            value=level,
            hint="one of " + ", ".join(LEVELS),
        )
    target = stream or sys.stderr
    handler = logging.StreamHandler(target)
    handler.setFormatter(LineFormatter() if target.isatty() else JsonFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    # Libraries tell their debugging and each request at info; that is not our story.
    root.setLevel(logging.WARNING)
    logging.getLogger("fluxhive").setLevel(level.upper())


class LineFormatter(logging.Formatter):
    """``12:04:31.250 info    node registered node=n-4k2 label=gpu-a``"""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        head = f"{clock}.{int(record.msecs):03d} {record.levelname.lower():<7} "
        pairs = [f"{key}={_plain(value)}" for key, value in _extras(record).items()]
        line = " ".join([head + _escaped(record.getMessage()), *pairs])
        if record.exc_info and record.exc_info[0] is not None:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: at, level, logger, event, and the event's own keys."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "at": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage()[:VALUE_LENGTH_MAX],
        }
        for key, value in _extras(record).items():
            known = isinstance(value, int | float | bool) or value is None
            line[key] = value if known else str(value)[:VALUE_LENGTH_MAX]
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def first_cause(error: BaseException) -> BaseException:
    """The first real error inside (groups of) groups; the error itself when it is no group.

    Python 3.10 has no ``except*``, and what a person needs is the one thing that went wrong first.
    Works on the built-in groups and on their back port alike.
    """
    inner = error
    while True:
        members = getattr(inner, "exceptions", None)
        if not isinstance(members, tuple) or not members:
            return inner
        if not all(isinstance(member, BaseException) for member in members):
            return inner
        inner = members[0]


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {k: v for k, v in vars(record).items() if k not in _STANDARD and not k.startswith("_")}


def _plain(value: object) -> str:
    text = _escaped(str(value)[:VALUE_LENGTH_MAX])
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text


def _escaped(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

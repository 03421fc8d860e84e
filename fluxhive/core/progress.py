"""Progress bars as people want to read them later: each line as it stood last.

A program that draws a bar writes it again and again behind a carriage return. The bytes are kept as
they are; ``fold`` is for whoever shows them.
"""

from __future__ import annotations

from typing import AnyStr


def fold(output: AnyStr) -> AnyStr:
    """The output with the last of what each line showed; a line end of Windows is one."""
    newline, back, nothing = _words(output)
    lines = output.split(newline)
    return newline.join(_last(line, back, nothing) for line in lines)


def _last(line: AnyStr, back: AnyStr, nothing: AnyStr) -> AnyStr:
    if back not in line:
        return line
    shown = [part for part in line.split(back) if part]
    return shown[-1] if shown else nothing


def _words(output: AnyStr) -> tuple[AnyStr, AnyStr, AnyStr]:
    if isinstance(output, bytes):
        return b"\n", b"\r", b""
    return "\n", "\r", ""

"""The commands of the documentation, taken out of its pages so that a test can run them.

Blocks fenced as `console`, `sh` or `toml` are read. Where lines begin with `$ `, those are the
commands and the others their output; else each line is a command (a `\\` at its end goes on). A
comment right above a block says what is special about it:

    <!-- not run: REASON -->    nothing here can run it; counted, and listed with its reason
    <!-- file: NAME -->         what the block holds is put into that file
    <!-- before: COMMAND -->    what a reader has done by then; `t-7f3k = COMMAND` names its task
    <!-- ends: 1 -->            the exit codes that belong there, in place of 0
    <!-- until: 2 -->           runs until Ctrl-C, which comes after so many seconds

`python -m tests.helpers.doc_commands` prints what is run and what is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
#: Pages of what was run on one day, and pages for those who change FlowHive.
LEFT_OUT = ("docs/measurements", "docs/adr", "docs/checklists")

_FENCE = re.compile(
    r"(?P<marks>(?:^<!-- [^\n]+ -->\n+)*)^```(?P<kind>console|sh|toml)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"<!-- (not run|file|before|ends|until): (.+?) -->")


class Command(NamedTuple):
    """One command, and the task's name in the output that the page shows for it."""

    text: str
    shown_id: str = ""


class Block(NamedTuple):
    """One fenced block with what is said of it."""

    page: str
    line: int
    commands: tuple[Command, ...]
    not_run: str = ""
    file: str = ""
    text: str = ""
    before: tuple[str, ...] = ()
    ends: tuple[int, ...] = (0,)
    until_s: float | None = None


def pages() -> list[Path]:
    """All pages whose commands are looked at."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if not _name(path).startswith((*LEFT_OUT, "docs/_"))]


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of a page."""
    page = path.read_text(encoding="utf-8")
    for found in _FENCE.finditer(page):
        marks = _MARK.findall(found["marks"])
        told = dict(marks)
        unknown = found["marks"].count("<!--") - len(marks)
        is_file = "file" in told or found["kind"] == "toml"
        assert not unknown, f"{_name(path)}: a mark that is none: {found['marks']}"
        yield Block(
            page=_name(path),
            line=page.count("\n", 0, found.start("text")),
            commands=() if is_file else tuple(_commands(found["text"])),
            not_run=told.get("not run", ""),
            file=told.get("file", ""),
            text=found["text"],
            before=tuple(text for kind, text in marks if kind == "before"),
            ends=tuple(int(code) for code in told.get("ends", "0").split()),
            until_s=float(told["until"]) if "until" in told else None,
        )


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _commands(text: str) -> Iterator[Command]:
    lines = text.splitlines()
    has_prompts = any(line.startswith("$ ") for line in lines)
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if not line.strip() or (has_prompts and not line.startswith("$ ")):
            continue
        command = line.removeprefix("$ ")
        while command.endswith("\\") and number < len(lines):
            command = command[:-1] + lines[number].removeprefix("> ")
            number += 1
        shown = lines[number] if has_prompts and number < len(lines) else ""
        following = re.match(r"(t-[0-9a-z]{4,})\b", shown)
        yield Command(command, following[1] if following else "")


def main() -> None:
    """Counts what is run, and lists what is not with its reason."""
    found = [block for path in pages() for block in blocks(path)]
    run = [block for block in found if not block.not_run]
    n_commands = sum(len(block.commands) for block in run)
    print(f"{n_commands} commands in {len(run)} blocks of the documentation are run by a test")
    for block in found:
        if block.not_run:
            n = len(block.commands)
            print(f"not run: {block.page}:{block.line}, {n} commands: {block.not_run}")


if __name__ == "__main__":
    main()

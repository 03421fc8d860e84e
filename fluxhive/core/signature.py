"""Which tasks are expected to need the same: a name made from what the author wrote.

Two tasks of one project and author that run the same program with the same values where memory
depends on them have one *signature*. Seeds, dates, output directories and learning rates do not
count; batch sizes and models do. Pure text work: nothing is looked up. Called at submission.
"""

from __future__ import annotations

import re
from zlib import crc32

from .task import ExecutorKind, TaskSpec

#: Names of options whose values move memory: kept as they are.
_MOVES_MEMORY = re.compile(
    r"batch|(?:^|[-_.])bs(?:$|[-_.])|micro|seq|len|ctx|hidden|width|layers|depth|model|arch|size"
    r"|(?:^|[-_.])res|img|precision|dtype|fp16|bf16|fp32|amp|grad.?acc|lora|(?:^|[-_.])rank|workers"
    r"|beam|dim|heads|vocab|crop|frames|tokens",
    re.IGNORECASE,
)
_INTERPRETER = re.compile(r"(?:python|pypy)[0-9.]*|uv|poetry|accelerate|torchrun|deepspeed|bash|sh")
_SCRIPT = re.compile(r"\.(?:py|sh|ipynb|R|jl)$")
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\b[0-9a-f]{8,}\b|[0-9]+(?:[.:_-][0-9]+)*(?:[eE][-+]?[0-9]+)?")
_OPTION = re.compile(r"(-{0,2}[A-Za-z_][\w.-]*)=(.*)", re.DOTALL)
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
#: A signature is not longer than what tells commands apart needs.
_MAX_WORDS = 200


def signature(spec: TaskSpec, owner: str) -> str:
    """The full signature of a task."""
    words, kept = _normalised(spec)
    request = spec.request
    where = f"{owner}|{spec.project or owner}|{request.gpus}"
    # Two checksums of different things; equal by chance for one pair in 2^32.
    return f"{where}|{_hash(words)}|{_hash(kept)}"


def program_of(signature: str, /) -> str:
    """The same program with any sizes."""
    return signature.rpartition("|")[0]


def author_of(owner: str, project: str, /) -> str:
    """Everything that an author runs for a project."""
    return f"{owner}|{project}"


def _hash(words: list[str]) -> str:
    text = "\0".join(words).encode("utf-8", "surrogatepass")
    return f"{crc32(text):08x}{crc32(text, 0x5EED):08x}"


def _normalised(spec: TaskSpec) -> tuple[list[str], list[str]]:
    """The program with what varies blotted out, and the pairs that move memory, sorted."""
    if spec.executor is ExecutorKind.SHELL:
        words = _WORD.findall(" ".join(spec.command))[:_MAX_WORDS]
    else:
        words = list(spec.command[:_MAX_WORDS])
    program: list[str] = []
    options: list[str] = []
    kept: list[str] = []
    before = ""
    found_script = False
    for position, word in enumerate(words):
        pair = _OPTION.fullmatch(word)
        if pair is not None:
            _take(pair[1], pair[2], options, kept)
            before = ""
        elif before and not word.startswith("-"):
            _take(before, word, options, kept)
            before = ""
        elif word.startswith("-") and len(word) > 1 and not word[1].isdigit() and word[1] != ".":
            if before:
                _flag(before, options, kept)
            before = word
            if before in ("-m", "-c"):
                # What follows names the program.
                before = ""
                program.append(word)
        elif position == 0 or not found_script:
            program.append(_place(word))
            found_script = _SCRIPT.search(word) is not None or (
                position > 0 and _INTERPRETER.fullmatch(_place(word)) is None
            )
        else:
            program.append(_blot(word))
    if before:
        _flag(before, options, kept)
    return [*program, *sorted(options)], sorted(kept)


def _take(name: str, value: str, options: list[str], kept: list[str]) -> None:
    plain = name.lstrip("-").lower()
    if _MOVES_MEMORY.search(plain):
        options.append(plain)
        kept.append(f"{plain}={_place(value)}")
    else:
        options.append(f"{plain}={_blot(value)}")


def _flag(name: str, options: list[str], kept: list[str]) -> None:
    plain = name.lstrip("-").lower()
    options.append(plain)
    if _MOVES_MEMORY.search(plain):
        kept.append(plain)


def _place(word: str) -> str:
    """The last part of a path: the same program lies in many places."""
    return word.rstrip("/").rpartition("/")[2] or word


def _blot(word: str) -> str:
    """A word without what differs from run to run: numbers, hashes, where it lies."""
    return _NUMBER.sub("#", _place(word) if "/" in word else word)

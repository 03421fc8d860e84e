"""Options that a script carries in its head: `#FLUXHIVE …` lines, and the common `#SBATCH` ones.

They stand before the first line that is no comment, as in Slurm. What is given on the command line
goes before them, and `#FLUXHIVE` before `#SBATCH`. A script with an interpreter line is run by
that, executable or not, so that `fluxhive submit train.sh` does what `sbatch train.sh` did; it is
read when the task starts, not kept at `submit`: for that there is `--code .`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from fluxhive.cli import slurm
from fluxhive.core.errors import InputError

HEAD_BYTES_MAX = 256 << 10
"""Headers stand at the beginning; what is longer than this is no script that somebody wrote."""

#: What scripts ask Slurm for, and what has it here.
_INSTEAD = {
    "SLURM_JOB_ID": "FLUXHIVE_TASK_ID",
    "SLURM_JOBID": "FLUXHIVE_TASK_ID",
    "SLURM_ARRAY_JOB_ID": "FLUXHIVE_ARRAY_ID",
    "SLURM_ARRAY_TASK_COUNT": "FLUXHIVE_ARRAY_COUNT",
    "SLURM_JOB_NAME": "FLUXHIVE_TASK_NAME",
    "SLURM_NODEID": "FLUXHIVE_RANK",
    "SLURM_PROCID": "FLUXHIVE_RANK",
    "SLURM_NNODES": "FLUXHIVE_NODES",
    "SLURM_JOB_NUM_NODES": "FLUXHIVE_NODES",
    "SLURMD_NODENAME": "FLUXHIVE_NODE",
}


class Head(NamedTuple):
    """What a script says of itself."""

    path: str
    #: Words for `fluxhive submit`, those of Slurm first.
    options: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    #: What the interpreter line names; empty: there is none.
    interpreter: tuple[str, ...] = ()

    def command(self, words: Sequence[str]) -> tuple[str, ...]:
        """The words that run the script: itself where it can be executed, or what its head says."""
        path = self.path if "/" in self.path else f"./{self.path}"
        if os.access(path, os.X_OK) and len(words) == 1:
            return (shlex.quote(path),)  # one word is a line for the shell
        is_program = os.access(path, os.X_OK)
        return (*(() if is_program else self.interpreter), path, *words[1:])


def head_of(words: Sequence[str]) -> Head | None:
    """The head of the script that the first word names; None: it is no script, or says nothing."""
    text = _text(words[0]) if words else None
    if text is None:
        return None
    first = text.partition("\n")[0]
    interpreter = tuple(first[2:].split()) if first.startswith("#!") else ()
    ours: list[str] = []
    theirs: list[tuple[str, str]] = []
    for number, line in _head_lines(text):
        kind, _, rest = line.partition(" ")
        if kind == "#FLUXHIVE":
            ours += _split(words[0], number, rest)
        elif kind == "#SBATCH":
            theirs += _read(words[0], number, _split(words[0], number, rest))
    says_nothing = not ours and not theirs
    is_elsewhere = "/" not in words[0] and shutil.which(words[0]) is not None
    if says_nothing and (is_elsewhere or not interpreter):
        return None
    twin = slurm.translate(theirs)
    warnings = [f"{words[0]}: {text}" for text in twin.warnings]
    if theirs:
        set_here = {"SLURM_ARRAY_TASK_ID"} if "array" in dict(theirs) else set()
        warnings += [f"{words[0]}: {said}" for said in _habits(text, set_here)]
    return Head(words[0], (*twin.options, *ours), tuple(warnings), interpreter)


def slurm_line(
    arguments: Sequence[str], takes_value: Container[str]
) -> tuple[slurm.Twin, list[str]]:
    """A command line of sbatch in ours: what its options become, and all that is left as it is.

    `takes_value`: options of ours that are followed by a value.
    """
    theirs: list[tuple[str, str]] = []
    kept: list[str] = []
    wrapped: str | None = None
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        known = _long_name(name)
        if name == "--wrap":
            wrapped = value if equals else rest.pop(0) if rest else ""
        elif known is None:
            kept.append(word)
            if not equals and name in takes_value and rest:
                kept.append(rest.pop(0))
        elif known in slurm.FLAGS:
            theirs.append((known, value))
        else:
            attached = word[2:] if _is_short(word) else value if equals else ""
            theirs.append((known, attached or (rest.pop(0) if rest else "")))
    if wrapped is not None and [word for word in rest if word != "--"]:
        raise InputError(
            "`--wrap` and a script exclude each other",
            field="--wrap",
            value=wrapped,
            hint="fluxhive sbatch --gres=gpu:1 --wrap 'python train.py'",
        )
    line = [] if wrapped is None else ["--", wrapped]
    return slurm.translate(theirs), [*kept, *(line or rest)]


def _text(path: str) -> str | None:
    """The beginning of a file of text; None where there is no such file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            data = file.read(HEAD_BYTES_MAX)
    except (OSError, ValueError):
        return None
    return None if b"\0" in data else data.decode("utf-8", "replace")


def _head_lines(text: str) -> Iterator[tuple[int, str]]:
    """The comment lines before the first line that is none, with their numbers."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("#"):
            return
        yield number, line.rstrip()


def _split(path: str, number: int, text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError as error:
        raise InputError(
            f"line {number} of `{path}` cannot be read: {error}",
            field="header",
            value=text,
            hint="quote as in a shell; one header line holds whole options",
        ) from error


def _read(path: str, number: int, words: list[str]) -> Iterator[tuple[str, str]]:
    """The options of one `#SBATCH` line, by long name."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        known = _long_name(name)
        if not word.startswith("-"):
            raise InputError(
                f"line {number} of `{path}`: `{word}` is no option of sbatch",
                field="header",
                value=word,
                hint="options begin with `-`; a value with blanks is quoted",
            )
        if known is None:
            is_value_next = not equals and rest and not rest[0].startswith("-")
            yield name.lstrip("-"), value or (rest.pop(0) if is_value_next else "")
        elif known in slurm.FLAGS:
            yield known, value
        else:
            attached = word[2:] if _is_short(word) else value
            yield known, attached or (rest.pop(0) if rest and not equals else "")


def _is_short(word: str) -> bool:
    return word.startswith("-") and not word.startswith("--")


def _long_name(name: str) -> str | None:
    """The long name of an option of sbatch that we know; None: it is none."""
    if _is_short(name):
        return slurm.SHORT.get(name[1:2])
    found = name.removeprefix("--")
    return found if found in slurm.KNOWN else None


def _habits(text: str, set_here: set[str]) -> Iterator[str]:
    """What the body of a script expects of Slurm and does not find."""
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for name in sorted(set(re.findall(r"\bSLURMD?_\w+", body)) - set_here):
        instead = _INSTEAD.get(name)
        has_it = f": ${instead} has it" if instead else ""
        yield f"it uses ${name}, which is not set here{has_it}"
    if re.search(r"^\s*srun\b", body, re.MULTILINE):
        yield "it starts `srun`, which is not there; the command alone does, or `--torchrun`"

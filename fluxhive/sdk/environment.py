"""The variables that a submitter hands to a task: `--env`, `--env-file` and `--secret`.

What a file of variables may hold stands in docs/tasks.md; it is read as it is written, with nothing
expanded or executed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fluxhive.core.errors import InputError
from fluxhive.core.task import SecretForm

ENV_FILE_BYTES_MAX = 1 << 20
"""The server takes 256 KiB of variables; what is larger than this is another file."""

#: What has torchrun put the rank of its process before each line, whatever the script does with its
#: output (its options by variable: ``torch.distributed.argparse_util``).
RANK_PREFIX = {"PET_TEE": "3", "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "[rank ${rank}] "}

_START = re.compile(r"\s*(?:export\s+)?(?P<name>[^\s=#\"'\0]+)\s*=[ \t]*")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
_PLAIN = re.compile(r"[^\n]*?(?=\s+#|\s*$)", re.M)
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?$", re.M)
_SKIPPED = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\n": ""}


def gather(given: Iterable[str], env_file: str | None) -> dict[str, str]:
    """All variables; `--env` goes before the file. `K` without `=` takes our own value of K."""
    variables = {} if env_file is None else _read(Path(env_file))
    for text in given:
        name, equals, value = text.partition("=")
        if not equals and name in os.environ:
            value = os.environ[name]
        elif not equals or not _is_name(name):
            raise InputError(
                f"`--env` takes NAME=VALUE: `{text[:100]}`",
                field="--env",
                value=text,
                hint="write --env K=V; a name alone passes your own value on where you have one",
            )
        variables[name] = value
    return variables


def with_rank_prefix(variables: dict[str, str], *, is_torchrun: bool) -> dict[str, str]:
    """For `--prefix-ranks`: the variables with those for torchrun, which one's own go before."""
    if not is_torchrun:
        raise InputError(
            "`--prefix-ranks` is about the processes of torchrun",
            field="--prefix-ranks",
            hint="add `--torchrun`, or leave it out; the nodes of a gang are marked by `logs`",
        )
    return {**RANK_PREFIX, **variables}


def gather_secrets(given: Iterable[str]) -> dict[str, SecretForm]:
    """Which secrets the task is given: `NAME` as a variable, `NAME=file` as a file."""
    found: dict[str, SecretForm] = {}
    for text in given:
        name, equals, form = text.partition("=")
        if not name or (equals and form != "file"):
            raise InputError(
                f"`--secret` takes NAME or NAME=file: `{name[:100]}={'…' if form else ''}`",
                field="--secret",
                hint="what it holds is set before, and not here: fluxhive secret set NAME",
            )
        found[name] = SecretForm.FILE if equals else SecretForm.VARIABLE
    return found


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            data = file.read(ENV_FILE_BYTES_MAX + 1)
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except OSError as error:
        raise InputError(
            f"cannot read `{path}`: {error.strerror}",
            field="--env-file",
            value=str(path),
            hint="name a file with lines K=V; `--env K=V` gives one without a file",
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` is not UTF-8 text", field="--env-file") from error
    if len(data) > ENV_FILE_BYTES_MAX:
        raise InputError(f"`{path}` is larger than 1 MiB", field="--env-file", value=str(path))
    return dict(_variables(text, path))


def _variables(text: str, path: Path) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        skipped = _SKIPPED.match(text, at)
        if skipped is not None:
            at = skipped.end()
            continue
        start = _START.match(text, at)
        if start is None:
            raise _wrong(text, at, path, "is not NAME=VALUE")
        value, at = _value(text, start.end(), path)
        yield start["name"], value


def _value(text: str, at: int, path: Path) -> tuple[str, int]:
    """The value that begins there, and where the next line begins."""
    quote = text[at : at + 1]
    if quote not in ("'", '"'):
        plain = _PLAIN.match(text, at)
        assert plain is not None, "it matches the empty text"
        value, end = plain[0], plain.end()
    else:
        quoted = (_SINGLE if quote == "'" else _DOUBLE).match(text, at)
        if quoted is None:
            raise _wrong(text, at, path, f"opens a {quote} that is never closed")
        value, end = quoted[1], quoted.end()
        if quote == '"':
            value = _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), value)
    rest = _REST.match(text, end)
    if rest is None:
        raise _wrong(text, end, path, "goes on after the closing quote")
    return value, rest.end() + 1


def _wrong(text: str, at: int, path: Path, why: str) -> InputError:
    return InputError(
        f"line {text.count(chr(10), 0, at) + 1} of `{path}` {why}",
        field="--env-file",
        hint="one variable a line; # begins a comment; quote what holds quotes or ` #`",
    )


def _is_name(name: str) -> bool:
    return bool(name) and "\0" not in name and not any(c.isspace() for c in name)

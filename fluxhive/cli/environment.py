"""The variables that a submitter hands to a task: `--env` and `--env-file`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fluxhive.core.errors import InputError

ENV_FILE_BYTES_MAX = 1 << 20
"""The server takes 256 KiB of variables; what is larger than this is another file."""


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


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open("rb") as file:
            data = file.read(ENV_FILE_BYTES_MAX + 1)
        text = data.decode()
    except OSError as error:
        raise InputError(
            f"cannot read `{path}`: {error.strerror}", field="--env-file", value=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"`{path}` is not UTF-8 text", field="--env-file") from error
    if len(data) > ENV_FILE_BYTES_MAX:
        raise InputError(f"`{path}` is larger than 1 MiB", field="--env-file", value=str(path))
    variables: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.removeprefix("export ").partition("=")
        if not equals or not _is_name(name.strip()):
            raise InputError(
                f"line {number} of `{path}` is not NAME=VALUE",
                field="--env-file",
                hint="one variable a line; # begins a comment",
            )
        variables[name.strip()] = _unquoted(value.strip())
    return variables


def _is_name(name: str) -> bool:
    return bool(name) and "\0" not in name and not any(c.isspace() for c in name)


def _unquoted(value: str) -> str:
    is_quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if is_quoted else value

"""The configuration file as TOML: read whole, edited in place with its comments kept.

Knows no key; `config.py` does. Every trouble with the file is an InputError with a hint, and a file
that cannot be understood is never written over.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from pathlib import Path

from fluxhive import env, places
from fluxhive.core.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    # Not installed beside a newer interpreter, which mypy may run on.
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

CONFIG_BYTES_MAX = 1 << 20
"""A configuration file is a few hundred bytes; what is larger is another file."""


def read(path: Path) -> dict[str, object]:
    """The file's content; empty when there is none. Raises InputError when it cannot be read."""
    try:
        document: dict[str, object] = tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"`{path}` is not valid TOML: {error}",
            field=str(path),
            hint='repair the line named, for example label = "gpu-a", or move the file away',
        ) from error
    return document


def put(path: Path, name: str, value: str | int | float) -> None:
    """Sets the dotted key. The file must have been read, and shown to be in order, before."""
    import tomlkit  # costs 80 ms, needed only to write

    document = tomlkit.parse(_text(path))
    table: MutableMapping[str, object] = document
    *parents, last = name.split(".")
    for parent in parents:
        inner = table.get(parent)
        if not isinstance(inner, MutableMapping):
            inner = tomlkit.table()
            table[parent] = inner
        table = inner
    table[last] = value
    _write(path, tomlkit.dumps(document))


def take_out(path: Path, name: str) -> bool:
    """Removes the dotted key; False when it is not there. Raises InputError like `read`."""
    import tomlkit

    read(path)
    document = tomlkit.parse(_text(path))
    table: object = document
    *parents, last = name.split(".")
    for parent in parents:
        table = table.get(parent) if isinstance(table, MutableMapping) else None
    if not isinstance(table, MutableMapping) or last not in table:
        return False
    del table[last]
    _write(path, tomlkit.dumps(document))
    return True


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(CONFIG_BYTES_MAX + 1)
        if len(data) > CONFIG_BYTES_MAX:
            raise InputError(
                f"`{path}` is larger than {CONFIG_BYTES_MAX >> 20} MiB",
                field=str(path),
                hint=f"point {env.CONFIG.name} to the right file",
            )
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InputError(
            f"cannot read the configuration file `{path}`: {error.strerror}",
            field=str(path),
            hint=f"check who owns it and its mode, or set {env.CONFIG.name}",
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"`{path}` is not UTF-8 text", field=str(path), hint="save it as UTF-8"
        ) from error


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        places.write_private(path, text.encode())
    except OSError as error:
        raise InputError(
            f"cannot write the configuration file `{path}`: {error.strerror}",
            field=str(path),
            hint=f"check who owns the directory, or set {env.CONFIG.name}",
        ) from error

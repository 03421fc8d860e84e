"""`fluxhive sweep FILE`: submits the array that a file describes, which can be kept and shared.

The keys of the file are the options of `fluxhive submit` without their dashes; `command` is what
runs and `[vary]` holds the variables. What the file says becomes a command line of `submit`, so
that both always mean the same.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from fluxhive.cli import output, submit
from fluxhive.cli.complaints import closest
from fluxhive.core.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    # Not installed beside a newer interpreter, which mypy may run on.
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

EXAMPLE = """\
name = "vit"
command = ["python", "train.py", "--lr", "{lr}", "--seed", "{seed}"]
gpus = 1
gpu-mem = "20G"
time = "4h"
at-most = 8

[vary]
lr = [1e-3, 1e-4]
seed = "0..4"
"""
#: Options of `submit` that have no place in a file that is kept.
NOT_IN_FILE = ("array", "follow", "json", "quiet", "output", "dry-run", "control-url", "help")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--example", is_flag=True, help="Print a file to begin with.")
@click.option("--show", "is_shown", is_flag=True, help="Print the command line, submit nothing.")
@click.argument("more", nargs=-1, type=click.UNPROCESSED, metavar="[OPTIONS OF SUBMIT]…")
def command(*, file: Path | None, example: bool, is_shown: bool, more: tuple[str, ...]) -> Any:
    """Submit the sweep that FILE (TOML) describes: one task for each combination.

    \b
    name = "vit"
    command = ["python", "train.py", "--lr", "{lr}", "--seed", "{seed}"]
    gpus = 1
    at-most = 8
    [vary]
    lr = [1e-3, 1e-4]
    seed = "0..4"

    Other keys are the options of `fluxhive submit`; options behind FILE go before those in it.
    """
    if example:
        output.lines(EXAMPLE.splitlines())
        return 0
    if file is None:
        raise InputError(
            "no file was given", field="FILE", hint="fluxhive sweep --example > sweep.toml"
        )
    words = command_line(read(file), more, file)
    if is_shown:
        output.lines(["fluxhive submit " + shlex.join(words)])
        return 0
    return submit.command.main(args=words, prog_name="fluxhive submit", standalone_mode=False)


def read(path: Path) -> dict[str, Any]:
    """What the file says. Raises InputError."""
    try:
        with path.open("rb") as file:
            # A text: `1e-4` stays `1e-4`.
            found: dict[str, Any] = tomllib.load(file, parse_float=str)
    except OSError as error:
        raise InputError(
            f"cannot read `{path}`: {error.strerror}",
            field="FILE",
            value=str(path),
            hint="fluxhive sweep --example > sweep.toml",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"`{path}` is not TOML: {error}", field="FILE", hint="see `fluxhive sweep --example`"
        ) from error
    return found


def command_line(found: dict[str, Any], more: tuple[str, ...], path: Path) -> list[str]:
    """The words for `fluxhive submit` that the file stands for."""
    given = dict(found)
    words, vary = given.pop("command", None), given.pop("vary", {})
    if isinstance(words, str):
        words = [words]
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        hint = 'command = ["python", "train.py", "--lr", "{lr}"]'
        raise _wrong(path, "command", "is a text, or a list of texts", hint)
    if not isinstance(vary, dict) or not vary:
        hint = "a line `[vary]`, and below it `lr = [1e-3, 1e-4]`"
        raise _wrong(path, "vary", "is a table of variables", hint)
    options = {
        name.lstrip("-"): parameter
        for parameter in submit.command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    }
    line: list[str] = []
    for key, value in given.items():
        option = options.get(key)
        if option is None or key in NOT_IN_FILE:
            near = closest(key, [name for name in options if name not in NOT_IN_FILE])
            raise InputError(
                f"`{path}`: `{key}` is no option of `fluxhive submit` that a file may hold",
                field=key,
                hint=near or "fluxhive submit --help lists the options",
            )
        line += _option(path, key, value, option)
    for name, values in vary.items():
        line += ["--array", f"{name}={_values(path, name, values)}"]
    return [*line, *more, "--", *words]


def _option(path: Path, key: str, value: object, option: click.Option) -> list[str]:
    if option.is_flag:
        if not isinstance(value, bool):
            raise _wrong(path, key, "is true or false", f"{key} = true")
        return [f"--{key}"] if value else []
    if isinstance(value, dict):  # env = { K = "V" }
        value = [f"{name}={inner}" for name, inner in value.items()]
    values = value if isinstance(value, list) else [value]
    if (len(values) != 1 and not option.multiple) or any(_is_odd(each) for each in values):
        raise _wrong(path, key, "is a text or a number", f'{key} = "…"')
    return [word for each in values for word in (f"--{key}", str(each))]


def _values(path: Path, name: str, values: object) -> str:
    if isinstance(values, str):
        return values  # `0..4`, as on the command line
    if not isinstance(values, list) or not values or any(_is_odd(each) for each in values):
        what = "is a list, or a text such as `0..4`"
        raise _wrong(path, f"vary.{name}", what, f"{name} = [1, 2]")
    texts = [str(each) for each in values]
    if any("," in text for text in texts):
        raise _wrong(path, f"vary.{name}", "has a value with a comma", "commas part the values")
    return ",".join(texts)


def _is_odd(value: object) -> bool:
    return isinstance(value, bool) or not isinstance(value, str | int | float)


def _wrong(path: Path, key: str, text: str, hint: str) -> InputError:
    return InputError(f"`{path}`: `{key}` {text}", field=key, hint=hint)

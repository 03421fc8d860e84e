"""Functions as tasks: what is sent of a function and its arguments, and what came back of it.

Both are pickled by cloudpickle (extra ``sdk``). Modules that lie beside the program that submits
are sent along by value, since nodes do not have them; what is installed is looked for there. The
server keeps the bytes and never looks into them.
"""

from __future__ import annotations

import hashlib
import json
import linecache
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from fluxhive import __version__
from fluxhive.core.errors import FluxhiveError, InputError
from fluxhive.core.values import Value

from . import call_program
from .failures import ResultLost, WrongPython
from .pickling import cloudpickle, dumps
from .snapshot import Archive, Tree, TreeFile, look, pack

FOLDER = ".fluxhive"
PROGRAM = f"{FOLDER}/call.py"
#: Beyond this, arguments belong on storage that the nodes share.
ARGUMENT_BYTES_MAX = 128 * 1024 * 1024
WORDS_SHOWN = 20
WORD_CHARS_MAX = 80


#: A place of a traceback without the line that stands there: its node has not that file.
_NO_SOURCE = re.compile(
    r'^  File "(?P<file>.+)", line (?P<line>\d+), in .+\n(?!    )', re.MULTILINE
)


class Call(NamedTuple):
    """The arguments of one call."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012  # a named tuple's default, never changed


class RemoteTraceback(Exception):
    """Where a function raised, on its node: the cause of what `result()` raises."""

    def __str__(self) -> str:
        return f"\n'''\n{_NO_SOURCE.sub(_with_source, self.args[0]).rstrip()}\n'''"


def _with_source(place: re.Match[str]) -> str:
    """The place with its line, where the file is here."""
    line = linecache.getline(place["file"], int(place["line"])).strip()
    return place[0] + (f"    {line}\n" if line else "")


class CallFailed(FluxhiveError):
    """A function raised what cannot be raised again here; its traceback is in the text."""

    kind = "call-failed"


def name_of(function: Callable[..., Any]) -> str:
    """What people know it by: ``train.fit``."""
    inner = getattr(function, "func", function)  # functools.partial
    module = getattr(inner, "__module__", None) or ""
    if module == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        module = "" if file is None else os.path.splitext(os.path.basename(file))[0]
    name = getattr(inner, "__qualname__", None) or type(inner).__qualname__
    return f"{module}.{name}".strip(".")[-200:]


def shown_words(name: str, call: Call) -> tuple[str, ...]:
    """The call as words of a command: for people, and to tell what moves memory."""
    words = [_shown(value) for value in call.args]
    words += [f"{key}={_shown(value)}" for key, value in call.kwargs.items()]
    return name, *words[:WORDS_SHOWN]


def _shown(value: object) -> str:
    if not isinstance(value, bool | int | float | str):
        return f"<{type(value).__name__}>"
    text = str(value)[:WORD_CHARS_MAX]
    return text if text.isprintable() and text else repr(text)


# ── what is sent ──────────────────────────────────────────────────────────────────────────────


def pack_calls(
    function: Callable[..., Any],
    calls: Sequence[Call],
    *,
    code: str | None = None,
    workdir: str | None = None,
    modules: Sequence[ModuleType] = (),
) -> Archive:
    """The archive of a task that makes one of these calls, by its index in an array.

    ``code``: a directory whose files come with it. Raises ``InputError`` for what cannot be sent.
    """
    root = None if code is None else os.path.realpath(code)
    with _by_value([*modules, *([] if code is not None else _local_modules())]):
        data = [dumps(function, "the function")]
        data += [dumps(tuple(call), f"the arguments of call {n}") for n, call in enumerate(calls)]
    n_bytes = sum(len(each) for each in data)
    if n_bytes > ARGUMENT_BYTES_MAX:
        raise InputError(
            f"function and arguments have {n_bytes >> 20} MiB pickled, and at most "
            f"{ARGUMENT_BYTES_MAX >> 20} are taken",
            field="args",
            hint="hand over the path of a file that the nodes can read",
        )
    header = json.dumps(_header(function, data, root, workdir)).encode() + b"\n"
    with tempfile.TemporaryDirectory(prefix="fluxhive-") as folder:
        path = os.path.join(folder, "call")
        with open(path, "wb") as file:
            file.writelines([header, *data])
        size = len(header) + n_bytes
        ours = (
            TreeFile(f"{FOLDER}/call", path, size, is_executable=False),
            TreeFile(PROGRAM, call_program.__file__, 0, is_executable=False),
        )
        tree = Tree((), ()) if root is None else look(root)
        files = [each for each in tree.files if not each.name.startswith(f"{FOLDER}/")]
        return pack(Tree(tuple(sorted([*files, *ours])), ()))


def _header(
    function: Callable[..., Any], data: Sequence[bytes], root: str | None, workdir: str | None
) -> dict[str, object]:
    places: list[tuple[int, int]] = []
    at = 0
    for each in data:
        places.append((at, len(each)))
        at += len(each)
    paths = [os.path.abspath(path or ".") for path in sys.path]
    if root is not None:
        real = [os.path.realpath(path) for path in paths]
        below = [path for path in real if path == root or path.startswith(root + os.sep)]
        paths = [os.path.relpath(path, root) for path in below if "site-packages" not in path]
        paths = list(dict.fromkeys([*paths, "."]))
    else:
        paths = paths[:1]
    return {
        "format": 1,
        "fluxhive": __version__,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "cloudpickle": cloudpickle().__version__,
        "name": name_of(function),
        "cwd": os.getcwd(),
        "workdir": workdir,
        "paths": paths,
        "has_code": root is not None,
        "function": places[0],
        "calls": places[1:],
    }


def _local_modules() -> list[ModuleType]:
    """Modules beside the program and below the directory it runs in: only they are here alone."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    roots = [os.getcwd(), *([] if main is None else [os.path.dirname(os.path.abspath(main))])]
    roots = [os.path.join(os.path.realpath(root), "") for root in roots]
    ours = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    known = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = [ours, *(os.path.realpath(known[name]) for name in names)]
    not_local = tuple(os.path.join(path, "") for path in installed)
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(module, ModuleType) or not file:
            continue
        path = os.path.realpath(file)
        is_installed = path.startswith(not_local) or "-packages" in path
        if path.endswith(".py") and path.startswith(tuple(roots)) and not is_installed:
            found.append(module)
    return found


@contextmanager
def _by_value(modules: Sequence[ModuleType]) -> Iterator[None]:
    known = cloudpickle().list_registry_pickle_by_value()
    new = [module for module in dict.fromkeys(modules) if module.__name__ not in known]
    for module in new:
        cloudpickle().register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in new:
            cloudpickle().unregister_pickle_by_value(module)


# ── what came back ────────────────────────────────────────────────────────────────────────────


class ResultHeader(Value, frozen=True, kw_only=True):
    """The first line of a result."""

    format: int
    kind: str
    python: str
    n_bytes: int
    sha256: str
    text: str = ""
    trace: str = ""


_HINTS = {
    "wrong-python": "name an interpreter that goes with it by `python=`, or submit from that one",
    "wrong-place": "name a directory that the node has by `workdir=`, or send yours by `code=`",
    "not-loaded": 'install what is missing there, or send your modules with `code="."`',
    "unpicklable": "return numbers, texts, arrays or a path in place of it",
    "too-large": "write it to a file that you can read, and return its path",
}


def value_of(data: bytes, *, function: str, task_id: str) -> Any:
    """What the function returned. Raises what it raised, with its traceback as the cause."""
    line, _, pickled = data.partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=ResultHeader)
    except msgspec.DecodeError as error:
        raise _lost(task_id, "is no result of a function") from error
    if len(pickled) != header.n_bytes or hashlib.sha256(pickled).hexdigest() != header.sha256:
        raise _lost(task_id, f"is not whole: {len(pickled)} of {header.n_bytes} bytes")
    if header.kind == "wrong-python":
        raise WrongPython(f"{function} was not called: {header.text}", hint=_HINTS[header.kind])
    if header.kind in _HINTS:
        raise CallFailed(f"{function}: {header.text}", hint=_HINTS[header.kind])
    _check_python(header.python, task_id)
    if header.kind == "value":
        return _loads(pickled, task_id)
    raise _raised(header, pickled, function, task_id) from RemoteTraceback(header.trace)


def _raised(header: ResultHeader, pickled: bytes, function: str, task_id: str) -> BaseException:
    if pickled:
        found = _loads(pickled, task_id)
        if isinstance(found, BaseException):
            return found
    return CallFailed(f"{function} raised {header.text}", hint="its traceback is above")


def _loads(data: bytes, task_id: str) -> Any:
    try:
        return cloudpickle().loads(data)
    except Exception as error:
        raise _lost(
            task_id, f"cannot be unpickled here: {type(error).__name__}: {error}"
        ) from error


def _check_python(theirs: str, task_id: str) -> None:
    minor = tuple(int(part) for part in theirs.split(".")[:2])
    if minor != sys.version_info[:2]:
        ours = ".".join(str(part) for part in sys.version_info[:2])
        raise WrongPython(
            f"the result of {task_id} was pickled by Python {theirs}, and this is {ours}",
            hint=f"read it with Python {minor[0]}.{minor[1]}",
        )


def _lost(task_id: str, why: str) -> ResultLost:
    return ResultLost(
        f"the result of {task_id} {why}", hint=f"see what it said: fluxhive logs {task_id}"
    )

"""How functions and arguments are pickled: so that tracebacks name files, and refusals the culprit.

cloudpickle leaves out which file a function is of (all of them stand in `<dynamic-code>`), and says
of what it cannot pickle the type alone. Called by functions.py; only here is cloudpickle imported.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from fluxhive.core.errors import InputError

#: What cloudpickle writes in the place of a file's name.
_NO_FILE = "<dynamic-code>"
_HINT = (
    "open files, locks and connections inside the function; "
    'if it is a module of yours, send the directory with `code="."`'
)


def cloudpickle() -> Any:
    """The module. Raises InputError where it is not installed."""
    try:
        import cloudpickle
    except ImportError as error:
        raise InputError(
            "to submit functions, cloudpickle is needed here and on the nodes",
            field="function",
            hint="pip install cloudpickle",
        ) from error
    return cloudpickle


def dumps(value: object, what: str) -> bytes:
    """The value as bytes. Raises InputError with what of it cannot be."""
    try:
        return _dumps(value)
    except Exception as error:
        named = _culprit(value)
        text = f"{type(error).__name__}: {error}"
        if named is not None:
            name, culprit = named
            text = f"`{name}`, which it uses, is of type `{type(culprit).__name__}` ({error})"
        raise InputError(
            f"{what} cannot be pickled: {text}", field="function", hint=_HINT
        ) from error


def _dumps(value: object) -> bytes:
    base = cloudpickle().Pickler
    table = dict(base.dispatch_table)
    reduce: Callable[[CodeType], tuple[Any, tuple[Any, ...]]] | None = table.get(CodeType)
    if reduce is not None:
        table[CodeType] = lambda code: _with_its_file(reduce(code), code)
    # The table is read when a pickler is made, from its class.
    pickler = type("_Pickler", (base,), {"dispatch_table": table})
    with io.BytesIO() as file:
        pickler(file).dump(value)
        return file.getvalue()


def _with_its_file(
    reduced: tuple[Any, tuple[Any, ...]], code: CodeType
) -> tuple[Any, tuple[Any, ...]]:
    make, arguments = reduced
    named = (
        code.co_filename if isinstance(each, str) and each == _NO_FILE else each
        for each in arguments
    )
    return make, tuple(named)


def _culprit(value: object) -> tuple[str, object] | None:
    """The first name that a function uses, or keyword it is given, that cannot be pickled."""
    return next((each for each in _used(value) if not _can_be(each[1])), None)


def _can_be(value: object) -> bool:
    try:
        _dumps(value)
    except Exception:
        return False
    return True


def _used(value: object) -> Iterator[tuple[str, object]]:
    if inspect.isfunction(value):
        names = inspect.getclosurevars(value)
        yield from {**names.nonlocals, **names.globals}.items()
        signature = inspect.signature(value).parameters
        yield from ((name, each.default) for name, each in signature.items())
    elif isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], dict):
        yield from value[1].items()  # the keywords of a call

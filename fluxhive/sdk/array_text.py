"""Arrays as people write them: `0-99`, `0-99%8`, `lr=1e-3,1e-4 seed=0..4`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fluxhive.core.array import ArraySpec, SweepVariable, check_array
from fluxhive.core.errors import InputError

_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})(?:%([0-9]{1,9}))?")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_NUMBERS = re.compile(r"(-?[0-9]{1,15})\.\.(-?[0-9]{1,15})")
_HINT = "write `0-99`, `0-99%8`, or variables such as `lr=1e-3,1e-4 seed=0..4`"


def read_array(
    texts: Sequence[str], *, is_zip: bool = False, at_most: int | None = None
) -> ArraySpec | None:
    """The array that these texts mean; None without any. Raises ``InputError``."""
    if not texts:
        if is_zip or at_most is not None:
            option = "--zip" if is_zip else "--at-most"
            raise InputError(f"`{option}` is about an array", field=option, hint="add `--array`")
        return None
    words = [word for text in texts for word in text.split()]
    indexes = [match for word in words if (match := _RANGE.fullmatch(word))]
    variables = [_variable(word) for word in words if not _RANGE.fullmatch(word)]
    if len(indexes) > 1 or (indexes and variables):
        raise InputError(
            f"`--array` is either indexes or variables: `{' '.join(words)}`",
            field="--array",
            value=" ".join(words),
            hint=_HINT,
        )
    array = ArraySpec(variables=tuple(variables), zip=is_zip, at_most=at_most)
    if indexes:
        first, last, limit = indexes[0].groups()
        if int(last) < int(first):
            raise _bad(indexes[0][0])
        array = ArraySpec(
            first=int(first),
            count=int(last) - int(first) + 1,
            at_most=at_most if limit is None else int(limit),
        )
    return check_array(array)


def _variable(word: str) -> SweepVariable:
    match = _VARIABLE.fullmatch(word)
    if match is None:
        raise _bad(word)
    name, text = match[1], match[2]
    numbers = _NUMBERS.fullmatch(text)
    if numbers is not None:
        return SweepVariable(name=name, first=int(numbers[1]), last=int(numbers[2]))
    return SweepVariable(name=name, values=tuple(text.split(",")))


def _bad(word: str) -> InputError:
    text = f"`--array` is neither indexes nor a variable: `{word}`"
    return InputError(text, field="--array", value=word, hint=_HINT)

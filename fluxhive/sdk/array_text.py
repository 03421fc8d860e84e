"""Arrays as people write them: `0-99`, `0-99%8`, `lr=1e-3,1e-4 seed=0..4`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from fluxhive.core.array import ArraySpec, SweepVariable, check_array
from fluxhive.core.errors import InputError
from fluxhive.core.task import TaskSpec

_RANGE = re.compile(r"([0-9]{1,9})-([0-9]{1,9})(?:%([0-9]{1,9}))?")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_NUMBERS = re.compile(r"(-?[0-9]{1,15})\.\.(-?[0-9]{1,15})")
#: Begins like a range, and is none.
_NO_NUMBERS = re.compile(r"-?[0-9][0-9.]*\.\.")
#: A value's place in a command; `${name}` is the shell's.
_PLACE = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_]*)\}")
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


def check_places(spec: TaskSpec) -> TaskSpec:
    """The spec, unless its command names an array's variable wrongly. Raises ``InputError``.

    Braces mean much in a command: refused is only what almost names a variable that is used
    nowhere else.
    """
    if spec.array is None:
        return spec
    places = dict.fromkeys(_PLACE.findall(" ".join(spec.command)))
    unused = [each.name for each in spec.array.variables if each.name not in places]
    for place in places:
        near = get_close_matches(place, unused, n=1, cutoff=0.6)
        if near and place not in {each.name for each in spec.array.variables}:
            raise InputError(
                f"the command names `{{{place}}}`, and the array has no such variable",
                field="--array",
                value=place,
                hint=f"did you mean `{{{near[0]}}}`",
            )
    return spec


def _variable(word: str) -> SweepVariable:
    match = _VARIABLE.fullmatch(word)
    if match is None:
        raise _bad(word)
    name, text = match[1], match[2]
    numbers = _NUMBERS.fullmatch(text)
    if numbers is not None:
        return SweepVariable(name=name, first=int(numbers[1]), last=int(numbers[2]))
    if not text or _NO_NUMBERS.match(text):
        raise InputError(
            f"`--array` gives `{name}` no value" if not text else f"not a range: `{word}`",
            field="--array",
            value=word,
            hint=f"list the values, as `{name}=1,2,5`, or give two whole numbers, as `{name}=0..4`",
        )
    return SweepVariable(name=name, values=tuple(text.split(",")))


def _bad(word: str) -> InputError:
    text = f"`--array` is neither indexes nor a variable: `{word}`"
    return InputError(text, field="--array", value=word, hint=_HINT)

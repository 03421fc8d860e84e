"""Arrays: one task that stands for many alike. What its author writes, and how members are called.

Not here: what becomes of members (arrays.py) and how a hive counts them (array_record.py). A member
is called ``t-7f3k[5]`` by its index; the numbers after the array's own are kept for its members, so
that they are in the order of their indexes.
"""

from __future__ import annotations

import re

from .errors import InputError
from .values import TaskId, Value

#: Most members of one array.
MEMBERS_MAX = 100_000
#: What all written-out values may have together; longer lists belong into a file that tasks read.
VALUES_BYTES_MAX = 256 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_OURS = ("FLUXHIVE_", "FLOWHIVE_")
_MEMBER = re.compile(r"(.+)\[([0-9]{1,9})\]", re.DOTALL)


class SweepVariable(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that differs from member to member: values, or all whole numbers of a range."""

    name: str
    values: tuple[str, ...] = ()
    #: With ``last``: a range, both ends included, in place of values.
    first: int | None = None
    last: int | None = None

    @property
    def n_values(self) -> int:
        """How many values it has."""
        if self.first is not None and self.last is not None:
            return max(0, self.last - self.first + 1)
        return len(self.values)

    def value(self, position: int) -> str:
        """Its value at a position from 0 on."""
        return self.values[position] if self.first is None else str(self.first + position)


class ArraySpec(Value, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many members there are, and in what they differ."""

    #: Index of the first member.
    first: int = 0
    #: Number of members; with variables their product (zipped: their length), and may be left out.
    count: int = 0
    variables: tuple[SweepVariable, ...] = ()
    #: The variables go side by side in place of each with each.
    zip: bool = False
    #: So many members run at once at most. None: as many as there is room for.
    at_most: int | None = None

    @property
    def end(self) -> int:
        """One above the index of the last member."""
        return self.first + self.count

    def values_of(self, index: int) -> dict[str, str]:
        """The variables of the member with this index; the last one changes fastest."""
        position = index - self.first
        if self.zip:
            return {each.name: each.value(position) for each in self.variables}
        found: dict[str, str] = {}
        for each in reversed(self.variables):
            position, own = divmod(position, each.n_values)
            found[each.name] = each.value(own)
        return dict(reversed(found.items()))


class MemberCounts(Value, frozen=True, kw_only=True):
    """How many members of an array stand where."""

    #: Have not left the queue for the first time.
    waiting: int = 0
    #: Have left it and not ended.
    live: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0

    def __str__(self) -> str:
        parts = [
            f"{count} {word}"
            for count, word in (
                (self.waiting, "waiting"),
                (self.live, "active"),
                (self.succeeded, "succeeded"),
                (self.failed, "failed"),
                (self.cancelled, "cancelled"),
            )
            if count
        ]
        return ", ".join(parts) or "none"


class ArrayCount(Value, frozen=True, kw_only=True):
    """What a hive has to know of an array besides the tasks in its memory, to go on with it."""

    array_id: TaskId
    #: Every member below has been made a task of its own.
    next_index: int
    #: … and so have these above it.
    ahead: tuple[int, ...] = ()
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0


def member_id(array_id: TaskId, index: int) -> TaskId:
    """``t-7f3k[5]``."""
    return TaskId(f"{array_id}[{index}]")


def split_member(text: str) -> tuple[str, int] | None:
    """The array's name and the index in ``t-7f3k[5]``; None when it names no member."""
    match = _MEMBER.fullmatch(text)
    return None if match is None else (match[1], int(match[2]))


def check_array(array: ArraySpec) -> ArraySpec:
    """The same with its number of members. Raises ``InputError`` for what cannot be."""
    for number, variable in enumerate(array.variables):
        _check_variable(f"array.variables[{number}]", variable)
    names = [variable.name for variable in array.variables]
    if len(set(names)) < len(names):
        raise _bad("array.variables", names, "two variables have one name", "name each once")
    lengths = [variable.n_values for variable in array.variables]
    if array.zip and len(set(lengths)) != 1:
        text = "zipped variables must have equally many values"
        raise _bad("array.zip", lengths, text, "leave out `--zip`, or give each as many values")
    count = array.count
    if lengths:
        product = lengths[0] if array.zip else _product(lengths)
        if count not in (0, product):
            text = f"the variables make {product} members"
            raise _bad("array.count", count, text, "leave the number out")
        count = product
    if not 1 <= count <= MEMBERS_MAX:
        text = f"an array has 1 to {MEMBERS_MAX} members"
        raise _bad("array.count", count, text, "split it into several arrays")
    if not 0 <= array.first <= MEMBERS_MAX * 100:
        raise _bad("array.first", array.first, "not an index", "begin with 0 or a little above")
    if array.at_most is not None and array.at_most < 1:
        text = "at least one member must be able to run"
        raise _bad("array.at_most", array.at_most, text, "give 1 or more, or leave it out")
    size = sum(len(text.encode()) for each in array.variables for text in each.values)
    if size > VALUES_BYTES_MAX:
        text = f"the values have {size} bytes, at most {VALUES_BYTES_MAX} are allowed"
        raise _bad("array.variables", size, text, "put them into a file and use the index")
    return ArraySpec(
        first=array.first,
        count=count,
        variables=array.variables,
        zip=array.zip,
        at_most=array.at_most,
    )


def _check_variable(field: str, variable: SweepVariable) -> None:
    name = variable.name
    if not _NAME.fullmatch(name) or name.startswith(_OURS):
        text = "not a name for a variable of a sweep"
        raise _bad(f"{field}.name", name, text, "letters, digits and `_`, such as `lr`")
    is_range = variable.first is not None or variable.last is not None
    if is_range == bool(variable.values) or not 1 <= variable.n_values <= MEMBERS_MAX:
        text = f"has no values, or more than {MEMBERS_MAX}"
        raise _bad(f"{field}.values", name, text, "write `lr=1e-3,1e-4` or `seed=0..4`")
    for value in variable.values:
        if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            text = "a value has characters that no program can be given"
            raise _bad(f"{field}.values", ascii(value), text, "write it in valid UTF-8")


def _product(lengths: list[int]) -> int:
    product = 1
    for length in lengths:
        product *= length
    return product


def _bad(field: str, value: object, text: str, hint: str) -> InputError:
    return InputError(f"{field}: {text}: {value}", field=field, value=value, hint=hint)

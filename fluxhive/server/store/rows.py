"""Records of the core as rows of the tables, both ways. No SQL, no connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import fields

from fluxhive.core.fairshare import Usage
from fluxhive.core.learning import Learned
from fluxhive.core.node import Node
from fluxhive.core.task import Attempt, Task
from fluxhive.core.values import Value

Row = tuple[Any, ...]
R = TypeVar("R", bound=Value)

#: Columns in the order in which statements take them.
TASK_COLUMNS = (
    "id",
    "number",
    "owner",
    "array_id",
    "member_index",
    "spec",
    "name",
    "state",
    "epoch",
    "submitted_at_ms",
    "ended_at_ms",
    "rest",
)
ATTEMPT_COLUMNS = (
    "id",
    "task_id",
    "number",
    "epoch",
    "channel",
    "state",
    "node_id",
    "ended_at_ms",
    "facts",
    "late_report",
    "rest",
)
NODE_COLUMNS = ("id", "label", "state", "session", "rest")

LEARNED_COLUMNS = ("key", "seen_at_ms", "rest")
USAGE_COLUMNS = ("key", "rest")

_JSON_COLUMNS = frozenset({"spec", "facts", "late_report"})
#: Columns for queries alone; the record has them elsewhere.
_DERIVED_COLUMNS = frozenset({"name"})

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def to_json(value: object) -> str:
    """Any value of the core as JSON text."""
    return _encode(value).decode()


def from_json(text: str) -> Any:
    """JSON text as plain lists, dicts and scalars."""
    return _decode(text)


class _Rest(NamedTuple):
    """The fields of a record that have no column: one look at all of them, in their order."""

    names: tuple[str, ...]
    defaults: tuple[object, ...]
    values_of: Callable[[Value], tuple[object, ...]]


def _rest_fields(kind: type[Value], columns: Iterable[str]) -> _Rest:
    stored = frozenset(columns)
    rest = [field for field in fields(kind) if field.name not in stored]
    # With one name alone ``attrgetter`` gives no tuple.
    assert len(rest) > 1, kind
    return _Rest(
        tuple(field.encode_name for field in rest),
        tuple(field.default for field in rest),
        attrgetter(*(field.name for field in rest)),
    )


#: An edited task keeps the spec of its first day in its column; ``rest`` has the one that holds.
_EDITED = "edited"
_TASK_REST = _rest_fields(Task, (*TASK_COLUMNS, "original"))
_ATTEMPT_REST = _rest_fields(Attempt, ATTEMPT_COLUMNS)
_NODE_REST = _rest_fields(Node, NODE_COLUMNS)
_LEARNED_REST = _rest_fields(Learned, LEARNED_COLUMNS)
_USAGE_REST = _rest_fields(Usage, USAGE_COLUMNS)


def _rest(record: Value, rest: _Rest, more: Mapping[str, object] | None = None) -> str:
    values = zip(rest.names, rest.values_of(record), rest.defaults, strict=True)
    # Most are the default itself, which spares the comparison.
    plain = {
        name: value for name, value, default in values if value is not default and value != default
    }
    return to_json({**plain, **more} if more else plain)


def task_row(task: Task) -> Row:
    """Values for ``TASK_COLUMNS``."""
    return (
        task.id,
        task.number,
        task.owner,
        task.array_id,
        task.member_index,
        to_json(task.original or task.spec),
        *task_changes(task),
    )


def task_changes(task: Task) -> Row:
    """Values for the columns of a task that change: from ``name`` on."""
    edited = {} if task.original is None else {_EDITED: task.spec}
    return (
        task.spec.name,
        task.state.value,
        task.epoch,
        task.submitted_at_ms,
        task.ended_at_ms,
        _rest(task, _TASK_REST, edited),
    )


def attempt_row(attempt: Attempt) -> Row:
    """Values for ``ATTEMPT_COLUMNS``."""
    return (
        attempt.id,
        attempt.task_id,
        attempt.number,
        attempt.epoch,
        attempt.channel,
        attempt.state.value,
        attempt.node_id,
        attempt.ended_at_ms,
        None if attempt.facts is None else to_json(attempt.facts),
        None if attempt.late_report is None else to_json(attempt.late_report),
        _rest(attempt, _ATTEMPT_REST),
    )


def node_row(node: Node) -> Row:
    """Values for ``NODE_COLUMNS``."""
    return (node.id, node.label, node.state.value, node.session, _rest(node, _NODE_REST))


def learned_row(record: Learned) -> Row:
    """Values for ``LEARNED_COLUMNS``."""
    return (record.key, record.seen_at_ms, _rest(record, _LEARNED_REST))


def usage_row(usage: Usage) -> Row:
    """Values for ``USAGE_COLUMNS``."""
    return (usage.key, _rest(usage, _USAGE_REST))


def task_of_row(row: Mapping[Any, Any]) -> Task:
    """The task that was stored."""
    plain = _plain(row, TASK_COLUMNS)
    edited = plain.pop(_EDITED, None)
    if edited is not None:
        plain["original"], plain["spec"] = plain["spec"], edited
    return msgspec.convert(plain, Task)


def attempt_of_row(row: Mapping[Any, Any]) -> Attempt:
    """The attempt that was stored."""
    return _record(row, Attempt, ATTEMPT_COLUMNS)


def node_of_row(row: Mapping[Any, Any]) -> Node:
    """The node that was stored."""
    return _record(row, Node, NODE_COLUMNS)


def learned_of_row(row: Mapping[Any, Any]) -> Learned:
    """The record that was stored."""
    return _record(row, Learned, LEARNED_COLUMNS)


def usage_of_row(row: Mapping[Any, Any]) -> Usage:
    """The account that was stored."""
    return _record(row, Usage, USAGE_COLUMNS)


def _record(row: Mapping[Any, Any], kind: type[R], columns: tuple[str, ...]) -> R:
    return msgspec.convert(_plain(row, columns), kind)


def _plain(row: Mapping[Any, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    plain: dict[str, Any] = from_json(row["rest"])
    for column in columns:
        value = row[column]
        if value is None or column == "rest" or column in _DERIVED_COLUMNS:
            continue
        plain[column] = from_json(value) if column in _JSON_COLUMNS else value
    return plain

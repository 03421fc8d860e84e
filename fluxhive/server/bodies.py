"""JSON bodies into the Structs of ``protocol/rest.py``, or an error that names what is wrong.

Malformed JSON is 400 with its position; JSON that is not what is wanted is 422 with the field in
dots, the value and the closest name. Nothing here knows a route.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar

import msgspec

from fluxhive.core.errors import InputError

from .problems import Malformed, closest

#: Deeper nesting is never meant, and each level costs stack.
DEPTH_MAX = 64

T = TypeVar("T")

_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_AT = re.compile(r"(?P<what>.*) - at `\$?(?P<path>.*)`", re.S)
_AT_BYTE = re.compile(r"\(byte (\d+)\)")
_UNITS = {"_mib": " of MiB", "_ms": " of milliseconds", "_s": " of seconds"}
_IN_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text in quotes",
    "boolean": "`true` or `false`",
    "array": "a list, in `[` and `]`",
    "object": "an object, in `{` and `}`",
}
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


def decode(data: bytes, kind: type[T]) -> T:
    """The body as ``kind``. Raises ``Malformed`` (400) or ``InputError`` (422)."""
    if not data.strip():
        raise Malformed("the body is empty", hint="send a JSON object")
    _check_depth(data)
    key: Any = kind
    try:
        decoded: T = _decoder(key).decode(data)
        return decoded
    except msgspec.ValidationError as error:
        raise _wrong(data, kind, str(error)) from error
    except UnicodeError as error:
        raise Malformed("the body is not valid UTF-8", hint="encode it as UTF-8") from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise _malformed(data, str(error)) from error


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _check_depth(data: bytes) -> None:
    """Before anything recurses. Strings are taken out first: brackets in them are text."""
    if data.count(b"[") + data.count(b"{") <= DEPTH_MAX:
        return
    depth = 0
    # Linear whatever is sent, which a regular expression for strings is not.
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    for byte in b"".join(plain.split(b'"')[::2]).translate(None, _NOT_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        if depth > DEPTH_MAX:
            raise Malformed(
                f"the body is nested deeper than {DEPTH_MAX} levels",
                hint="no request needs more than a few",
            )


def _malformed(data: bytes, said: str) -> Malformed:
    match = _AT_BYTE.search(said)
    if match is None:
        # msgspec says so for an end in the middle, and for half a surrogate pair.
        return Malformed(
            f"the body is not valid JSON: {_first_low(said)}",
            hint="is all of it there, and every `\\u` escape a whole character?",
        )
    offset = int(match[1])
    line = data.count(b"\n", 0, offset) + 1
    column = offset - (data.rfind(b"\n", 0, offset) + 1) + 1
    reason = _first_low(said.partition(" (byte")[0]).removeprefix("JSON is malformed: ")
    near = data[max(0, offset - 20) : offset + 20].decode("utf-8", "replace")
    return Malformed(
        f"the body is not valid JSON: {reason} at line {line}, column {column}",
        hint=f"near `{near}`",
    )


def _wrong(data: bytes, kind: type[Any], said: str) -> InputError:
    match = _AT.fullmatch(said)
    what, path = (match["what"], match["path"].lstrip(".")) if match else (said, "")
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what, re.S)
    missing = re.fullmatch(r"Object missing required field `(.*)`", what, re.S)
    schema = _schema_at(kind, path)
    if unknown is not None:
        known = schema.get("properties", {})
        field = f"{path}.{unknown[1]}" if path else unknown[1]
        hint = closest(unknown[1], known) or f"known are {', '.join(f'`{k}`' for k in known)}"
        return InputError(f"{field}: there is no such field", field=field, hint=hint)
    if missing is not None:
        field = f"{path}.{missing[1]}" if path else missing[1]
        return InputError(f"{field}: is missing", field=field, hint=f"give `{missing[1]}`")
    where = path or "the body"
    return InputError(
        f"{where}: {_first_low(what)}",
        field=path,
        value=_value_at(data, path),
        hint=_remedy(path, schema),
    )


def _remedy(path: str, schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{word}`" for word in schema["enum"])
    kind = str(schema.get("type", ""))
    unit = next((said for end, said in _UNITS.items() if path.endswith(end)), "")
    return f"write {_IN_WORDS.get(kind, 'it as the reference says: /')}{unit}"


def _value_at(data: bytes, path: str) -> object:
    """What stands in the body at a path; None when that cannot be told."""
    try:
        found: Any = msgspec.json.decode(data)
        for name, index in _STEP.findall(path):
            found = found[int(index)] if index else found[name]
    except (msgspec.MsgspecError, KeyError, IndexError, TypeError, ValueError, RecursionError):
        return None
    return found if path else None


@cache
def _schemas(kind: Hashable) -> tuple[dict[str, Any], dict[str, Any]]:
    (top,), parts = msgspec.json.schema_components([kind], ref_template="{name}")
    return top, parts


def _schema_at(kind: type[Any], path: str) -> dict[str, Any]:
    """The JSON schema of a field; empty when the path leads out of it."""
    key: Any = kind
    top, parts = _schemas(key)
    schema = _resolved(top, parts)
    for name, index in _STEP.findall(path):
        following = schema.get("items") if index else schema.get("properties", {}).get(name)
        if not isinstance(following, dict):
            return {}
        schema = _resolved(following, parts)
    return schema


def _resolved(schema: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            schema = choice
            break
    name = schema.get("$ref")
    return schema if name is None else parts[name]


def _first_low(text: str) -> str:
    return text if text.startswith("JSON") else text[:1].lower() + text[1:]

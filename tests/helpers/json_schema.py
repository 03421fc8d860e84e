"""Checks a value against the part of JSON Schema (2020-12) that our OpenAPI document uses.

An unknown keyword fails: nothing is passed over in silence.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_NOTES = frozenset({"title", "description", "default", "discriminator", "format"})


def check(value: Any, schema: Schema, document: Schema, at: str = "$") -> None:
    """Raises ``AssertionError`` naming the place where the value is not what the schema says."""
    for word, wanted in schema.items():
        if word in _NOTES:
            continue
        if word == "$ref":
            found = document
            for step in wanted.removeprefix("#/").split("/"):
                found = found[step]
            check(value, found, document, at)
        elif word == "anyOf":
            assert any(_fits(value, each, document) for each in wanted), (
                f"{at}: fits none: {value!r}"
            )
        elif word == "enum":
            assert value in wanted, f"{at}: {value!r} is none of {wanted}"
        elif word == "const":
            assert value == wanted, f"{at}: {value!r}"
        elif word == "type":
            is_bool = isinstance(value, bool) and wanted != "boolean"
            is_it = isinstance(value, _TYPES[wanted]) and not is_bool
            assert is_it, f"{at}: no {wanted}: {value!r}"
        elif word == "required":
            missing = set(wanted) - set(value)
            assert not missing, f"{at}: missing {missing}"
        elif word == "properties":
            for name in set(wanted) & set(value):
                check(value[name], wanted[name], document, f"{at}.{name}")
        elif word == "additionalProperties":
            others = set(value) - set(schema.get("properties", {}))
            if wanted is False:
                assert not others, f"{at}: not allowed: {others}"
            elif wanted is not True:
                for name in others:
                    check(value[name], wanted, document, f"{at}.{name}")
        elif word == "items":
            for number, each in enumerate(value):
                if wanted is not False:
                    check(each, wanted, document, f"{at}[{number}]")
        elif word == "minimum":
            assert value >= wanted, f"{at}: below {wanted}"
        elif word == "maximum":
            assert value <= wanted, f"{at}: above {wanted}"
        else:
            raise AssertionError(f"{at}: the checker does not know `{word}`")


def _fits(value: Any, schema: Schema, document: Schema) -> bool:
    try:
        check(value, schema, document)
    except AssertionError:
        return False
    return True

"""Bodies that are not what is wanted: the answer names the field, the value and the remedy."""

from __future__ import annotations

import time

import msgspec
import pytest

from fluxhive.core.errors import InputError
from fluxhive.core.task import TaskSpec
from fluxhive.protocol.rest import Login, TaskBatch
from fluxhive.server.bodies import DEPTH_MAX, decode
from fluxhive.server.problems import Malformed, problem_of


def refused(body: bytes, kind: type = TaskSpec) -> InputError:
    with pytest.raises(InputError) as error:
        decode(body, kind)
    return error.value


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "empty"),
        (b" \n ", "empty"),
        (b'{"command": ["true"]', "truncated"),
        (b'{"command": NaN}', "line 1, column 13"),
        (b'{"command": ["true"],\n "retry": 01}', "line 2"),
        (b'{"command": ["true"]} {}', "column 24"),
        (b"{'command': 1}", "column 2"),
        (b'{"command": ["true"], "retry": Infinity}', "column 32"),
        (b"\xff\xfe", "column 1"),
        (b'{"command": ["\xff"]}', "UTF-8"),
        (b'{"command": ["\\ud800"]}', "JSON"),
        (b'{"command":' + b"[" * 100_000, "64 levels"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "64 levels"),
    ],
)
def test_what_is_no_json_is_400_with_its_place(body: bytes, named: str) -> None:
    error = refused(body)
    assert isinstance(error, Malformed)
    assert error.http_status == 400
    assert named in error.text
    assert error.hint


@pytest.mark.parametrize(
    ("body", "field", "value", "hint"),
    [
        (b'{"command": ["a"], "retrys": 1}', "retrys", "", "`retry`"),
        (b'{"command": ["a"], "request": {"gpu": 1}}', "request.gpu", "", "`gpus`"),
        (b'{"command": ["a"], "zzzzzz": 1}', "zzzzzz", "", "known are `command`"),
        (b"{}", "command", "", "give `command`"),
        (b'{"command": ["a"], "executor": "slurm"}', "executor", "slurm", "`shell`"),
        (b'{"command": ["a"], "retry": "two"}', "retry", "two", "a whole number"),
        (
            b'{"command": ["a"], "request": {"memory_mib": "8G"}}',
            "request.memory_mib",
            "8G",
            "a whole number of MiB",
        ),
        (b'{"command": "true"}', "command", "true", "a list"),
        (b'{"command": ["a", 3]}', "command[1]", "3", "a text"),
        (b'{"command": ["a"], "at_most_once": "no"}', "at_most_once", "no", "`true` or `false`"),
        (b'{"command": ["a"], "retry": 1e400}', "retry", "", "a whole number"),
        (b"[]", "", "", "an object"),
        (b"null", "", "", "an object"),
    ],
)
def test_json_that_is_not_wanted_is_422_with_field_value_and_remedy(
    body: bytes, field: str, value: str, hint: str
) -> None:
    error = refused(body)
    problem = problem_of(error)
    assert (problem.status, problem.field, problem.value) == (422, field, value)
    assert hint in problem.hint
    assert problem.detail


def test_the_place_in_a_batch_is_named() -> None:
    body = b'{"tasks": [{"command": ["a"]}, {"command": ["b"], "request": {"cpus": "x"}}]}'
    assert refused(body, TaskBatch).field == "tasks[1].request.cpus"
    body = b'{"tasks": [{"command": ["a"]}, {"command": ["b"], "nam": "x"}]}'
    error = refused(body, TaskBatch)
    assert error.field == "tasks[1].nam"
    assert "`name`" in str(error.hint)


def test_a_secret_is_never_said_again() -> None:
    for body in (
        b'{"username": "bob", "password": ["hunter2"]}',
        b'{"username": "bob", "password": {"a": "hunter2"}}',
    ):
        assert "hunter2" not in str(problem_of(refused(body, Login)))
    error = refused(b'{"command": ["a"], "env": {"KEY": ["hunter2"]}}')
    assert "hunter2" not in str(problem_of(error))


def test_the_deepest_allowed_nesting_is_allowed_and_brackets_in_text_do_not_count() -> None:
    text = '[{"' * 500 + '\\"' + "[" * 500
    spec = decode(msgspec.json.encode({"command": [text]}), TaskSpec)
    assert spec.command == (text,)
    many = TaskBatch(tasks=[TaskSpec(command=("a",))] * 200)
    assert len(decode(msgspec.json.encode(many), TaskBatch).tasks) == 200
    assert "levels" not in refused(b"[" * DEPTH_MAX).text
    assert "levels" in refused(b"[" * (DEPTH_MAX + 1)).text


@pytest.mark.parametrize(
    "body",
    [
        b'{"command": ["' + b'\\"' * 4_000_000,
        b"[" * 8_000_000,
        b'"' * 8_000_000,
        b"{}" * 4_000_000,
        b'{"a":' + b"9" * 8_000_000 + b"}",
        b'{"retry":' + b"9" * 100_000 + b"}",
    ],
    ids=["quotes", "brackets", "strings", "objects", "digits", "integer"],
)
def test_no_body_costs_more_than_its_length(body: bytes) -> None:
    """Goal: checking is linear. Method: a quadratic check of 8 MB would take hours."""
    began = time.monotonic()
    refused(body)
    assert time.monotonic() - began < 60


def test_half_a_character_in_an_error_can_be_sent() -> None:
    error = InputError("name: `\ud800`", field="name", value="\ud800")
    assert msgspec.json.encode(problem_of(error))

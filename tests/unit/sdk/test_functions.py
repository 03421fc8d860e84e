"""Functions on their way to a task and back: what is sent runs there, and what it did comes back.

The program of such a task is run here as a node would run it, in a process of its own.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from fluxhive.core.errors import InputError
from fluxhive.sdk import functions
from fluxhive.sdk.failures import ResultLost, WrongPython
from fluxhive.sdk.functions import Call, CallFailed, RemoteTraceback, name_of, pack_calls, value_of


class Place:
    """Where a call is unpacked and made."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def unpack(self, function: Callable[..., Any], *calls: Call, **options: Any) -> None:
        with pack_calls(function, calls or (Call(),), **options).file as file:
            data = file.read()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            tar.extractall(self.root, filter="data")

    def run(self, **variables: str) -> tuple[int, bytes, str]:
        """Exit code, result and what it said."""
        result = self.root / "result"
        result.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, ".fluxhive/call.py"],
            cwd=self.root,
            env={"PATH": os.environ["PATH"], "FLUXHIVE_RESULT": str(result), **variables},
            capture_output=True,
            text=True,
        )
        return done.returncode, result.read_bytes() if result.exists() else b"", done.stderr

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.unpack(function, Call(args, kwargs))
        return value_of(self.run()[1], function="f", task_id="t-1")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def divide(a: float, b: float = 1.0) -> float:
    return a / b


def test_a_function_is_called_there_and_its_value_comes_back(place: Place) -> None:
    assert place(divide, 1.0, b=4.0) == 0.25
    assert place(lambda: {"where": os.getpid()})["where"] != os.getpid()


def test_what_it_raises_is_raised_here_with_where_it_was(place: Place) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        place(divide, 1.0, b=0.0)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "return a / b" in str(cause) or "in divide" in str(cause)
    assert "call_program" not in str(cause)


def test_an_error_that_cannot_be_pickled_is_told(place: Place) -> None:
    def stubborn() -> None:
        class Stubborn(Exception):
            def __init__(self, one: int, two: int) -> None:
                super().__init__("no")

        raise Stubborn(1, 2)

    with pytest.raises(CallFailed, match="f raised Stubborn: no"):
        place(stubborn)


def test_each_member_of_a_map_makes_its_own_call(place: Place) -> None:
    place.unpack(divide, *(Call((float(n),), {"b": 2.0}) for n in range(4)))
    for index in (0, 3):
        code, data, _ = place.run(FLUXHIVE_ARRAY_INDEX=str(index))
        assert (code, value_of(data, function="f", task_id="t-1")) == (0, index / 2)


def test_a_coroutine_is_run_and_an_exit_is_one(place: Place) -> None:
    async def later() -> int:
        return 7

    assert place(later) == 7
    place.unpack(lambda: sys.exit(3))
    assert place.run()[0] == 3


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        (lambda: (n for n in ()), "unpicklable", "type `generator` cannot be pickled"),
        (lambda: bytes(70 << 20), "too-large", "has 70 MiB pickled, and at most 64 are taken"),
    ],
)
def test_what_cannot_come_back_fails_the_task_with_the_remedy(
    place: Place, function: Callable[[], Any], kind: str, said: str
) -> None:
    place.unpack(function)
    code, data, err = place.run()
    assert (code, json.loads(data.partition(b"\n")[0])["kind"]) == (1, kind)
    assert said in err
    with pytest.raises(CallFailed, match="f: its result") as caught:
        value_of(data, function="f", task_id="t-1")
    assert caught.value.hint


def test_another_python_says_so_and_calls_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 4, 1))
    place.unpack(lambda: 1 / 0)
    monkeypatch.undo()
    code, data, err = place.run()
    assert code == 1
    assert "it was pickled by cpython 3.4, and" in err
    with pytest.raises(WrongPython, match=r"f was not called: it was pickled by cpython 3\.4"):
        value_of(data, function="f", task_id="t-1")


def test_another_cloudpickle_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudpickle, "__version__", "99.0")
    place.unpack(lambda: 1)
    assert "pickled by cloudpickle 99.0" in place.run()[2]


def test_a_result_of_another_python_or_a_damaged_one_is_not_unpickled(place: Place) -> None:
    place.unpack(divide, Call((1.0,)))
    data = place.run()[1]
    ours = f'"python": "{".".join(str(part) for part in sys.version_info[:3])}"'.encode()
    with pytest.raises(WrongPython, match=r"was pickled by Python 3\.4\.1, and this is 3\."):
        value_of(data.replace(ours, b'"python": "3.4.1"'), function="f", task_id="t-1")
    for damaged in (data[:-1], data[:-1] + b"x", b"", b"no json\n"):
        with pytest.raises(ResultLost):
            value_of(damaged, function="f", task_id="t-1")


def test_modules_beside_the_program_come_along_by_value(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "my_helpers.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.chdir(mine)
    monkeypatch.syspath_prepend(str(mine))
    import my_helpers  # type: ignore[import-not-found]

    place.unpack(lambda: my_helpers.double(21))
    monkeypatch.setattr(functions, "_local_modules", list)
    (mine / "my_helpers.py").unlink()
    code, data, _ = place.run()
    assert (code, value_of(data, function="f", task_id="t-1")) == (0, 42)


def test_a_directory_of_code_comes_along_as_files(place: Place, tmp_path: Path) -> None:
    code = tmp_path / "code"
    (code / "pkg").mkdir(parents=True)
    (code / "pkg" / "data.txt").write_text("here")
    place.unpack(lambda: Path("pkg/data.txt").read_text(), code=str(code))
    assert value_of(place.run()[1], function="f", task_id="t-1") == "here"


def test_what_a_function_uses_and_cannot_be_sent_is_named() -> None:
    connection = threading.Lock()
    with pytest.raises(InputError) as caught:
        pack_calls(lambda: connection.locked(), [Call()])
    assert caught.value.text == (
        "the function cannot be pickled: `connection`, which it uses, is of type `lock` "
        "(cannot pickle '_thread.lock' object)"
    )


def test_a_traceback_names_the_file_and_shows_the_line(place: Place) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        place(divide, 1, b=0)
    told = str(caught.value.__cause__)
    assert f'File "{__file__}", line ' in told
    assert "    return a / b\n" in told


def test_a_line_is_shown_though_the_node_has_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    path.write_text("def fit():\n    raise ValueError\n")
    told = RemoteTraceback(f'Traceback:\n  File "{path}", line 2, in fit\nValueError\n')
    assert "in fit\n    raise ValueError\nValueError" in str(told)
    known = f'  File "{path}", line 2, in fit\n    as it was\nValueError'
    assert known in str(RemoteTraceback(known))


def test_what_cannot_be_sent_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="arguments of call 0 cannot be pickled") as caught:
        pack_calls(divide, [Call((threading.Lock(),))])
    assert "inside the function" in (caught.value.hint or "")


def test_functions_have_names_that_people_know_them_by() -> None:
    assert name_of(divide).endswith("test_functions.divide")

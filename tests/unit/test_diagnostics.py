"""Log lines: one a line whatever is in them, and the first cause of a group of errors."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from fluxhive import diagnostics
from fluxhive.core.errors import InputError

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

log = logging.getLogger("fluxhive.somewhere")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("fluxhive")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])


def test_a_terminal_gets_key_value_pairs_and_a_forged_line_stays_one_line() -> None:
    out = Terminal()
    diagnostics.setup("info", stream=out)
    log.info("attempt ended", extra={"attempt": "t-1.1", "said": "x\n12:00 error forged\x1b[2J"})
    (line,) = out.getvalue().splitlines()
    assert line.endswith(
        r'info    attempt ended attempt=t-1.1 said="x\\n12:00 error forged\\x1b[2J"'
    )


def test_elsewhere_each_line_is_a_json_object() -> None:
    out = io.StringIO()
    diagnostics.setup("debug", stream=out)
    log.debug("placed", extra={"gpus": 2, "node": None})
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    placed, failed = map(json.loads, out.getvalue().splitlines())
    assert placed | {"at": 0} == {
        "at": 0, "level": "debug", "logger": "fluxhive.somewhere", "event": "placed",
        "gpus": 2, "node": None,
    }  # fmt: skip
    assert "ValueError: broken" in failed["exception"]


def test_libraries_are_heard_from_warning_on() -> None:
    out = io.StringIO()
    diagnostics.setup("debug", stream=out)
    logging.getLogger("urllib3").info("chatter")
    logging.getLogger("urllib3").warning("trouble")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["trouble"]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        diagnostics.setup("loud")
    assert caught.value.hint == "one of debug, info, warning, error"


def test_the_first_cause_comes_out_of_nested_groups() -> None:
    cause = ValueError("the one")
    group = BaseExceptionGroup("outer", [ExceptionGroup("inner", [cause, KeyError()]), OSError()])
    assert diagnostics.first_cause(group) is cause
    assert diagnostics.first_cause(cause) is cause

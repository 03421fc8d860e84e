"""Traffic alone does not test a state machine: every row of the four tables has to be walked.

All stories are told once more, and the rows they walk are collected. A row that no story walks is
either a missing story or a row that cannot happen; both are mistakes.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

from fluxhive.core.hive_settings import DEFAULT_SETTINGS, HiveSettings
from fluxhive.core.reactions import ON_ABSENT, ON_REPORT
from fluxhive.core.task import ATTEMPT_MOVES, TASK_MOVES
from tests.helpers.hive import Hive
from tests.helpers.told_hive import Row

TESTS = Path(__file__).parent.parent


def stories() -> Iterator[tuple[Callable[..., None], HiveSettings]]:
    """Every test that takes a hive and nothing else, and what its file tells that hive."""
    for path in [TESTS / "test_task_manager.py", *sorted((TESTS / "stories").glob("test_*.py"))]:
        if path == Path(__file__):
            continue
        spec = importlib.util.spec_from_file_location(f"stories_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, function in vars(module).items():
            if name.startswith("test_") and list(inspect.signature(function).parameters) == [
                "hive"
            ]:
                yield function, getattr(module, "SETTINGS", DEFAULT_SETTINGS)


def rows() -> set[Row]:
    """Every row of the four tables."""
    found: set[Row] = {("task", old, new) for old, new in TASK_MOVES}
    found |= {("attempt", old, new) for old, new in ATTEMPT_MOVES}
    found |= {("report", kind, state) for kind, cells in ON_REPORT.items() for state in cells}
    found |= {("absent", intact, state) for intact, cells in ON_ABSENT.items() for state in cells}
    return found


def test_every_row_of_the_tables_is_walked_by_a_story() -> None:
    walked: set[Row] = set()
    for story, settings in stories():
        hive = Hive(settings)
        story(hive)
        walked |= hive.walked
    assert not sorted(map(str, rows() - walked)), "no story walks these rows"
    assert not sorted(map(str, walked - rows())), "a story walks rows that no table has"

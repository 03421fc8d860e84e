"""The agent with the means that every POSIX system has: what runs on macOS, proven on Linux.

The lives and deaths of ``test_agent_life.py`` that hold on every system, played with
``FLOWHIVE_PORTABLE``; docs/systems.md says what does not hold.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fluxhive.core.outcome import OutcomeKind
from tests.helpers.agent_hive import AgentHive
from tests.helpers.attempts import kill_marked, new_mark, pids_with_mark
from tests.helpers.cli_hive import until
from tests.integration.test_agent_life import (  # noqa: F401
    test_a_killed_supervisor_takes_its_task_along_and_is_not_taken_for_success,
    test_a_running_task_is_adopted_after_the_agent_was_killed,
    test_a_supervisor_that_somebody_has_stopped_tells_the_end_of_its_task_all_the_same,
    test_a_task_that_ended_while_nobody_looked_is_told_exactly,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the POSIX supervisor")


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.env["FLOWHIVE_PORTABLE"] = "1"
    hive.start_server()
    hive.start_agent()
    yield hive
    hive.close()


def test_a_cancelled_tree_is_gone_and_its_supervisor_is_the_portable_one(
    hive: AgentHive,
) -> None:
    mark = new_mark()
    try:
        line = f"setsid sleep {mark} & ( ( setsid sleep {mark} & ) & ); sleep {mark}"
        task = hive.submit(line, grace_ms=1_000)
        until(lambda: len(pids_with_mark(mark)) == 3, what="the whole tree")
        started = hive.run_directory(hive.task(task).attempts[0].id) / "started"
        shim = psutil.Process(json.loads(started.read_text())["shim_pid"])
        assert "fluxhive.agent.portable_shim" in shim.cmdline()
        hive.cancel(task)
        assert hive.ended(task).state.value == "cancelled"
        assert pids_with_mark(mark) == []
    finally:
        kill_marked(mark)


def test_ends_are_told_as_they_were(hive: AgentHive) -> None:
    by_code = hive.submit("echo out; echo err >&2; exit 41")
    by_signal = hive.submit("kill -SEGV $$")
    too_long = hive.submit("sleep 600", time_limit_ms=500)
    ends = [hive.ended(task).outcome for task in (by_code, by_signal, too_long)]
    assert [end and (end.kind, end.exit_code, end.signal) for end in ends] == [
        (OutcomeKind.FAILURE, 41, None),
        (OutcomeKind.FAILURE, None, 11),
        (OutcomeKind.TIME_LIMIT, None, 15),
    ]
    assert hive.log(by_code, size=4) == b"out\n"
    assert hive.log(by_code, "stderr", size=4) == b"err\n"
    assert "less holds here than on Linux" in hive.said()

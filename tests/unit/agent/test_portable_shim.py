"""The portable supervisor under the tests of Linux's own: what a run directory promises is one.

Those of its tests are left out that are about what only Linux has: a program that dies with its
supervisor, and escapees that have emptied their environment, which docs/systems.md names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fluxhive.agent import tree_posix
from tests.helpers import attempts
from tests.helpers.attempts import (
    exit_of,
    kill_marked,
    new_mark,
    pids_with_mark,
    shell,
    start_alone,
    wait_until,
)
from tests.unit.agent.test_shim import (  # noqa: F401
    test_a_child_has_the_grace_even_if_the_shell_above_it_dies_at_once,
    test_a_command_that_cannot_be_executed_says_why,
    test_a_damaged_spec_starts_nothing,
    test_a_death_by_signal_is_no_exit_code,
    test_a_disk_that_is_full_for_the_output_costs_no_exit_code,
    test_a_full_disk_starts_nothing_that_it_could_not_report,
    test_a_leftover_is_asked_before_it_is_killed,
    test_a_leftover_that_ignores_sigterm_is_killed,
    test_a_missing_working_directory_is_named,
    test_a_script_that_cannot_be_executed_says_why,
    test_a_shim_that_slept_through_lease_and_grace_kills_at_once,
    test_a_task_has_no_descriptor_but_the_standard_three,
    test_a_task_is_stopped_when_the_node_was_without_contact_for_too_long,
    test_a_task_that_ignores_sigterm_is_killed_after_its_grace,
    test_an_attempt_is_never_executed_twice,
    test_an_environment_that_no_program_can_be_given_starts_nothing,
    test_bytes_that_are_no_utf_8_survive_in_arguments_and_environment,
    test_files_of_an_attempt_are_readable_by_its_user_alone,
    test_output_can_be_merged_in_the_order_of_writing,
    test_renewed_contact_keeps_a_task_alive,
    test_signals_of_a_task_are_as_a_shell_would_find_them,
    test_sigterm_to_the_shim_lets_the_task_end_by_itself,
    test_sigusr1_kills_without_grace,
    test_the_environment_is_exactly_what_was_given,
    test_the_exit_code_is_recorded,
    test_the_time_limit_stops_a_task,
    test_what_is_without_contact_for_too_long_before_its_start_is_not_started,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the POSIX supervisor")

#: They leave their parents, their session or both, and keep their environment.
RUNAWAYS = """
sleep {mark} &
setsid sleep {mark} &
( ( setsid sleep {mark} & ) & )
( nohup setsid sleep {mark} >/dev/null 2>&1 & )
"""


@pytest.fixture(autouse=True)
def _portable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "SUPERVISOR", attempts.PORTABLE_SUPERVISOR)


@pytest.fixture
def mark() -> Iterator[str]:
    """A mark whose processes are gone after the test in any case."""
    mark = new_mark()
    yield mark
    kill_marked(mark)


def test_what_left_its_parents_and_its_session_is_found_by_its_environment(
    tmp_path: Path, mark: str
) -> None:
    run_dir = shell(tmp_path, RUNAWAYS.format(mark=mark) + "exit 4", grace_ms=1_000)
    process = start_alone(run_dir)
    process.wait(attempts.PATIENCE_S)
    assert exit_of(run_dir).code == 4
    assert exit_of(run_dir).leftovers == 4
    assert pids_with_mark(mark) == []


def test_a_stop_reaches_what_ran_away(tmp_path: Path, mark: str) -> None:
    run_dir = shell(tmp_path, RUNAWAYS.format(mark=mark) + "sleep 600", grace_ms=1_000)
    process = start_alone(run_dir)
    wait_until(lambda: len(pids_with_mark(mark)) == 4, "the runaways")
    process.terminate()
    process.wait(attempts.PATIENCE_S)
    assert exit_of(run_dir).stopped_by == "stop"
    assert pids_with_mark(mark) == []


def test_a_session_whose_number_is_another_programs_by_now_is_left_alone() -> None:
    """Goal: no stranger is killed. Method: our own session, named with another start time."""
    leader = psutil.Process(psutil.Process().pid)
    session = tree_posix._session_of(leader.pid)
    assert session is not None
    started_s = tree_posix.start_of(session)
    if started_s == 0.0:
        pytest.skip("the leader of this session has ended")
    strangers = tree_posix.processes_of(new_mark(), session=(session, started_s - 60))
    assert strangers == []

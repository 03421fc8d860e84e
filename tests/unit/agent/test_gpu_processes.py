"""Who is on a GPU: what the agent's own ``/proc`` shows of the pids that the driver lists."""

from __future__ import annotations

import os
import pwd
import subprocess

import pytest

from fluxhive.agent.gpu_processes import PROCESSES_MAX, GpuUsers, shown_command
from fluxhive.core.gpu_monitor import ProcessUse, Reading
from fluxhive.core.health import GpuProcesses
from fluxhive.core.values import AttemptId, GpuUuid

NOBODYS = 2**22 + 1  # above every pid that Linux gives


def look(
    *pids: int, owners: dict[int, AttemptId | None] | None = None, sees_all_pids: bool = True
) -> GpuProcesses:
    processes = tuple(ProcessUse(pid=pid, used_mib=100 + i) for i, pid in enumerate(pids))
    reading = Reading(uuid=GpuUuid("GPU-a"), index=0, processes=processes)
    return GpuUsers().look(reading, owners or {}, sees_all_pids=sees_all_pids)


def test_a_process_has_its_user_its_command_and_its_attempt() -> None:
    with subprocess.Popen(["sleep", "600", "--token=abc"], stderr=subprocess.DEVNULL) as other:
        found = look(os.getpid(), other.pid, owners={os.getpid(): AttemptId("t-1.1")})
        other.kill()
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert found.processes is not None
    largest, mine = found.processes
    assert (mine.user, mine.attempt_id, largest.user) == (me, "t-1.1", me)
    assert "python" in mine.command or "pytest" in mine.command
    assert largest.attempt_id is None


@pytest.mark.parametrize("sees_all_pids", [True, False])
def test_what_cannot_be_seen_has_no_name(sees_all_pids: bool) -> None:
    """In a container the driver's pids are the host's: ours of that number is another process."""
    pid = NOBODYS if sees_all_pids else os.getpid()
    found = look(pid, sees_all_pids=sees_all_pids)
    assert [(p.pid, p.user, p.command) for p in found.processes or ()] == [(pid, "", "")]


def test_a_card_that_lists_nobody_knowingly_differs_from_one_that_does_not_say() -> None:
    assert look().processes == ()
    unknown = GpuUsers().look(Reading(uuid=GpuUuid("GPU-a"), index=0), {}, sees_all_pids=True)
    assert unknown.processes is None


def test_of_many_the_largest_are_named_and_the_others_counted() -> None:
    found = look(*range(NOBODYS, NOBODYS + PROCESSES_MAX + 3))
    assert len(found.processes or ()) == PROCESSES_MAX
    assert found.n_more == 3
    assert (found.processes or ())[0].used_mib == 100 + PROCESSES_MAX + 2


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["python", "train.py", "--lr", "1e-4"], "python train.py --lr 1e-4"),
        (["x", "--api-key", "abc", "--lr", "1"], "x --api-key *** --lr 1"),
        (["x", "--token=abc", "WANDB_API_KEY=abc"], "x --token=*** WANDB_API_KEY=***"),
        (["git", "clone", "https://me:pw@host/x"], "git clone https://***@host/x"),
        (["x", "--monkey", "bars", "a\nb"], "x --monkey bars a b"),
        (["x" * 500], "x" * 199 + "…"),
    ],
)
def test_secrets_in_a_command_are_hidden_and_the_rest_is_shown(
    words: list[str], shown: str
) -> None:
    assert shown_command(words) == shown

"""What tasks print, from their files to the server's disk: every byte once, whatever happens."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxhive.core.outcome import OutcomeKind
from fluxhive.core.spec import TaskSpec
from fluxhive.core.task import ExecutorKind
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until
from tests.helpers.stand_in_torch import stand_in_torch

MIB = 1 << 20

#: Prints pseudo-random bytes (the same each time) in bursts of odd sizes.
PRINTER = """
import hashlib, os, sys, time
size, pause = int(sys.argv[1]), float(sys.argv[2])
made = n = 0
while made < size:
    block = hashlib.shake_128(n.to_bytes(8, "big")).digest(min(77_777, size - made))
    os.write(1, block)
    made += len(block)
    n += 1
    if pause:
        time.sleep(pause)
"""


def printed(size: int) -> bytes:
    blocks, made, n = [], 0, 0
    while made < size:
        blocks.append(hashlib.shake_128(n.to_bytes(8, "big")).digest(min(77_777, size - made)))
        made += len(blocks[-1])
        n += 1
    return b"".join(blocks)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hive(tmp_path: Path) -> Iterator[AgentHive]:
    hive = AgentHive(tmp_path)
    hive.start_server()
    hive.start_agent()
    (tmp_path / "printer.py").write_text(PRINTER)
    yield hive
    hive.close()


def printer(hive: AgentHive, size: int, pause_s: float = 0.0) -> str:
    return hive.submit(f"{sys.executable} {hive.home}/printer.py {size} {pause_s}")


def test_fifty_megabytes_arrive_byte_for_byte(hive: AgentHive) -> None:
    size = 50 * MIB
    task = printer(hive, size)
    assert hive.ended(task, limit_s=100).state.value == "succeeded"
    assert digest(hive.log(task, size=size)) == digest(printed(size))


def test_output_survives_kills_of_agent_and_server_with_bytes_under_way(hive: AgentHive) -> None:
    size = 20 * MIB
    task = printer(hive, size, pause_s=0.01)
    until(lambda: hive.run_directories(), what="the run directory")
    for turn in range(4):
        before = len(hive.log(task))
        until(lambda before=before: len(hive.log(task)) > before or hive.is_final(task))
        if turn % 2:
            hive.kill_server()
            hive.start_server()
        else:
            hive.kill_agent()
            hive.start_agent()
    end = hive.ended(task, limit_s=100)
    assert end.state.value == "succeeded"
    assert len(end.attempts) == 1
    assert digest(hive.log(task, size=size)) == digest(printed(size))


#: Each process writes bytes of its own, in both streams, and goes on until it is told to end.
RANKS = """
import hashlib, os, sys, time
rank, until = os.environ["RANK"], sys.argv[1]
for n in range(10_000):
    for stream in (1, 2):
        os.write(stream, hashlib.shake_128(f"{rank} {stream} {n}".encode()).digest(4_321))
    if os.path.exists(until):
        break
    time.sleep(0.01)
open(f"{until}.{rank}", "w").write(str(n + 1))
"""


def of_rank(rank: int, stream: int, n: int) -> bytes:
    blocks = (f"{rank} {stream} {n}".encode() for n in range(n))
    return b"".join(hashlib.shake_128(block).digest(4_321) for block in blocks)


def test_what_each_of_several_processes_writes_survives_kills_of_agent_and_server(
    hive: AgentHive,
) -> None:
    path = stand_in_torch(hive.home)
    (hive.home / "ranks.py").write_text(RANKS)
    enough = hive.home / "enough"
    task = hive.submit_spec(
        TaskSpec(
            command=(str(hive.home / "ranks.py"), str(enough)),
            executor=ExecutorKind.TORCHRUN,
            python=sys.executable,
            nproc_per_node=3,
            env={"PYTHONPATH": path},
        )
    )
    for turn in range(4):
        # A rank that has written nothing yet has an empty log, and no other's.
        before = len(hive.log(task, process=turn % 3))
        until(lambda before=before, rank=turn % 3: len(hive.log(task, process=rank)) > before)
        if turn == 1:
            hive.kill_server()
            hive.start_server()
        elif turn == 2:
            hive.kill_agent()
            # What the shim and the program hold open is all that is left.
            shutil.rmtree(hive.run_directories()[0])
            hive.start_agent()
        else:
            hive.kill_agent()
            hive.start_agent()
    enough.touch()
    end = hive.ended(task, limit_s=100)
    assert end.state.value == "succeeded", hive.log(task, "stderr")
    assert len(end.attempts) == 1
    for rank in range(3):
        n = int((hive.home / f"enough.{rank}").read_text())
        for number, name in ((1, "stdout"), (2, "stderr")):
            wanted = of_rank(rank, number, n)
            assert digest(hive.log(task, name, size=len(wanted), process=rank)) == digest(wanted)
    assert hive.log(task) == b""


def test_one_line_of_many_megabytes_is_no_trouble(hive: AgentHive) -> None:
    size = 24 * MIB
    task = hive.submit(f"head -c {size} /dev/zero | tr '\\0' x")
    assert hive.ended(task).state.value == "succeeded"
    assert hive.log(task, size=size) == b"x" * size


def test_both_streams_of_many_small_writes_are_whole(hive: AgentHive) -> None:
    n_lines = 5_000
    task = hive.submit(
        f"i=0; while [ $i -lt {n_lines} ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    )
    assert hive.ended(task).state.value == "succeeded"
    for name, stream in (("out", "stdout"), ("err", "stderr")):
        wanted = b"".join(b"%s %d\n" % (name.encode(), n) for n in range(n_lines))
        assert hive.log(task, stream, size=len(wanted)) == wanted


def test_a_task_may_delete_its_own_log_and_still_ends_as_it_did(hive: AgentHive) -> None:
    """The bytes are gone from the node; the server is told so and the attempt is forgotten."""
    task = hive.submit(f"echo before; rm -f {hive.state}/agent/*/runs/*/std*; echo after; exit 3")
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.exit_code == 3
    until(lambda: not hive.run_directories(), what="the end of the run directory")


def test_the_end_of_stderr_comes_with_a_failure(hive: AgentHive) -> None:
    end = hive.ended(hive.submit("echo fine; echo 'no such luck' >&2; exit 1"))
    facts = end.attempts[0].facts
    assert facts is not None
    assert facts.last_output == "no such luck\n"
    assert (facts.stdout_bytes, facts.stderr_bytes) == (5, 13)


def test_two_hundred_tasks_at_once_all_end_well_and_leave_nothing(hive: AgentHive) -> None:
    tasks = [hive.submit(f"echo {n}; test $(({n} % 10)) -ne 0", restarts=0) for n in range(200)]
    ends = [hive.ended(task, limit_s=110) for task in tasks]
    kinds = [end.outcome.kind if end.outcome else None for end in ends]
    assert kinds.count(OutcomeKind.SUCCESS) == 180
    assert kinds.count(OutcomeKind.FAILURE) == 20
    for n in range(0, 200, 20):
        assert hive.log(tasks[n], size=1) == f"{n}\n".encode()
    until(lambda: not hive.run_directories(), what="the end of all run directories")


def test_cancel_ends_whatever_a_task_has_started(hive: AgentHive) -> None:
    mark = "86421357"
    task = hive.submit(
        f"sleep {mark} & setsid sleep {mark} & env -i /bin/sleep {mark} & "
        f"(setsid sh -c 'sleep {mark} & exit' &); sleep {mark}"
    )
    until(lambda: n_processes(mark) == 5, what="five processes")
    hive.cancel(task)
    end = hive.ended(task)
    assert end.outcome is not None
    assert end.outcome.kind is OutcomeKind.CANCELLED
    assert n_processes(mark) == 0


def n_processes(word: str) -> int:
    return sum(word.encode() in words_of(path) for path in Path("/proc").glob("[0-9]*/cmdline"))


def words_of(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\0")
    except OSError:
        return []

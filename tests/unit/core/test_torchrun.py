"""How torch's launcher is called, and what is read from its last words."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fluxhive.core.effects import NodeAttempt
from fluxhive.core.errors import InputError
from fluxhive.core.events import DispatchReceived, ProcessExited
from fluxhive.core.executor_words import final_word
from fluxhive.core.gpu_trend import GpuTrend
from fluxhive.core.interpreter import PythonFound
from fluxhive.core.launch_plan import LaunchPlan, NodeFacts, plan_launch
from fluxhive.core.node import HeldPhase
from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind, StopCause
from fluxhive.core.request import Request
from fluxhive.core.spec_check import check_spec
from fluxhive.core.task import ExecutorKind, TaskSpec
from fluxhive.core.torchrun import first_failed
from fluxhive.core.values import GpuUuid
from fluxhive.protocol.agent import Launch
from tests.helpers.node_story import dispatch_of

NODE = NodeFacts(
    label="gpu-box",
    agent_env={"PATH": "/usr/bin"},
    home="/home/ada",
    gpu_indexes={GpuUuid("GPU-a"): 0, GpuUuid("GPU-b"): 1},
    python=PythonFound(program="/venv/bin/python", prefix="/venv"),
)
#: As torch 2.13 writes it.
ROOT_CAUSE = """\
E1126 04:12:31.5 4242 torch/distributed/elastic/multiprocessing/api.py:1000] failed (exitcode: -9)
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
  <NO_OTHER_FAILURES>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-26_04:12:31
  host      : vm
  rank      : 1 (local_rank: 0)
  exitcode  : {code} (pid: 4711)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 4711
============================================================
"""
TAKEN = (
    "torch.distributed.DistNetworkError: The server socket has failed to listen on any local "
    "network address. port: {port}, useIpv6: false, code: -98, name: EADDRINUSE, "
    "message: address already in use\n"
)


def plan(
    *command: str, n_processes: int | None = None, dispatch: DispatchReceived | None = None
) -> LaunchPlan:
    order = Launch(
        command=command or ("train.py", "--lr", "1"),
        executor=ExecutorKind.TORCHRUN,
        nproc_per_node=n_processes,
    )
    return plan_launch(order, dispatch or dispatch_of(port=29_501), NODE, cookie="c00kie")


def ended(
    output: str, *, rank: int = 0, stopped: StopCause | None = None, exit_code: int = 1
) -> Outcome:
    facts = ExitFacts(exit_code=exit_code, last_output=output)
    attempt = NodeAttempt(
        dispatch=dispatch_of(port=29_501, rank=rank, n_nodes=2),
        phase=HeldPhase.RUNNING,
        stop_cause=stopped,
        exited=ProcessExited(attempt_id=dispatch_of().attempt_id, facts=facts),
    )
    return final_word(attempt, GpuTrend(), {}).outcome


def torchrun(*command: str, **fields: int) -> TaskSpec:
    return TaskSpec(command=command, executor=ExecutorKind.TORCHRUN, **fields)  # type: ignore[arg-type]


def test_every_choice_that_the_launcher_would_make_itself_is_made() -> None:
    found = plan(n_processes=2, dispatch=dispatch_of(port=29_501, rank=1, n_nodes=2, cpus=8))
    assert found.argv == (
        "/venv/bin/python",
        "-m",
        "torch.distributed.run",
        "--rdzv-backend=static",
        "--rdzv-id=t1.1",
        "--nnodes=2",
        "--node-rank=1",
        "--nproc-per-node=2",
        "--master-addr=10.0.0.1",
        "--master-port=29501",
        "--max-restarts=0",
        "train.py",
        "--lr",
        "1",
    )
    assert found.env["OMP_NUM_THREADS"] == "4"
    assert (found.env["FLUXHIVE_RANK"], found.env["FLUXHIVE_NODES"]) == ("1", "2")


def test_a_module_goes_to_the_launcher_as_a_module() -> None:
    assert plan("-m", "train", "--lr", "1").argv[-4:] == ("-m", "train", "--lr", "1")


def test_without_a_number_there_is_one_process_for_each_gpu_and_at_least_one() -> None:
    assert "--nproc-per-node=1" in plan().argv
    gpus: dict[str, str | int] = {"GPU-a": "80G", "GPU-b": "80G"}
    assert "--nproc-per-node=2" in plan(dispatch=dispatch_of(port=29_501, gpus=gpus)).argv


def test_a_program_that_is_no_torchrun_is_told_where_its_gang_meets() -> None:
    order = Launch(command=("mpi",), executor=ExecutorKind.EXEC)
    dispatch = dispatch_of(port=29_501, rank=1, n_nodes=3)
    found = plan_launch(order, dispatch, NODE, cookie="c00kie")
    assert found.argv == ("mpi",)
    assert (found.env["MASTER_ADDR"], found.env["MASTER_PORT"]) == ("10.0.0.1", "29501")
    alone = plan_launch(order, dispatch_of(), NODE, cookie="c00kie")
    assert not {"MASTER_ADDR", "MASTER_PORT", "FLUXHIVE_RANK"} & set(alone.env)


def test_a_port_that_was_taken_meanwhile_is_a_launch_that_failed() -> None:
    found = ended(TAKEN.format(port=29_501))
    assert found.kind is OutcomeKind.LAUNCH_FAILED
    assert found.detail.startswith("EADDRINUSE: port 29501")


@pytest.mark.parametrize(
    ("output", "rank", "stopped"),
    [
        (TAKEN.format(port=2950), 0, None),
        (TAKEN.format(port=295_011), 0, None),
        (TAKEN.format(port=29_501), 1, None),
        ("EADDRINUSE", 0, None),
        (TAKEN.format(port=29_501), 0, StopCause.CANCEL),
    ],
)
def test_another_port_another_rank_or_a_stop_is_none(
    output: str, rank: int, stopped: StopCause | None
) -> None:
    assert ended(output, rank=rank, stopped=stopped).kind is not OutcomeKind.LAUNCH_FAILED


def test_the_signal_that_ended_a_process_first_is_named() -> None:
    found = ended(ROOT_CAUSE.format(code=-9))
    assert (found.kind, found.exit_code, found.signal) == (OutcomeKind.FAILURE, 1, 9)
    assert found.detail == "its process of rank 1 ended by signal 9"


@pytest.mark.parametrize("output", [ROOT_CAUSE.format(code=1), "exitcode: -9 (pid: 1)", ""])
def test_a_process_that_ended_by_itself_leaves_the_exit_code(output: str) -> None:
    assert ended(output).signal is None


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("nproc_per_node", TaskSpec(command=("x",), nproc_per_node=2)),
        (
            "nproc_per_node",
            torchrun("x", nproc_per_node=0),
        ),
        ("command", torchrun("torchrun", "x")),
        ("request.nodes", TaskSpec(command=("x",), request=Request(nodes=0))),
        ("request.nodes", TaskSpec(command=("x",), request=Request(nodes=1025))),
    ],
)
def test_what_does_not_go_together_is_refused_with_its_field(field: str, spec: TaskSpec) -> None:
    with pytest.raises(InputError) as caught:
        check_spec(spec)
    assert caught.value.field == field
    assert caught.value.hint


def apart(**fields: object) -> LaunchPlan:
    order = Launch(
        command=("-m", "lab.train", "--lr", "1"),
        executor=ExecutorKind.TORCHRUN,
        nproc_per_node=2,
        **fields,  # type: ignore[arg-type]
    )
    node = replace(NODE, run_dir="/runs/t-1.1", takes_processes=True)
    return plan_launch(order, dispatch_of(port=29_501), node, cookie="c00kie")


def test_each_of_several_processes_opens_its_own_files_before_it_is_the_program() -> None:
    found = apart()
    assert found.n_processes_apart == 2
    assert found.argv[:2] == ("/venv/bin/python", "-c")
    assert found.argv[-9:] == (
        "--no-python",
        "/bin/sh",
        "-c",
        'exec "$PYTHON_EXEC" -u "$@" >>"$0/$LOCAL_RANK.stdout" 2>>"$0/$LOCAL_RANK.stderr"',
        "/runs/t-1.1/processes",
        "-m",
        "lab.train",
        "--lr",
        "1",
    )
    assert apart(merge_output=True).argv[-6].endswith('>>"$0/$LOCAL_RANK.stdout" 2>&1')
    assert apart(image="lab/torch").argv[-5] == "/run/fluxhive-processes"


@pytest.mark.parametrize("variable", ["PET_TEE", "PET_REDIRECTS", "PET_LOG_DIR"])
def test_who_uses_torchruns_own_ways_with_output_keeps_them(variable: str) -> None:
    assert apart(env={variable: "3"}).n_processes_apart == 0
    assert "torch.distributed.run" in apart(env={variable: "3"}).argv


def test_one_process_or_a_server_that_does_not_take_them_apart_changes_nothing() -> None:
    assert plan(n_processes=1).n_processes_apart == 0
    assert plan(n_processes=2).n_processes_apart == 0
    assert plan(n_processes=2).argv[1:3] == ("-m", "torch.distributed.run")


def test_the_process_of_this_node_that_failed_first_is_read_from_the_launchers_words() -> None:
    assert first_failed(ROOT_CAUSE.format(code=1)) == 0
    assert first_failed("Traceback (most recent call last):") is None

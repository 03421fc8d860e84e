"""How ends are named: facts and why it was being stopped, to one outcome."""

from __future__ import annotations

import pytest

from fluxhive.core.judge import judge, judge_again, stopped_early
from fluxhive.core.outcome import (
    ExitFacts,
    GpuPeak,
    GpuScene,
    Outcome,
    OutcomeKind,
    Sign,
    StopCause,
)
from fluxhive.core.request import GpuShare, Reservation
from fluxhive.core.values import GpuUuid, NodeId

ON_CPU = Reservation(node_id=NodeId("n1"), memory_mib=4096)
ON_GPU = Reservation(
    node_id=NodeId("n1"), gpus=(GpuShare(uuid=GpuUuid("A"), index=2, gpu_memory_mib=20480),)
)
KILLED = ExitFacts(signal=9)


def failed(last_output: str, **more: object) -> ExitFacts:
    return ExitFacts(exit_code=1, last_output=last_output, **more)  # type: ignore[arg-type]


def test_exit_code_zero_is_success() -> None:
    outcome = judge(ExitFacts(exit_code=0, last_output="CUDA out of memory"), reservation=ON_GPU)
    assert outcome.kind is OutcomeKind.SUCCESS
    assert outcome.exit_code == 0


def test_an_exit_code_is_a_failure_and_is_kept() -> None:
    outcome = judge(ExitFacts(exit_code=3))
    assert (outcome.kind, outcome.exit_code) == (OutcomeKind.FAILURE, 3)


def test_a_signal_is_named() -> None:
    outcome = judge(ExitFacts(signal=11))
    assert (outcome.kind, outcome.signal) == (OutcomeKind.FAILURE, 11)
    assert outcome.detail == "signal 11 (SIGSEGV)"


# ── stopped ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (StopCause.CANCEL, OutcomeKind.CANCELLED),
        (StopCause.TIME_LIMIT, OutcomeKind.TIME_LIMIT),
        (StopCause.PREEMPT, OutcomeKind.PREEMPTED),
        (StopCause.FENCED, OutcomeKind.NODE_LOST),
        (StopCause.LEASE, OutcomeKind.LEASE_EXPIRED),
        (StopCause.SHUTDOWN, OutcomeKind.PREEMPTED),
    ],
)
def test_what_was_stopped_is_named_by_the_cause(cause: StopCause, kind: OutcomeKind) -> None:
    assert judge(KILLED, stop_cause=cause).kind is kind
    assert judge(ExitFacts(exit_code=0, stopped_by=cause), stop_cause=cause).kind is kind
    assert stopped_early(cause, "before it was started").kind is kind


def test_the_supervisor_knows_which_cause_came_first() -> None:
    facts = ExitFacts(signal=15, stopped_by=StopCause.TIME_LIMIT)
    assert judge(facts, stop_cause=StopCause.CANCEL).kind is OutcomeKind.TIME_LIMIT


def test_success_while_a_stop_was_on_its_way_is_success() -> None:
    facts = ExitFacts(exit_code=0)
    assert judge(facts, stop_cause=StopCause.PREEMPT).kind is OutcomeKind.SUCCESS


def test_a_failure_after_we_stopped_it_is_the_stops_doing() -> None:
    facts = ExitFacts(exit_code=143)
    assert judge(facts, stop_cause=StopCause.PREEMPT).kind is OutcomeKind.PREEMPTED


def test_a_stop_that_nobody_here_asked_for_does_not_cancel_the_task() -> None:
    facts = ExitFacts(signal=15, stopped_by=StopCause.CANCEL)
    assert judge(facts).kind is OutcomeKind.PREEMPTED
    assert judge(facts, stop_cause=StopCause.CANCEL).kind is OutcomeKind.CANCELLED
    assert judge(facts, stop_cause=StopCause.LEASE).kind is OutcomeKind.LEASE_EXPIRED


# ── the node's part ───────────────────────────────────────────────────────────────────────────


def test_a_program_that_is_not_there_is_launch_failed_with_the_sentence() -> None:
    facts = ExitFacts(exec_error="ENOENT", launch_detail="no such program: `pyton`")
    outcome = judge(facts)
    assert outcome.kind is OutcomeKind.LAUNCH_FAILED
    assert outcome.detail == "no such program: `pyton`"
    assert judge(ExitFacts(exec_error="EACCES")).detail == "cannot be started: EACCES"


def test_a_workspace_that_could_not_be_made_is_launch_failed() -> None:
    outcome = judge(ExitFacts(launch_detail="no space left"))
    assert outcome.kind is OutcomeKind.LAUNCH_FAILED


def test_a_lost_supervisor_and_a_reboot_are_no_failures_of_the_task() -> None:
    assert judge(ExitFacts(), supervisor_lost=True).kind is OutcomeKind.SUPERVISOR_LOST
    rebooted = judge(ExitFacts(), rebooted=True, stop_cause=StopCause.CANCEL)
    assert rebooted.kind is OutcomeKind.NODE_REBOOT


# ── memory ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 120.00 GiB. GPU 0 has a "
        "total capacity of 79.18 GiB of which 18.42 GiB is free.",
        "RuntimeError: CUDA out of memory. Tried to allocate 2 GiB",
        "jaxlib: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 21474836480 bytes.",
        "cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 1,024 bytes",
        "CUDA error: cudaErrorMemoryAllocation",
        "CUDA_ERROR_OUT_OF_MEMORY",
        "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDNN_STATUS_ALLOC_FAILED",
        "NCCL WARN Cuda failure 'out of memory'",
    ],
)
def test_what_frameworks_print_when_a_gpu_is_full_is_known(text: str) -> None:
    assert judge(failed(f"Traceback\n{text}\n"), reservation=ON_GPU).kind is OutcomeKind.GPU_OOM


def test_the_text_alone_is_nothing_without_a_gpu() -> None:
    facts = failed("CUDA out of memory")
    assert judge(facts, reservation=ON_CPU).kind is OutcomeKind.FAILURE


def test_words_of_the_hosts_memory_are_no_gpu_oom() -> None:
    facts = failed("MemoryError: out of memory")
    assert judge(facts, reservation=ON_GPU).kind is OutcomeKind.HOST_OOM


def test_a_gpu_oom_says_what_was_used_of_what_was_reserved() -> None:
    facts = failed("CUDA out of memory", gpu_peaks=(GpuPeak(uuid=GpuUuid("A"), peak_mib=20582),))
    outcome = judge(facts, reservation=ON_GPU)
    assert outcome.detail == ("ran out of GPU memory: 20.1 GiB seen of 20.0 GiB reserved on GPU 2")


def test_killed_at_its_memory_limit_is_host_oom_and_a_plain_kill_is_not() -> None:
    at_limit = ExitFacts(signal=9, peak_memory_mib=4100)
    assert judge(at_limit, reservation=ON_CPU).kind is OutcomeKind.HOST_OOM
    below = ExitFacts(signal=9, peak_memory_mib=300)
    assert judge(below, reservation=ON_CPU).kind is OutcomeKind.FAILURE
    assert judge(at_limit, reservation=ON_GPU).kind is OutcomeKind.FAILURE


def test_a_faulty_gpu_explains_a_failure_and_no_success() -> None:
    lost = (GpuScene(uuid=GpuUuid("A"), index=2, fault="GPU is lost"),)
    broken = judge(failed("", gpus=lost), reservation=ON_GPU)
    assert (broken.kind, broken.detail) == (OutcomeKind.GPU_FAULT, "GPU 2: GPU is lost")
    fine = judge(ExitFacts(exit_code=0, gpus=lost), reservation=ON_GPU)
    assert fine.kind is OutcomeKind.SUCCESS


def test_a_driver_that_speaks_of_a_lost_gpu_is_believed() -> None:
    facts = failed("RuntimeError: CUDA error: uncorrectable ECC error encountered")
    assert judge(facts, reservation=ON_GPU).kind is OutcomeKind.GPU_FAULT


def test_processes_that_cannot_be_ended_are_named() -> None:
    outcome = judge(ExitFacts(unkillable=(7, 8)))
    assert outcome.kind is OutcomeKind.FAILURE
    assert outcome.detail == "processes cannot be ended: 7, 8"


# ── again ─────────────────────────────────────────────────────────────────────────────────────


def test_a_newer_judge_names_an_end_again_from_its_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    sign = Sign(stream="stderr", text="torch.OutOfMemoryError: CUDA out of memory.")
    facts = ExitFacts(exit_code=1, signs=(sign,), judged=1)
    named = Outcome(kind=OutcomeKind.FAILURE, exit_code=1)
    assert judge_again(named, facts, ON_GPU) is named
    monkeypatch.setattr("fluxhive.core.judge.JUDGE_VERSION", 2)
    assert judge_again(named, facts, ON_GPU).kind is OutcomeKind.GPU_OOM
    cancelled = Outcome(kind=OutcomeKind.CANCELLED, exit_code=1)
    assert judge_again(cancelled, facts, ON_GPU) is cancelled
    from_an_older_node = ExitFacts(exit_code=1, last_output=sign.text)
    assert judge_again(named, from_an_older_node, ON_GPU) is named

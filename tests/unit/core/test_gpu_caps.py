"""Caps on GPU memory: who gets one, how large it is, and what stays as the author said it."""

from __future__ import annotations

import pytest

from fluxhive.core.gpu_caps import (
    Libraries,
    cap_env,
    cap_mib,
    knows_cap,
    libraries,
    python_word,
)
from fluxhive.core.outcome import Blame, GpuOom
from fluxhive.core.request import Estimate, EstimateSource
from tests.helpers.hive import Hive

GPU_MIB = 80_000
TORCH = Libraries(torch=True)
JAX = Libraries(jax=True)


def estimate(
    source: str, runs: int = 0, peak: int | None = None, declared: int | None = None
) -> Estimate:
    return Estimate(
        source=EstimateSource(source),
        reserved_mib=1,
        peak_mib=peak,
        runs=runs,
        declared_mib=declared,
    )


@pytest.mark.parametrize(
    ("known", "reserved_mib", "cap"),
    [
        # A quarter above what is reserved, a fifth above the largest peak: the larger of both.
        (estimate("learned", runs=3, peak=8_000), 9_216, 11_520),
        (estimate("learned", runs=20, peak=30_000), 20_000, 36_000),
        # Learned from too few runs, or from others': no cap.
        (estimate("learned", runs=2, peak=8_000), 9_216, None),
        (estimate("program", runs=9, peak=8_000), 9_216, None),
        (estimate("author", runs=50, peak=8_000), 9_216, None),
        (estimate("guess"), 40_000, None),
        # Declared: enough, also beside little that is learned; then never below what was said.
        (estimate("declared", declared=20_000), 20_000, 25_000),
        (estimate("learned", runs=1, peak=8_000, declared=20_000), 10_000, 25_000),
        (estimate("author", runs=9, peak=8_000, declared=20_000), 10_000, 25_000),
        # Well learned goes before declared.
        (estimate("learned", runs=5, peak=8_000, declared=60_000), 9_216, 11_520),
        # It has just shown that nobody knows what it needs.
        (estimate("repair", runs=9, peak=8_000, declared=20_000), 30_000, None),
        # As large as the GPU: that is none.
        (estimate("declared", declared=64_000), 64_000, None),
        (estimate("declared", declared=63_999), 63_999, 79_999),
    ],
)
def test_only_who_is_known_well_has_a_cap(
    known: Estimate, reserved_mib: int, cap: int | None
) -> None:
    assert cap_mib(known, reserved_mib, GPU_MIB) == cap


@pytest.mark.parametrize(
    ("version", "cuda", "knows"),
    [
        ("2.9.1+cu128", "'12.8'", False),
        ("2.10.0+cu128", "'12.8'", True),
        ("2.12.1+cu130", "'13.0'", True),
        ("3.0.0", "'14.0'", True),
        ("1.13.1", "'11.7'", False),
        # From before the release: nobody can tell.
        ("2.10.0a0+git5811a8d", "'12.8'", False),
        ("2.10.0.dev20250901+cu128", "'12.8'", False),
        ("2.11.0a0+git5811a8d", "'12.8'", True),
        # Not for CUDA.
        ("2.10.0+cpu", "None", False),
    ],
)
@pytest.mark.parametrize("typed", ["", ": Optional[str]"])
def test_a_pytorch_from_2_10_on_knows_a_cap(
    version: str, cuda: str, knows: bool, typed: str
) -> None:
    text = f"from typing import Optional\n\n__version__ = '{version}'\ncuda{typed} = {cuda}\n"
    assert knows_cap(text) is knows


def test_of_several_pytorches_the_one_that_knows_least_decides() -> None:
    new, old = ("__version__ = '2.10.0'\ncuda = '12'\n", "__version__ = '2.4.0'\ncuda = '12'\n")
    assert libraries([new], has_jax=False) == TORCH
    assert libraries([new, old], has_jax=False) == Libraries()
    assert libraries([new, ""], has_jax=False) == Libraries()
    assert libraries([], has_jax=True) == JAX


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("python", "train.py"), "python"),
        (("/data/.venv/bin/python3.11", "-m", "train"), "/data/.venv/bin/python3.11"),
        (("/bin/sh", "-c", "python3 train.py --lr 0.1 --name 'a b'"), "python3"),
        (("/bin/sh", "-c", "python a.py; /opt/old/bin/python b.py"), None),
        (("/bin/sh", "-c", "cd x && python a.py"), None),
        (("/bin/sh", "-c", "source env/bin/activate"), None),
        (("/bin/sh", "-c", "PATH=/opt/old python a.py"), None),
        (("/bin/sh", "-c", ""), None),
        (("accelerate", "launch", "train.py"), None),
        (("pythonize",), None),
        (("/usr/bin/uv", "run", "--", "python", "train.py"), None),
    ],
)
def test_which_python_runs_is_known_or_it_is_said_that_it_is_not(
    argv: tuple[str, ...], word: str | None
) -> None:
    assert python_word(argv) == word


OLD, NEW = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"
CAP = "per_process_memory_fraction:0.1250"


@pytest.mark.parametrize(
    ("env", "added"),
    [
        ({}, {OLD: CAP}),
        # Added to what the author said, under the name that is read.
        ({OLD: "expandable_segments:True"}, {OLD: f"expandable_segments:True,{CAP}"}),
        ({OLD: "a:1,"}, {OLD: f"a:1,{CAP}"}),
        ({NEW: "expandable_segments:True"}, {NEW: f"expandable_segments:True,{CAP}"}),
        ({OLD: "a:1", NEW: "b:2"}, {OLD: f"a:1,{CAP}"}),
        ({OLD: "roundup_power2_divisions:[256:1,>:4]"},
         {OLD: f"roundup_power2_divisions:[256:1,>:4],{CAP}"}),
        # Their own cap stays, and another allocator is theirs to bound.
        ({OLD: "per_process_memory_fraction:0.9"}, {}),
        ({OLD: "a:1, per_process_memory_fraction : 0.9"}, {}),
        ({NEW: "per_process_memory_fraction:0.9"}, {}),
        ({OLD: "backend:cudaMallocAsync"}, {}),
    ],
)  # fmt: skip
def test_pytorch_is_told_beside_what_the_author_says(
    env: dict[str, str], added: dict[str, str]
) -> None:
    assert cap_env(10_000, GPU_MIB, TORCH, env) == added


FRACTION, PREALLOCATE = "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_PREALLOCATE"


@pytest.mark.parametrize(
    ("env", "added"),
    [
        ({}, {FRACTION: "0.1250", PREALLOCATE: "false"}),
        ({PREALLOCATE: "false"}, {FRACTION: "0.1250"}),
        # Taken beforehand, a cap would be taken whole: more than is reserved.
        ({PREALLOCATE: "true"}, {}),
        ({FRACTION: ".5"}, {}),
        ({"XLA_CLIENT_MEM_FRACTION": ".5"}, {}),
        ({"XLA_PYTHON_CLIENT_ALLOCATOR": "platform"}, {}),
    ],
)
def test_jax_is_told_unless_the_author_says_anything_of_it(
    env: dict[str, str], added: dict[str, str]
) -> None:
    assert cap_env(10_000, GPU_MIB, JAX, env) == added


def test_nothing_is_set_for_what_is_not_there() -> None:
    assert cap_env(10_000, GPU_MIB, Libraries(), {}) == {}


@pytest.mark.parametrize(
    ("cap", "gpu", "said"),
    [(1, 80_000, "0.0001"), (79_991, 80_000, "0.9999"), (79_999, 80_000, None), (9, 8, None)],
)
def test_a_fraction_is_rounded_up_and_below_one(cap: int, gpu: int, said: str | None) -> None:
    wanted = {} if said is None else {OLD: f"per_process_memory_fraction:{said}"}
    assert cap_env(cap, gpu, TORCH, {}) == wanted


def test_both_are_told_where_both_are() -> None:
    both = Libraries(torch=True, jax=True)
    assert set(cap_env(10_000, GPU_MIB, both, {})) == {OLD, FRACTION, PREALLOCATE}


def test_a_task_is_capped_once_three_runs_have_shown_what_it_takes() -> None:
    hive = Hive()
    hive.node("n1", gpus=["80G"])
    caps = []
    for number in range(1, 5):
        name = f"t{number}"
        hive.submit(name, gpus=1)
        hive.runs_after_dispatch(f"{name}.1")
        caps.append(hive.attempt(f"{name}.1").gpu_cap_mib)
        hive.ends(f"{name}.1", peak="8G", after="10m")
    estimate = hive.attempt("t4.1").estimate
    assert estimate is not None
    assert caps == [None, None, None, -(-estimate.reserved_mib * 125 // 100)]


def test_whoever_ran_into_it_gets_more_and_no_cap() -> None:
    hive = Hive()
    hive.node("n1", gpus=["80G"])
    hive.submit("t1", gpu_memory="8G")
    assert hive.attempt("t1.1").gpu_cap_mib == 10_240
    oom = GpuOom(blame=Blame.OWN, used_mib=10_000, requested_mib=1_024, reserved_mib=8_192)
    hive.ends("t1.1", "gpu-oom", exit_code=1, oom=oom)
    hive.waits("10m")
    again = hive.attempt("t1.2")
    assert again.gpu_cap_mib is None
    assert again.gpu_memory_mib > 10_240

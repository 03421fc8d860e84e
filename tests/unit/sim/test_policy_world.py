"""The simulated hive: physics, workloads, baselines, and that one seed is one history."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from fluxhive.cli.simulate import command
from fluxhive.core.errors import InputError
from fluxhive.sim import plot
from fluxhive.sim.sharing import slowdown
from fluxhive.sim.simulation import NAMED, simulate
from fluxhive.sim.workload import (
    COLUMNS,
    Job,
    at_load,
    flooded,
    load,
    resampled,
    without_declarations,
)

GIB = 1024
HOUR = 3_600_000
GPUS = (80 * GIB,) * 8


def job(number: int = 0, **fields: object) -> Job:
    given: dict[str, object] = {
        "submit_ms": 0,
        "duration_ms": HOUR,
        "gpus": 1,
        "project": "p",
        "user": "ann",
        "signature": "train",
        "utilization": 0.38,
        "peak_mib": 10 * GIB,
        "declared_mib": 20 * GIB,
        "peak_after_ms": 60_000,
        "limit_ms": 4 * HOUR,
        **fields,
    }
    return Job(number=number, **given)  # type: ignore[arg-type]


class Share:
    """Stands for a run, as far as pace goes."""

    def __init__(self, utilization: float) -> None:
        self.job = job(utilization=utilization)


@pytest.mark.parametrize(("n_tasks", "measured"), [(2, 1.9), (4, 2.9), (8, 3.8)])
def test_small_tasks_on_one_gpu_gain_as_was_measured(n_tasks: int, measured: float) -> None:
    """On an H100: aggregate throughput of equal trainings that keep a GPU 38 % busy alone."""
    together = n_tasks / slowdown([Share(0.38)] * n_tasks)  # type: ignore[list-item]
    assert together == pytest.approx(measured, rel=0.06)


def test_two_that_fill_a_gpu_gain_nothing() -> None:
    assert 2 / slowdown([Share(1.0)] * 2) == pytest.approx(1.0, rel=0.03)  # type: ignore[list-item]


def test_one_task_alone_takes_its_time() -> None:
    result, _ = simulate([job()], "hive", n_nodes=1, gpu_mib=GPUS)
    assert (result.mean_jct_h, result.mean_wait_h, result.oom_attempt_fraction) == (1.0, 0.0, 0.0)


def test_fifo_starts_nobody_before_the_first() -> None:
    """A gang waits for one task; the small one behind it waits, too, but with easy it does not."""
    jobs = [
        job(0),
        job(1, submit_ms=1_000, gpus=8),
        job(2, submit_ms=2_000, duration_ms=HOUR // 2, limit_ms=HOUR // 2),
    ]
    _, fifo = simulate(jobs, "fifo", n_nodes=1, gpu_mib=GPUS)
    _, easy = simulate(jobs, "easy", n_nodes=1, gpu_mib=GPUS)
    assert fifo.wait_ms([2])[0] > HOUR
    assert easy.wait_ms([2])[0] == 0


def test_a_gpu_that_is_full_ends_somebody_and_the_brain_repairs_it() -> None:
    """Ten tasks declare a tenth of what they take: some run out, all end, none fails for good."""
    jobs = [job(n, declared_mib=4 * GIB, peak_mib=50 * GIB, user=f"u{n}") for n in range(10)]
    result, _ = simulate(jobs, "hive", n_nodes=1, gpu_mib=GPUS[:1])
    assert result.oom_attempt_fraction > 0
    assert result.final_oom_failures == 0
    assert result.tasks == 10


def test_the_same_seed_is_the_same_history() -> None:
    jobs = at_load(load("lab32")[:120], 0.7)
    first, _ = simulate(jobs, "hive", n_nodes=2, gpu_mib=GPUS, seed=3)
    again, _ = simulate(jobs, "hive", n_nodes=2, gpu_mib=GPUS, seed=3)
    figures = [name for name in first.__struct_fields__ if name != "wall_s"]
    assert all(getattr(first, name) == getattr(again, name) for name in figures)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_every_policy_brings_every_task_to_its_end(name: str) -> None:
    jobs = at_load(load("lab32")[:120], 1.0)
    result, tally = simulate(jobs, name, n_nodes=2, gpu_mib=GPUS)
    assert tally.n_open == 0
    assert result.final_oom_failures == 0


def test_packing_by_what_was_learned_beats_whole_gpus() -> None:
    jobs = [job(number, submit_ms=number * 60_000) for number in range(64)]
    hive, _ = simulate(without_declarations(jobs), "hive", n_nodes=1, gpu_mib=GPUS)
    easy, _ = simulate(jobs, "easy", n_nodes=1, gpu_mib=GPUS)
    assert hive.mean_jct_h < easy.mean_jct_h


def test_workloads_are_read_and_changed() -> None:
    jobs = load("lab32")
    assert len(jobs) == 15_000
    assert at_load(jobs, 0.5)[10].submit_ms == 2 * jobs[10].submit_ms
    assert all(each.declared_mib is None for each in without_declarations(jobs[:5]))
    other = resampled(jobs, 4)
    assert sorted(each.duration_ms for each in other) == sorted(each.duration_ms for each in jobs)
    assert [each.submit_ms for each in other] != [each.submit_ms for each in jobs]
    wet = flooded(jobs[:10], at_ms=5, n_tasks=3, duration_ms=HOUR, seed=1)
    assert [each.number for each in wet] == list(range(13))


def test_the_list_of_pods_of_another_trace_is_read(tmp_path: Path) -> None:
    file = tmp_path / "openb.csv"
    file.write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,"
        "deletion_time,scheduled_time\n"
        "a,1,1,1,460,,LS,Running,10,3610,11\n"
        "b,1,1,0,0,,BE,Running,10,3610,11\n"
    )
    jobs = load(str(file))
    assert [(each.gpus, each.utilization, each.duration_ms) for each in jobs] == [(1, 0.46, HOUR)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "lacks the columns"),
        (",".join(COLUMNS) + "\n", "has no tasks"),
        (",".join(COLUMNS) + "\n0,x,1,p,u,s,1,1,1,1,1\n", "row 2 of .*: duration_s: .*`x`"),
        (",".join(COLUMNS) + "\n0,inf,1,p,u,s,1,1,1,1,1\n", "row 2 of .*: duration_s: .*`inf`"),
        (",".join(COLUMNS) + "\n0,1,0,p,u,s,1,1,1,1,1\n", "row 2 of .*: gpus: .*`0`"),
        (",".join(COLUMNS) + "\n0,1,1,p,u,s,7,1,1,1,1\n", "row 2 of .*: utilization: .*`7`"),
        (",".join(COLUMNS) + "\n0,1,1\n", "row 2 of .*: utilization: .*``"),
        (",".join(COLUMNS) + "\n-1,1,1,p,u,s,1,1,1,1,1\n", "row 2 of .*: submit_s: .*`-1`"),
    ],
)
def test_a_file_that_is_no_workload_says_why(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.csv.gz"
    file.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(InputError, match=words):
        load(str(file))


def test_a_file_that_is_not_there_names_what_comes_along() -> None:
    with pytest.raises(InputError, match="no such file"):
        load("nothing")


def test_a_drawing_that_has_no_place_is_refused_before_the_run() -> None:
    refused = CliRunner().invoke(command, ["lab32", "--plot", "/nowhere/at/all.svg"])
    assert isinstance(refused.exception, InputError)
    assert refused.exception.field == "--plot"


def test_a_comparison_is_drawn() -> None:
    jobs = at_load(load("lab32")[:100], 1.0)
    runs = [(name, simulate(jobs, name, n_nodes=1, gpu_mib=GPUS)) for name in ("fifo", "hive")]
    jobs8 = [result for _, (result, _) in runs]
    picture = plot.draw("a & b", jobs8, [(name, tally) for name, (_, tally) in runs])
    assert picture.startswith("<svg")
    assert "a &amp; b" in picture
    assert picture.count("<polyline") == 2

"""The NVML reader against a driver library of our own making, in a process of its own.

The library is loaded once in a process and stays, so each test runs its reader in a fresh one,
which prints what it read as JSON, line by line.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")
COMPILER = shutil.which("cc")
GIB = 1 << 30

pytestmark = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs Linux and a C compiler"
)

#: Reads once for each line of standard input; a line is what the library answers from then on.
READER = """
import json, os, sys
import msgspec
from fluxhive.agent import nvml, nvml_errors
if "retry" in sys.argv:
    nvml.INIT_AGAIN_S = nvml_errors.SLOW_LOOK_S = 0.0
# A busy machine is no driver that hangs: only the test of one that does waits for so short, and
# that once the driver has been loaded and has answered.
source = nvml.NvmlSource(time_limit_s=20.0)
source.start()
for line in sys.stdin:
    with open(os.environ["FAKE_NVML"], "w") as file:
        file.write(json.loads(line))
    print(msgspec.json.encode(source.read()).decode(), flush=True)
    if "hurry" in sys.argv:
        source._time_limit_s = 0.5
source.close()
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of the made-up libnvidia-ml.so.1."""
    directory = tmp_path_factory.mktemp("nvml")
    output = directory / "libnvidia-ml.so.1"
    assert COMPILER is not None
    subprocess.run(
        [COMPILER, "-shared", "-fPIC", "-o", str(output), str(SOURCE)], check=True, timeout=60
    )
    return directory


def read(library: Path | None, tmp_path: Path, *states: str, how: str = "") -> list[Any]:
    """One reading for each state of the library."""
    env = os.environ | {"FAKE_NVML": str(tmp_path / "state")}
    if library is not None:
        env["LD_LIBRARY_PATH"] = str(library)
    done = subprocess.run(
        [sys.executable, "-c", READER, how],
        input="".join(json.dumps(state) + "\n" for state in states),
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def card(uuid: str = "GPU-a", state: str = "ok", used_gib: int = 20) -> str:
    return f"gpu {uuid} {80 * GIB} {used_gib * GIB} {state}\n"


def test_a_card_is_read_with_all_it_says(library: Path, tmp_path: Path) -> None:
    (found,) = read(library, tmp_path, card() + f"process 0 4711 {19 * GIB}\nprocess 0 12 -1\n")
    assert found["driver"] == "NVIDIA 580.159"
    assert found["gpus"] == [
        {
            "uuid": "GPU-a",
            "index": 0,
            "model": "NVIDIA H100 80GB HBM3",
            "total_mib": 81_920,
            "used_mib": 20_480,
            "reserved_mib": 614,
            "processes": [{"pid": 4711, "used_mib": 19_456}, {"pid": 12}],
            "utilization_percent": 94,
            "temperature_c": 61,
            "power_w": 413,
            "power_limit_w": 700,
            "slowed_by": [],
            "ecc_corrected": 0,
            "ecc_uncorrected": 0,
        }
    ]


def test_an_old_driver_does_not_tell_its_own_part_apart(library: Path, tmp_path: Path) -> None:
    (found,) = read(library, tmp_path, card(state="old"))
    (gpu,) = found["gpus"]
    assert gpu["used_mib"] == 20_480
    assert "reserved_mib" not in gpu


def test_what_a_card_does_not_say_is_absent_and_the_rest_stands(
    library: Path, tmp_path: Path
) -> None:
    (found,) = read(library, tmp_path, card(state="bare"))
    (gpu,) = found["gpus"]
    assert gpu["used_mib"] == 20_480
    assert not {"processes", "utilization_percent", "temperature_c", "power_w"} & set(gpu)
    # Unknown is not none, and not zero.
    assert not {"power_limit_w", "slowed_by", "ecc_corrected", "ecc_uncorrected"} & set(gpu)


def test_what_slows_a_card_and_its_repaired_errors_are_told(library: Path, tmp_path: Path) -> None:
    # Idle (1) and clocks as they were set (2) are no brakes.
    state = card("GPU-a") + card("GPU-b") + "brakes 0 350000 103 12\n"
    (found,) = read(library, tmp_path, state)
    slowed, free = found["gpus"]
    assert slowed["slowed_by"] == ["power cap", "temperature"]
    assert (slowed["power_limit_w"], slowed["ecc_corrected"]) == (350, 12)
    assert (free["slowed_by"], free["ecc_corrected"]) == ([], 0)


def test_one_lost_card_does_not_spoil_the_others(library: Path, tmp_path: Path) -> None:
    both = card("GPU-a") + card("GPU-b")
    lost = card("GPU-a", "lost") + card("GPU-b")
    _, found = read(library, tmp_path, both, lost)
    first, second = found["gpus"]
    assert (first["uuid"], first["fault"]) == ("GPU-a", "GPU is lost")
    assert (second["uuid"], second["used_mib"]) == ("GPU-b", 20_480)


def test_a_card_without_even_a_handle_is_known_by_its_place(library: Path, tmp_path: Path) -> None:
    both = card("GPU-a") + card("GPU-b")
    gone = card("GPU-a", "gone") + card("GPU-b")
    _, found = read(library, tmp_path, both, gone)
    faults = {gpu["uuid"]: gpu.get("fault", "") for gpu in found["gpus"]}
    assert faults == {"GPU-a": "GPU is lost", "GPU-b": ""}


def test_an_index_may_change_and_the_uuid_tells(library: Path, tmp_path: Path) -> None:
    _, found = read(library, tmp_path, card("GPU-a") + card("GPU-b"), card("GPU-b"))
    assert [(gpu["uuid"], gpu["index"]) for gpu in found["gpus"]] == [("GPU-b", 0)]


def test_memory_that_cannot_be_read_is_absent(library: Path, tmp_path: Path) -> None:
    (found,) = read(library, tmp_path, card(state="unknown"))
    (gpu,) = found["gpus"]
    assert "used_mib" not in gpu
    assert gpu["utilization_percent"] == 94


def test_a_divided_card_is_not_given_to_tasks(library: Path, tmp_path: Path) -> None:
    (found,) = read(library, tmp_path, card(state="mig"))
    assert "MIG" in found["gpus"][0]["fault"]


def test_errors_of_the_driver_are_told_once_and_of_the_right_card(
    library: Path, tmp_path: Path
) -> None:
    both = card("GPU-a") + card("GPU-b")
    quiet, loud, after = read(library, tmp_path, both, both + "xid 1 79\nxid 1 31\n", both)
    assert [gpu.get("xids") for gpu in quiet["gpus"]] == [None, None]
    assert [gpu.get("xids") for gpu in loud["gpus"]] == [None, [79, 31]]
    assert [gpu.get("xids") for gpu in after["gpus"]] == [None, None]


@pytest.mark.parametrize(
    ("line", "word"),
    [("memory 0 1 0 0", "could not be replaced"), ("memory 0 0 1 0", "are to be retired")],
)
def test_memory_that_is_broken_makes_a_fault(
    line: str, word: str, library: Path, tmp_path: Path
) -> None:
    (found,) = read(library, tmp_path, card("GPU-a") + card("GPU-b") + line + "\n")
    first, second = found["gpus"]
    assert word in first["fault"]
    assert "fault" not in second


def test_new_uncorrectable_errors_are_a_fault_and_old_ones_are_not(
    library: Path, tmp_path: Path
) -> None:
    before, after = card() + "memory 0 0 0 7\n", card() + "memory 0 0 0 9\n"
    old, new = read(library, tmp_path, before, after, how="retry")
    assert "fault" not in old["gpus"][0]
    assert new["gpus"][0]["fault"] == "2 uncorrectable memory errors (ECC)"


def test_a_driver_that_hangs_makes_the_reading_old_and_blocks_nobody(
    library: Path, tmp_path: Path
) -> None:
    states = (card(), card(state="slow"), card(), card())
    good, stuck, still, after = read(library, tmp_path, *states, how="hurry")
    assert good["gpus"]
    assert [each.get("stale", False) for each in (stuck, still, after)] == [True, True, True]
    assert stuck["driver"] == "NVIDIA 580.159"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (18, "the driver was upgraded and the one before still runs: restart the machine"),
        (9, "the driver is not loaded"),
        (999, "Unknown Error"),
    ],
)
def test_a_driver_that_does_not_start_is_a_node_without_gpus(
    code: int, reason: str, library: Path, tmp_path: Path
) -> None:
    (found,) = read(library, tmp_path, f"init {code}\n" + card())
    assert "gpus" not in found
    assert found["driver"] == f"no NVIDIA GPUs: {reason}"


def test_a_driver_that_comes_later_is_found(library: Path, tmp_path: Path) -> None:
    before, after = read(library, tmp_path, "init 9\n", card(), how="retry")
    assert "gpus" not in before
    assert [gpu["uuid"] for gpu in after["gpus"]] == ["GPU-a"]


def test_a_driver_that_is_replaced_underneath_is_looked_at_again(
    library: Path, tmp_path: Path
) -> None:
    good, mismatch, again = read(
        library, tmp_path, card(), "init 18\n" + card(), card(), how="retry"
    )
    assert good["gpus"]
    assert "gpus" not in mismatch
    assert again["gpus"]


def test_a_library_that_is_no_library_is_a_node_without_gpus(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "libnvidia-ml.so.1").write_text("not a library")
    (found,) = read(broken, tmp_path, "")
    assert "gpus" not in found
    assert found["driver"].startswith("no NVIDIA GPUs: ")

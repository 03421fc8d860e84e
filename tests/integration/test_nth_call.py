"""Every call that changes a file fails once, as on a full or a broken disk: nothing lost, no lie.

Goal: no false success, no lost exit, no acknowledged state lost. Method: the calls of a shim and of
the agent's journal are counted; then each n-th one fails with ENOSPC and, another time, with EIO.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

from fluxhive.agent import shim
from fluxhive.agent.run_directory import RunPhase, inspect_run
from tests.helpers.attempts import PATIENCE_S
from tests.helpers.attempts import shell as run_of_shell
from tests.helpers.nth_call import NthCall

ERRORS = (errno.ENOSPC, errno.EIO)


def run_shim(directory: Path, nth: NthCall) -> int:
    words = [sys.executable, "-I", "-S", "-X", "utf8", shim.__file__, str(directory)]
    return subprocess.run(
        words, env=nth.env, stdin=subprocess.DEVNULL, timeout=PATIENCE_S
    ).returncode


def test_a_shim_never_lies_and_never_loses_an_exit(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    nth = NthCall(tmp_path, runs)
    mark = tmp_path / "began"

    def attempt(number: int) -> Path:
        mark.unlink(missing_ok=True)
        line = f"echo x >> {mark}; echo out; exit 7"
        return run_of_shell(runs, line, attempt=f"t-{number}.1", linger_ms=0)

    whole = attempt(0)
    nth.fail(0)
    assert run_shim(whole, nth) == 0
    n_calls = nth.n_calls
    assert n_calls >= 8, "it was not watched"
    told = {"exact": 0, "not started": 0}
    for number, error in ((n, error) for n in range(1, n_calls + 1) for error in ERRORS):
        directory = attempt(number * 1000 + error)
        nth.fail(number, error)
        status = run_shim(directory, nth)
        nth.fail(0)
        state = inspect_run(directory)
        began = mark.read_text().count("x") if mark.exists() else 0
        case = f"call {number} of {n_calls} with {errno.errorcode[error]}: {status}, {state}"
        assert began <= 1, case
        if began:
            assert state.phase is RunPhase.ENDED, case
            assert state.exited is not None
            assert state.exited.code == 7, case
            told["exact"] += 1
        else:
            is_success = state.exited is not None and state.exited.code == 0
            assert not is_success, case
            assert status != 0 or (state.exited is not None and state.exited.exec_error), case
            told["not started"] += 1
    print(f"{n_calls} calls, each with 2 errors: {told}")
    assert min(told.values()) > 0


def test_a_journal_keeps_what_it_has_acknowledged(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    nth = NthCall(tmp_path, directory)
    words = [
        sys.executable,
        "-m",
        "tests.helpers.nth_journal",
        str(directory),
        nth.env["NTH_CONTROL"],
    ]
    done = subprocess.run(
        words, env=nth.env, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(cases) > 60, "it was not watched"
    n_refused = 0
    for case in cases:
        rank = {"preparing": 1, "exited": 2}
        for word in case["acknowledged"]:
            number, phase = word.split()
            assert number in case["held"], case
            assert rank[case["held"][number]] >= rank[phase], case
            n = 2 * int(number) - (phase == "preparing")
            assert n in case["said"], case
        assert not (case["acknowledged"] and case["is_anew"]), case
        n_refused += len(case["acknowledged"]) < 8
    print(f"{len(cases)} cases, {n_refused} with something refused")
    assert n_refused > 10

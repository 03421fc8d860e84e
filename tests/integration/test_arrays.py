"""A sweep on a real server and agent: substituted, counted, capped, and ended as a whole."""

from __future__ import annotations

from tests.helpers.cli_hive import CliHive


def test_a_sweep_runs_each_combination_once(hive: CliHive) -> None:
    line = 'echo "$lr {seed} $FLUXHIVE_ARRAY_INDEX/$FLUXHIVE_ARRAY_COUNT" >> told; [ {index} != 3 ]'
    array = hive.submit("-n", "sweep", "--array", "lr=1e-3,1e-4", "seed=0..1", "--", line)
    done = hive.run("wait", "sweep")
    assert done.returncode == 1, done.stderr
    assert sorted((hive.home / "told").read_text().splitlines()) == [
        "1e-3 0 0/4",
        "1e-3 1 1/4",
        "1e-4 0 2/4",
        "1e-4 1 3/4",
    ]
    task = hive.task(array)
    assert task["reason"] == "3 succeeded, 1 failed"
    assert hive.task(f"{array}[3]")["state"] == "failed"
    listed = hive.ok("ps", "--array", "sweep", "-q").split()
    assert listed == [f"{array}[{index}]" for index in (3, 2, 1, 0)]


def test_an_array_outlives_the_server_and_is_cancelled_as_a_whole(hive: CliHive) -> None:
    array = hive.submit("--array", "0-99%2", "--", "echo out; sleep 60")
    hive.when(f"{array}[1]", "running")
    hive.run("down")
    hive.up()
    hive.when(f"{array}[1]", "running")
    assert hive.task(array)["members"] == {
        "waiting": 98,
        "live": 2,
        "succeeded": 0,
        "failed": 0,
        "cancelled": 0,
    }
    assert hive.ok("logs", f"{array}[1]") == "out\n"
    hive.ok("cancel", array)
    hive.when(array, "cancelled")
    assert hive.task(f"{array}[99]")["state"] == "cancelled"

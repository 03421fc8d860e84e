"""Tasks that wait for a person, a time or each other, on a real server and agent."""

from __future__ import annotations

from tests.helpers.cli_hive import CliHive


def test_a_chain_runs_in_order_over_a_restart_and_falls_with_its_first_failure(
    hive: CliHive,
) -> None:
    first = hive.submit("--hold", "--", "echo first >> order; exit 0")
    second = hive.submit("--after", first, "--", "echo second >> order; exit 3")
    third = hive.submit("--after", second, "--", "echo third >> order")
    cleaner = hive.submit("--after", f"{second}:any", "--", "echo cleaner >> order")
    assert hive.task(second)["waiting"][0]["code"] == "DEPENDS"
    hive.ok("edit", third, "--name", "never", "--gpus", "1")
    hive.run("down")
    hive.up()
    assert hive.task(third)["original"]["name"] == ""
    hive.ok("release", first)
    hive.when(cleaner, "succeeded")
    assert (hive.home / "order").read_text().split() == ["first", "second", "cleaner"]
    cancelled = hive.task("never")
    assert cancelled["state"] == "cancelled"
    assert cancelled["reason"] == (f"needs {second} to succeed, and that failed: exit code 3")
    refused = hive.run("submit", "--after", second, "--", "true")
    assert refused.returncode == 6
    assert f"{second}:any" in refused.stderr


def test_a_start_time_starts_a_task(hive: CliHive) -> None:
    later = hive.submit("--begin", "+2s", "--", "true")
    assert hive.task(later)["state"] == "held"
    hive.when(later, "succeeded")

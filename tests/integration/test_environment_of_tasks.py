"""What a task is given: files of variables and secrets, by the command line and real processes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from fluxhive.protocol.rest import SecretValue, SecretView
from tests.helpers.cli_hive import CliHive, until

HELD = "hunter2-never-shown"


def test_a_file_of_variables_goes_in_and_options_go_before_it(hive: CliHive) -> None:
    (hive.home / ".env").write_text("export A='one # two'\nB=\"x\\ty\" # said\nC=3\n")
    line = 'printf "[%s] [%s] [%s]" "$A" "$B" "$C"'
    out = hive.ok("submit", "-f", "--env-file", ".env", "--env", "C=4", "--", line)
    assert "[one # two] [x\ty] [4]" in out


def test_what_is_ours_to_say_is_not_the_authors_to_change(hive: CliHive) -> None:
    hive.run("submit", "--env", "CUDA_VISIBLE_DEVICES=0,1,2,3", "-n", "greedy", "--", "sleep 1")
    line = "echo [$CUDA_DEVICE_ORDER] [$CUDA_VISIBLE_DEVICES] $FLUXHIVE_ATTEMPT_ID $FLUXHIVE_NODE"
    out = hive.ok("submit", "-f", "--env", "CUDA_VISIBLE_DEVICES=0,1", "--", line)
    assert "[PCI_BUS_ID] []" in out
    done = hive.run("submit", "--env", "FLUXHIVE_EPOCH=9", "--", "true")
    assert done.returncode == 2
    assert "are set by FlowHive" in done.stderr


def test_a_secret_reaches_its_task_and_nothing_else(hive: CliHive) -> None:
    hive.ok("secret", "set", "TOKEN", stdin=HELD + "\n")
    (hive.home / "key").write_bytes(b"line 1\nline 2\n")
    hive.ok("secret", "set", "KEY", "--file", "key")
    line = 'wc -c < "$KEY"; stat -c %a "$KEY"; printf %s "$TOKEN" | wc -c; sleep 60'
    task = hive.submit("--secret", "TOKEN", "--secret", "KEY=file", "--", line)
    hive.when(task, "running")
    until(lambda: hive.run("logs", task).stdout.split() == ["14", "600", str(len(HELD))])
    said = [
        hive.ok("show", task),
        json.dumps(hive.task(task)),
        hive.ok("secret", "ls"),
        hive.ok("secret", "ls", "--json"),
        hive.ok("ps", "--json"),
        os.popen("ps axww -o args").read(),
    ]
    assert "TOKEN (as a variable)" in said[0]
    assert not [text for text in said if HELD in text]
    (spec,) = hive.state.glob(f"agent/*/runs/{task}.1/spec.json")
    assert spec.stat().st_mode & 0o777 == 0o600
    assert spec.parent.stat().st_mode & 0o777 == 0o700
    hive.ok("cancel", task)
    until(lambda: not spec.exists(), what="the end of the run directory")
    found = [path for path in hive.home.rglob("*") if holds(path, HELD.encode())]
    assert {path.name.partition("-")[0] for path in found} == {"hive.db"}, found


def holds(path: Path, needle: bytes) -> bool:
    try:
        return path.is_file() and needle in path.read_bytes()
    except FileNotFoundError:
        return False  # a directory of a task that ended meanwhile


def test_a_task_whose_secret_was_removed_fails_with_the_reason(hive: CliHive) -> None:
    hive.ok("secret", "set", "GONE", stdin="x")
    blocker = hive.submit("--gpus", "4", "--", "sleep 60")
    hive.when(blocker, "running")
    task = hive.submit("--gpus", "4", "--secret", "GONE", "--", "true")
    hive.ok("secret", "rm", "GONE")
    hive.ok("cancel", blocker)
    outcome = hive.when(task, "failed", limit_s=60)["outcome"]
    assert outcome["kind"] == "launch-failed"
    assert "has no secret `GONE` any more" in outcome["detail"]


def test_a_secret_that_one_does_not_have_is_refused_at_once(hive: CliHive) -> None:
    done = hive.run("submit", "--secret", f"NOT_{time.time_ns()}", "--", "true")
    assert done.returncode == 2
    assert "fluxhive secret set NOT_" in done.stderr
    assert hive.run("secret", "rm", "NEVER_SET").returncode == 3


def test_an_argument_list_too_long_is_said(hive: CliHive) -> None:
    """Each of them is allowed; together with a larger stack limit's share they are too much."""
    for number in range(40):
        body = SecretValue(value="x" * 65_000)
        hive.transport.call("PUT", f"/api/v1/secrets/BIG_{number}", SecretView, body=body)
    given = [word for number in range(40) for word in ("--secret", f"BIG_{number}")]
    task = hive.submit(*given, "--", "/bin/true", "x")
    outcome = hive.when(task, "failed")["outcome"]
    assert outcome["kind"] == "launch-failed"
    assert "Argument list too long" in outcome["detail"]

"""The whole path on one machine, by the command line alone: what a person does on the first day."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.helpers.cli_hive import CliHive, until


def test_a_command_is_followed_and_its_exit_code_returned(hive: CliHive) -> None:
    done = hive.run("submit", "-f", "--", "echo one; sleep 0.2; echo two >&2; exit 3")
    assert done.returncode == 3
    assert "one\n" in done.stdout
    assert "two" in done.stdout + done.stderr


def test_one_argument_is_a_shell_line_and_several_are_executed_as_they_are(hive: CliHive) -> None:
    assert (
        hive.ok("submit", "-f", "--", "echo $HOME | wc -c")
        .strip()
        .endswith(str(len(str(hive.home)) + 1))
    )
    assert "$HOME | wc" in hive.ok("submit", "-f", "--", "echo", "$HOME", "|", "wc")


def test_a_task_gets_its_environment_name_gpu_and_working_directory(hive: CliHive) -> None:
    line = "echo [$K] [$CUDA_VISIBLE_DEVICES] [$FLUXHIVE_TASK_NAME] [$FLUXHIVE_EPOCH]; pwd"
    out = hive.ok(
        "submit", "--gpus", "1", "--gpu-mem", "8G", "--env", "K=V", "-n", "vit", "-f", "--", line
    )
    assert "[V] [0] [vit] [1]" in out
    assert str(hive.home) in out


def test_only_what_was_asked_for_is_in_the_environment(hive: CliHive) -> None:
    os.environ["LEAKED_FROM_THE_SUBMITTER"] = "1"
    out = hive.ok("submit", "-f", "--", "env", LEAKED_FROM_THE_SUBMITTER="1")
    assert "LEAKED" not in out
    assert "FLUXHIVE_TASK_ID=t-" in out
    assert "FLOWHIVE_" not in out


def test_a_signal_is_told_apart_from_an_exit_code(hive: CliHive) -> None:
    task = hive.submit("--", "kill -SEGV $$")
    assert hive.run("wait", task).returncode == 128 + signal.SIGSEGV
    shown = hive.task(task)
    assert shown["state"] == "failed"
    assert shown["outcome"]["signal"] == signal.SIGSEGV


def test_a_time_limit_ends_the_task_with_124(hive: CliHive) -> None:
    task = hive.submit("--time", "1s", "--", "sleep 60")
    assert hive.run("wait", task).returncode == 124
    assert hive.task(task)["outcome"]["kind"] == "time-limit"


def test_a_failing_task_is_tried_again_as_often_as_asked(hive: CliHive) -> None:
    task = hive.submit("--retry", "2", "--", "echo try $FLUXHIVE_EPOCH; exit 1")
    assert hive.run("wait", task).returncode == 1
    assert [attempt["number"] for attempt in hive.task(task)["attempts"]] == [1, 2, 3]
    assert "try 3" in hive.ok("logs", task)


def test_cancel_ends_the_whole_tree_and_is_final(hive: CliHive) -> None:
    marker = f"{time.time_ns()}"
    task = hive.submit("--", f"setsid sleep 4{marker[-6:]} & sleep 5{marker[-6:]}")
    hive.when(task, "running")
    hive.ok("cancel", task)
    hive.when(task, "cancelled")
    left = os.popen(f"pgrep -f 'sleep [45]{marker[-6:]}'").read().split()
    assert left == []


def test_a_waiting_task_says_why_and_is_cancelled_at_once(hive: CliHive) -> None:
    task = hive.submit("--gpus", "5", "--", "true")
    shown = hive.task(task)
    assert shown["state"] == "queued"
    assert shown["waiting"][0]["code"] == "NEVER"
    assert "4" in shown["waiting"][0]["text"]
    other = hive.submit("--gpus", "6", "--", "true")
    listed = {each["id"]: each["waiting"] for each in hive.json("ps")["tasks"]}
    assert listed[task] == shown["waiting"][:1]
    assert listed[other] == hive.task(other)["waiting"][:1] != listed[task]
    assert shown["waiting"][0]["text"] in hive.ok("ps")
    hive.ok("cancel", task, other)
    assert hive.task(task)["state"] == "cancelled"


def test_tasks_share_a_gpu_by_memory_and_whole_gpus_are_left_alone(hive: CliHive) -> None:
    # Three of four GPUs are taken whole, so that the two others have one between them.
    whole = hive.submit("--gpus", "3", "--", "sleep 30")
    hive.when(whole, "running")
    shared = [
        hive.submit("--gpus", "1", "--gpu-mem", "30G", "--cpus", "1", "--", "sleep 30")
        for _ in range(2)
    ]
    places = []
    for task in (*shared, whole):
        attempt = hive.when(task, "running")["attempts"][0]
        places.append({gpu["uuid"] for gpu in attempt["reservation"]["gpus"]})
    assert places[0] == places[1]
    assert not places[0] & places[2]
    hive.ok("cancel", *shared, whole)


def test_nodes_and_gpus_are_shown(hive: CliHive) -> None:
    (node,) = hive.json("nodes")["nodes"]
    assert node["state"] == "ready"
    assert len(hive.json("gpus")["gpus"]) == 4
    assert "80" in hive.ok("gpus")


def test_a_second_user_has_a_login_of_their_own(hive: CliHive, tmp_path: object) -> None:
    link = hive.ok("user", "add", "bob").strip().split()[-1]
    code = link.rpartition("#")[2]
    body = {"code": code, "password": "correct horse"}
    hive.transport.fetch("POST", "/api/v1/auth/invitation", body=body)
    home = hive.home / "bob"
    home.mkdir()
    bob = CliHive(home, FLOWHIVE_CONTROL_URL=hive.transport.base_url)
    assert bob.run("ps").returncode == 4
    bob.ok("login", "--username", "bob", "--password", "-", stdin="correct horse\n")
    task = bob.submit("--", "echo from bob")
    assert hive.task(task)["owner"] == "bob"
    others = hive.submit("--", "sleep 30")
    refused = bob.run("cancel", others)
    assert refused.returncode == 4, refused.stderr
    hive.ok("cancel", others)


def test_a_token_for_a_script_can_submit(hive: CliHive) -> None:
    token = hive.json("token", "create", "ci")["token"]
    home = hive.home / "script"
    home.mkdir()
    script = CliHive(home, FLOWHIVE_CONTROL_URL=hive.transport.base_url, FLOWHIVE_TOKEN=token)
    assert script.run("submit", "-f", "--", "exit 7").returncode == 7


@pytest.mark.slow
def test_server_and_agent_die_and_a_task_goes_on(tmp_path: object) -> None:
    """Goal: neither process's death loses a byte or an exit code. Method: kill -9 of both."""
    hive = CliHive(tmp_path)  # type: ignore[arg-type]
    hive.up()
    try:
        line = "for i in $(seq 100); do echo line $i; sleep 0.1; done; exit 5"
        task = hive.submit("--", line)
        until(lambda: "line 5\n" in hive.ok("logs", task), what="the first lines")
        for process in ("agent_pid", "server_pid"):
            os.kill(hive.processes[process], signal.SIGKILL)
        time.sleep(1)
        hive.up()
        assert hive.run("wait", task).returncode == 5
        assert hive.ok("logs", task) == "".join(f"line {i}\n" for i in range(1, 101))
        assert len(hive.task(task)["attempts"]) == 1
    finally:
        hive.down()

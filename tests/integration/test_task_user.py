"""An agent of root that runs tasks as an unprivileged user: what they can do, and what they cannot.

Method: the real agent as root, and the machine's own user `nobody`.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fluxhive.protocol.rest import SecretValue, SecretView
from fluxhive.sdk.snapshot import look, pack
from fluxhive.sdk.upload import upload
from tests.helpers.agent_hive import AgentHive
from tests.helpers.cli_hive import until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="becomes another user: needs root")

NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ("--task-user", "nobody")


@pytest.fixture
def hive() -> Iterator[AgentHive]:
    """In a directory that everybody can pass through, as /var/lib is."""
    home = Path(tempfile.mkdtemp(prefix="fluxhive-test-", dir="/var/tmp"))
    home.chmod(0o711)
    hive = AgentHive(home)
    hive.start_server()
    yield hive
    hive.close()
    shutil.rmtree(home)


def words(hive: AgentHive, line: str, **spec: object) -> list[str]:
    """What a shell line prints, which must succeed."""
    task = hive.submit(line, **spec)
    end = hive.ended(task)
    assert end.state.value == "succeeded", (end.outcome, hive.log(task, "stderr"))
    return hive.log(task).decode().splitlines()


def processes_of_nobody() -> set[int]:
    found = set()
    for process in psutil.process_iter(["pid", "uids", "status"]):
        info = process.info
        if info["uids"] is not None and info["uids"].real == NOBODY.pw_uid:
            found |= {info["pid"]} if info["status"] != psutil.STATUS_ZOMBIE else set()
    return found


@pytest.mark.parametrize("compilers", ["found", "none"])
def test_a_task_is_that_user_and_nobody_else(hive: AgentHive, compilers: str) -> None:
    """With programs started by the compiled starter, and by fork where there is no compiler."""
    if compilers == "none":
        programs = hive.home / "bin"
        programs.mkdir()
        for name in ("sh", "id", "grep", "cat", "ls", "touch", "test"):
            (programs / name).symlink_to(shutil.which(name) or name)
        hive.env["PATH"] = str(programs)
    hive.start_agent(*AS_NOBODY)
    assert bool(list(hive.state.glob("agent/*/native/*.so"))) is (compilers == "found")
    said = words(
        hive,
        "id -u; id -ru; id -g; id -G; echo $HOME $USER $LOGNAME; "
        "grep -e NoNewPrivs -e CapEff /proc/self/status; echo again >> /dev/stdout; "
        "echo metric >> $FLUXHIVE_METRICS && echo result > $FLUXHIVE_RESULT && echo both",
        workdir="/",
    )
    groups = " ".join(map(str, os.getgrouplist("nobody", NOBODY.pw_gid)))
    number = str(NOBODY.pw_uid)
    assert said[:5] == [number, number, str(NOBODY.pw_gid), groups, "/ nobody nobody"]
    assert said[5].split() == ["CapEff:", "0" * 16]
    assert said[6].split() == ["NoNewPrivs:", "1"]
    assert said[7:] == ["again", "both"]
    failing = hive.submit("exit 7", workdir="/")
    outcome = hive.ended(failing).outcome
    assert outcome is not None
    assert outcome.exit_code == 7
    kept_out = hive.submit("true", workdir="/root")
    outcome = hive.ended(kept_out).outcome
    assert outcome is not None
    assert outcome.detail == "working directory /root cannot be entered: Permission denied"


def test_code_and_secrets_are_the_users_and_nothing_else_is(hive: AgentHive) -> None:
    hive.start_agent(*AS_NOBODY)
    code = hive.home / "project"
    code.mkdir()
    (code / "data.txt").write_text("the code\n")
    packed = pack(look(str(code)))
    upload(hive.transport(), packed.file, packed.code.sha256, packed.code.n_bytes)
    hive.transport().call("PUT", "/api/v1/secrets/KEY", SecretView, body=SecretValue(value="s3cr"))
    said = words(
        hive,
        "cat data.txt; echo new > data.txt; cat $KEY; echo; "
        "cd ..; for each in spec.json exit started .; do cat $each || echo no $each; done; "
        "ls . || echo no list; touch stop || echo no stop; ls ../.. || echo no list above",
        secrets={"KEY": "file"},
        code=packed.code,
    )
    assert said[:2] == ["the code", "s3cr"]
    refused = "no spec.json,no exit,no started,no .,no list,no stop,no list above"
    assert said[2:] == refused.split(",")
    until(lambda: not hive.run_directories(), what="the end of the run directory")
    for path in hive.state.glob("agent/*/*"):
        assert not path.is_file() or path.stat().st_mode & 0o077 == 0, path


def test_cancel_ends_all_of_it_and_so_does_the_death_of_its_supervisor(hive: AgentHive) -> None:
    hive.start_agent(*AS_NOBODY)
    before = processes_of_nobody()
    line = "trap '' TERM; setsid sleep 1000 & sleep 1000 & wait; wait"
    task = hive.submit(line, workdir="/", grace_ms=200)
    until(lambda: len(processes_of_nobody() - before) == 3, what="three processes")
    hive.cancel(task)
    assert hive.ended(task).state.value == "cancelled"
    assert processes_of_nobody() <= before
    alone = hive.submit("exec sleep 1000", workdir="/")
    until(lambda: len(processes_of_nobody() - before) == 1, what="its process")
    until(lambda: hive.task(alone).word == "running", what="its start being known")
    started = json.loads((hive.run_directory(f"{alone}.1") / "started").read_bytes())
    launcher = psutil.Process(started["shim_pid"]).ppid()
    hive.kill_agent()
    for pid in (launcher, started["shim_pid"]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: processes_of_nobody() <= before, what="the end of the program")


@pytest.mark.parametrize(
    ("name", "says"),
    [("nobody-here", "this machine has no user"), ("root", "tasks would be root as well")],
)
def test_whom_there_is_not_and_who_is_root_is_refused(
    hive: AgentHive, name: str, says: str
) -> None:
    ended = hive.run_agent("--task-user", name)
    assert ended.returncode != 0
    assert says in ended.stderr
    assert "hint: " in ended.stderr


def test_a_user_who_cannot_reach_the_state_directory_is_refused(hive: AgentHive) -> None:
    hive.home.chmod(0o700)
    ended = hive.run_agent(*AS_NOBODY)
    assert ended.returncode != 0
    assert "cannot reach" in ended.stderr
    assert "FLOWHIVE_STATE_DIR" in ended.stderr

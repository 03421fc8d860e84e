"""Run directories: what stands in them, what is refused with a remedy, what is left afterwards."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest
from msgspec.structs import replace

from fluxhive.agent.former_life import is_spent, recover
from fluxhive.agent.run_directory import read_spec
from fluxhive.agent.workspace import Workspace
from fluxhive.core.effects import NodeAttempt
from fluxhive.core.errors import Conflict, Unreachable
from fluxhive.core.events import DispatchReceived, WorkspaceFailed, WorkspaceReady
from fluxhive.core.node import HeldPhase
from fluxhive.core.request import Rendezvous, Reservation
from fluxhive.core.task import ExecutorKind, SecretForm
from fluxhive.core.values import AttemptId, NodeId, TaskId
from fluxhive.protocol.agent import Launch, LaunchSecret

ATTEMPT = AttemptId("t-jrt6.1")


def attempt(name: str = ATTEMPT, failover_ms: int | None = None) -> NodeAttempt:
    return NodeAttempt(
        dispatch=DispatchReceived(
            session=1,
            attempt_id=AttemptId(name),
            task_id=TaskId(name.rpartition(".")[0]),
            epoch=1,
            channel=7,
            reservation=Reservation(node_id=NodeId("n-1")),
            grace_ms=1000,
            time_limit_ms=5000,
            failover_ms=failover_ms,
        ),
        phase=HeldPhase.PREPARING,
    )


def launch(workdir: Path | None = None, env: dict[str, str] | None = None) -> Launch:
    return Launch(
        command=("echo $HOME | wc -c",),
        executor=ExecutorKind.SHELL,
        env=env or {},
        workdir=None if workdir is None else str(workdir),
        task_name="count",
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "runs", tmp_path / "contact", label="gpu-a")


def test_a_run_directory_is_private_and_says_all_that_a_shim_needs(
    workspace: Workspace, tmp_path: Path
) -> None:
    answer = workspace.prepare(attempt(), launch(tmp_path, {"KEY": "secret"}))
    assert answer == WorkspaceReady(attempt_id=ATTEMPT)
    directory = Path(workspace.directory(ATTEMPT))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "spec.json").stat().st_mode) == 0o600
    spec = read_spec(directory)
    assert spec.argv == ["/bin/sh", "-c", "echo $HOME | wc -c"]
    assert spec.cwd == str(tmp_path)
    assert (spec.grace_ms, spec.time_limit_ms, spec.failover_ms) == (1000, 5000, None)
    assert spec.env["KEY"] == "secret"
    assert spec.env["FLUXHIVE_COOKIE"] == spec.cookie
    assert workspace.cookies == {spec.cookie: ATTEMPT}


def test_a_task_sees_nothing_else_of_the_agents_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWHIVE_TOKEN", "fh_u_secret")
    workspace = Workspace(tmp_path / "runs", tmp_path / "contact")
    workspace.prepare(attempt(), launch())
    assert "fh_u_secret" not in Path(workspace.directory(ATTEMPT), "spec.json").read_text()


def test_a_missing_working_directory_is_named_with_the_node_and_tried_elsewhere(
    workspace: Workspace, tmp_path: Path
) -> None:
    answer = workspace.prepare(attempt(), launch(tmp_path / "nowhere"))
    assert isinstance(answer, WorkspaceFailed)
    assert answer.elsewhere
    assert f"{tmp_path}/nowhere does not exist on node gpu-a" in answer.detail
    assert "--workdir" in answer.detail
    assert not os.path.exists(workspace.directory(ATTEMPT))


def test_without_a_working_directory_it_runs_in_the_agents_home(workspace: Workspace) -> None:
    workspace.prepare(attempt(), launch())
    assert read_spec(workspace.directory(ATTEMPT)).cwd == os.environ["HOME"]


def test_a_launch_too_large_for_a_frame_is_fetched(tmp_path: Path) -> None:
    asked: list[AttemptId] = []

    def fetch(attempt_id: AttemptId) -> Launch:
        asked.append(attempt_id)
        return launch(env={"BIG": "x" * 200_000})

    workspace = Workspace(tmp_path / "runs", tmp_path / "contact", fetch=fetch)
    assert not workspace.is_quick(None)
    assert workspace.prepare(attempt(), None) == WorkspaceReady(attempt_id=ATTEMPT)
    assert asked == [ATTEMPT]
    assert len(read_spec(workspace.directory(ATTEMPT)).env["BIG"]) == 200_000


def test_a_launch_that_cannot_be_fetched_is_handed_back(tmp_path: Path) -> None:
    def fetch(attempt_id: AttemptId) -> Launch:
        raise Unreachable("no server answers")

    workspace = Workspace(tmp_path / "runs", tmp_path / "contact", fetch=fetch)
    answer = workspace.prepare(attempt(), None)
    assert answer == WorkspaceFailed(
        attempt_id=ATTEMPT, detail="no server answers", elsewhere=True, for_now=True
    )


def test_a_run_directory_that_cannot_be_made_is_this_nodes_trouble(workspace: Workspace) -> None:
    os.mkdir(workspace.directory(ATTEMPT))
    answer = workspace.prepare(attempt(), launch())
    assert isinstance(answer, WorkspaceFailed)
    assert answer.elsewhere


def test_only_work_with_a_directory_seen_lately_is_quick(
    workspace: Workspace, tmp_path: Path
) -> None:
    asked = launch(tmp_path)
    assert not workspace.is_quick(asked)
    workspace.prepare(attempt(), asked)
    assert workspace.is_quick(asked)


def test_a_discarded_attempt_leaves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    workspace.prepare(attempt(), launch(tmp_path))
    directory = Path(workspace.directory(ATTEMPT))
    (directory / "stdout").write_text("out")
    (directory / "of the task").mkdir()
    workspace.discard([ATTEMPT, AttemptId("t-never.1")])
    assert os.listdir(workspace.root) == []
    assert workspace.cookies == {}


def test_where_output_is_kept_only_the_rest_goes(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "runs", tmp_path / "contact", keep_output=True)
    workspace.prepare(attempt(), launch(tmp_path))
    directory = Path(workspace.directory(ATTEMPT))
    (directory / "stdout").write_text("out")
    workspace.discard([ATTEMPT])
    assert [path.name for path in directory.iterdir()] == ["stdout"]


def test_attempts_are_recovered_from_their_run_directories(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.prepare(attempt(), launch(tmp_path))
    workspace.prepare(attempt("t-9999.1"), launch(tmp_path))
    os.mkdir(workspace.directory(AttemptId("t-garbage.1")))
    found = recover(workspace.root, {AttemptId("t-9999.1")})
    assert list(found) == [ATTEMPT]
    assert found[ATTEMPT].dispatch == attempt().dispatch


def test_what_is_forgotten_is_cleared_and_what_is_held_or_not_known_stays(
    workspace: Workspace, tmp_path: Path
) -> None:
    forgotten, unknown, gone = (AttemptId(f"t-{n}.1") for n in (7777, 8888, 9999))
    for name in (ATTEMPT, forgotten, unknown):
        workspace.prepare(attempt(name), launch(tmp_path))
    assert workspace.clear({ATTEMPT}, [forgotten, gone]) == []
    assert sorted(os.listdir(workspace.root)) == [unknown, ATTEMPT]


def test_what_a_room_without_a_spec_held_is_of_no_use_and_one_that_cannot_be_read_stays(
    workspace: Workspace,
) -> None:
    for name, spec in (("t-1.1", None), ("t-2.1", b" " * 900), ("t-3.1", b'{"attempt": "t-3')):
        directory = Path(workspace.directory(AttemptId(name)))
        directory.mkdir()
        if spec is not None:
            (directory / "spec.json").write_bytes(spec)
    workspace.clear((), ())
    assert os.listdir(workspace.root) == ["t-3.1"]


def test_a_room_that_is_half_emptied_is_nobodys(workspace: Workspace, tmp_path: Path) -> None:
    """The spec goes before the output, or it would be taken up as one that printed nothing."""
    workspace.prepare(attempt(), launch(tmp_path))
    directory = Path(workspace.directory(ATTEMPT))
    for name in ("started", "exit", "shim.lock"):
        (directory / name).touch()
    # What cannot be unlinked stops it half-way.
    (directory / "stdout").mkdir()
    (directory / "stdout" / "of-the-task").touch()
    assert workspace._spare is not None
    assert not workspace._spare.put(str(directory))
    assert is_spent(str(directory))


def test_the_contact_file_is_one_number_of_one_length(workspace: Workspace, tmp_path: Path) -> None:
    sizes = set()
    for at_ms in (7, 123_456_789, 2**40):
        workspace.write_contact(at_ms)
        content = (tmp_path / "contact").read_text()
        assert int(content) == at_ms
        sizes.add(len(content))
    assert len(sizes) == 1


def test_a_shim_with_a_failover_length_is_told_where_the_contact_stands(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.prepare(attempt(failover_ms=60_000), launch(tmp_path))
    spec = json.loads(Path(workspace.directory(ATTEMPT), "spec.json").read_text())
    assert spec["contact_path"] == str(tmp_path / "contact")


def test_a_launch_that_cannot_be_for_what_the_task_asks_is_not_tried_elsewhere(
    tmp_path: Path,
) -> None:
    def fetch(attempt_id: AttemptId) -> Launch:
        raise Conflict("ada has no secret `K` any more")

    workspace = Workspace(tmp_path / "runs", tmp_path / "contact", fetch=fetch)
    answer = workspace.prepare(attempt(), None)
    assert answer == WorkspaceFailed(attempt_id=ATTEMPT, detail="ada has no secret `K` any more")


def test_a_secret_lies_in_a_file_that_nobody_else_can_read(workspace: Workspace) -> None:
    given = (
        LaunchSecret(name="KEY", form=SecretForm.FILE, value="one\ntwo\n"),
        LaunchSecret(name="TOKEN", form=SecretForm.VARIABLE, value="three"),
    )
    workspace.prepare(attempt(), replace(launch(), secrets=given))
    directory = Path(workspace.directory(ATTEMPT))
    spec = read_spec(directory)
    path = Path(spec.env["KEY"])
    assert path.read_text() == "one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert spec.env["TOKEN"] == "three"
    assert "two" not in (directory / "spec.json").read_text()
    workspace.discard([ATTEMPT])
    assert not path.exists()


def test_a_port_in_use_where_members_are_to_meet_is_said_before_anything_starts(
    workspace: Workspace,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        meet = Rendezvous(address="127.0.0.1", port=port)
        first = attempt()
        told = replace(first, dispatch=replace(first.dispatch, rendezvous=meet, n_nodes=2))
        failed = workspace.prepare(told, launch())
        assert isinstance(failed, WorkspaceFailed)
        assert failed.detail.startswith(f"EADDRINUSE: port {port}")
        assert not failed.elsewhere
        other = replace(told, dispatch=replace(told.dispatch, rank=1))
        assert isinstance(workspace.prepare(other, launch()), WorkspaceReady)

"""`login`, `user` and `token`: secrets go where they belong and nowhere else."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.helpers.stub_server import problem_answer
from tests.unit.cli.conftest import Cli

GRANT = {"id": "k-1", "token": "fh_u_new", "username": "ada", "role": "member", "scope": "full"}


@pytest.fixture(autouse=True)
def no_token(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWHIVE_TOKEN")


def kept(tmp_path: Path) -> object:
    return json.loads((tmp_path / "tokens.json").read_text())


def test_login_keeps_a_token_and_not_the_password(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n"))
    cli.server.on("POST", "/auth/login", GRANT)
    done = cli("login", "-u", "ada", "--password", "-")
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        "logged in to http://127.0.0.1:8001 as ada; "
        f"the token is kept in {tmp_path / 'tokens.json'}\n"
    )
    assert cli.server.bodies("POST", "/auth/login") == [{"username": "ada", "password": "hunter2"}]
    assert kept(tmp_path) == {"http://127.0.0.1:8001": "fh_u_new"}
    assert not (tmp_path / "config.toml").exists()


def test_a_wrong_password_is_4_and_keeps_nothing(cli: Cli, tmp_path: Path) -> None:
    cli.server.on("POST", "/auth/login", problem_answer({"detail": "wrong name or password"}, 401))
    done = cli("login", "-u", "ada", "--password", "wrong")
    assert done.code == 4
    assert "error: wrong name or password" in done.err
    assert done.err.startswith("warning: `--password` on the command line can be seen by others")
    assert not (tmp_path / "tokens.json").exists()


def test_a_token_is_tried_before_it_is_kept(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("fh_u_mine\n"))
    cli.server.on("GET", "/auth/me", {"username": "ada", "role": "member", "scope": "full"})
    assert cli("login", "--token", "-").code == 0
    assert cli.server.asked[0].headers["Authorization"] == "Bearer fh_u_mine"
    assert kept(tmp_path) == {"http://127.0.0.1:8001": "fh_u_mine"}


def test_an_invitation_is_answered_without_a_browser(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("http://hive:8001/welcome#abc\nhunter2hunter2\n"))
    cli.server.on("POST", "/auth/invitation", GRANT)
    done = cli("login", "--link", "-", "--password", "-")
    assert (done.code, done.out) == (0, "")
    assert "logged in to http://hive:8001 as ada" in done.err
    answered = cli.server.bodies("POST", "/auth/invitation")
    assert answered == [{"code": "abc", "password": "hunter2hunter2"}]
    assert kept(tmp_path) == {"http://hive:8001": "fh_u_new"}


def test_what_is_no_invitation_is_not_sent_anywhere(cli: Cli) -> None:
    done = cli("login", "--link", "http://hive:8001/welcome")
    assert done.code == 2
    assert "--link: not the link of an invitation: `http://hive:8001/welcome`" in done.err
    assert cli.server.asked == []


def test_the_server_of_the_first_login_is_kept(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the next command would ask a server on this machine, where nobody is logged in."""
    monkeypatch.setattr("sys.stdin", io.StringIO("hunter2\n" * 2))
    cli.server.on("POST", "/auth/login", GRANT)
    login = ("login", "-u", "ada", "--password", "-", "--control-url")
    assert f"kept the address in {tmp_path / 'config.toml'}" in cli(*login, "http://hive:8001").err
    assert cli("config", "control_base_url").out == "http://hive:8001\n"
    second = cli(*login, "http://other:8001").err
    assert (
        f"commands go on talking to http://hive:8001 (from {tmp_path / 'config.toml'}); to change "
        "that: fluxhive config control_base_url http://other:8001" in second
    )
    assert cli("config", "control_base_url").out == "http://hive:8001\n"


def test_a_refused_token_of_the_environment_is_named(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logging in again would not help: the variable goes before the login."""
    monkeypatch.setenv("FLOWHIVE_TOKEN", "fh_u_old")
    refused = problem_answer({"detail": "the token `ci` has expired"}, 401)
    cli.server.on("GET", "/auth/me", refused)
    done = cli("whoami")
    assert done.code == 4
    assert "error: the token `ci` has expired; it came from FLOWHIVE_TOKEN" in done.err
    assert "hint: unset FLOWHIVE_TOKEN, which goes before what `fluxhive login` keeps" in done.err


def test_without_a_terminal_nobody_is_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    done = cli("login")
    assert done.code == 2
    assert "no username was given, and there is no terminal to ask on" in done.err


def test_a_user_is_added_and_the_link_is_the_output(cli: Cli) -> None:
    user = {"username": "bob", "role": "member", "created_at_ms": 0, "active": False}
    answer = {"user": user, "link": "http://hive/join#abc", "expires_at_ms": 1}
    cli.server.on("POST", "/users", answer)
    done = cli("user", "add", "bob", "--email", "bob@example.org")
    assert done == (
        0,
        "http://hive/join#abc\n",
        "the link above lets bob set a password, once, in a browser or with "
        "`fluxhive login --link -`: send it to nobody else\n",
    )
    assert cli.server.bodies("POST", "/users") == [{"username": "bob", "email": "bob@example.org"}]
    assert json.loads(cli("user", "add", "bob", "--json").out)["link"] == "http://hive/join#abc"


def test_users_and_tokens_are_listed(cli: Cli) -> None:
    user = {"username": "bob", "role": "member", "created_at_ms": 0}
    cli.server.on("GET", "/users", {"items": [user]})
    assert cli("user", "ls").out == "NAME\tROLE\tEMAIL\tACTIVE\nbob\tmember\t-\tyes\n"
    token = {"id": "k-1", "name": "ci", "username": "bob", "scope": "read", "created_at_ms": 0}
    cli.server.on("GET", "/tokens", {"items": [token]})
    titles, row = cli("token", "ls").out.splitlines()
    assert titles == "ID\tNAME\tSCOPE\tCREATED\tLAST USED\tEXPIRES"
    assert row.startswith("k-1\tci\tread\t19")
    assert row.endswith("\tnever\tnever")


def test_a_token_is_created_and_is_the_output(cli: Cli) -> None:
    cli.server.on("POST", "/tokens", GRANT)
    done = cli("token", "create", "ci", "--scope", "read", "--expires", "30d")
    assert done.out == "fh_u_new\n"
    assert cli.server.bodies("POST", "/tokens") == [
        {"name": "ci", "scope": "read", "expires_in_s": 2_592_000}
    ]
    assert json.loads(cli("token", "create", "ci", "--json").out)["token"] == "fh_u_new"


def test_without_a_login_the_remedy_is_named(cli: Cli) -> None:
    cli.server.on("GET", "/nodes", problem_answer({"detail": "who are you"}, 401))
    assert cli("nodes") == (4, "", "error: who are you\n\nhint: log in: fluxhive login\n")


def test_logout_forgets_the_token_of_this_server_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text(
        '{"http://127.0.0.1:8001": "fh_u_1", "https://hive.lab:8001": "fh_u_2"}'
    )
    done = cli("logout")
    assert (done.code, done.out) == (0, "")
    assert done.err == f"forgot the token for http://127.0.0.1:8001, in {tmp_path}/tokens.json\n"
    assert kept(tmp_path) == {"https://hive.lab:8001": "fh_u_2"}
    assert cli("logout").err == "no token was kept for http://127.0.0.1:8001\n"


def test_logout_says_where_another_token_comes_from(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWHIVE_TOKEN", "fh_u_test")
    assert "warning: a token is still found: FLOWHIVE_TOKEN" in cli("logout").err

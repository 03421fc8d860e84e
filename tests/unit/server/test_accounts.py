"""Logging in, inviting, tokens: what a stranger, a guesser and a thief of the database get."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from fluxhive.protocol.rest import Role
from fluxhive.server import accounts, first_start, passwords
from fluxhive.server.store import people
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import PASSWORD, RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def login(it: RestHive, username: str, password: str) -> httpx.Response:
    async with it.client(None) as nobody:
        return await nobody.post("/auth/login", json={"username": username, "password": password})


# ── the first start ───────────────────────────────────────────────────────────────────────────


async def test_the_first_start_makes_an_administrator_without_a_password(it: RestHive) -> None:
    me = (await it.admin.get("/auth/me")).json()
    assert (me["username"], me["role"]) == (it.administrator, "administrator")
    assert it.services.auth.users[it.administrator].password_hash is None
    for guess in ("", "admin", it.administrator, "fluxhive"):
        assert (await login(it, it.administrator, guess)).status_code == 401


async def test_the_token_file_is_for_its_owner_alone(it: RestHive) -> None:
    path = it.directory / "admin-token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().count("\n") == 1


async def test_a_token_file_that_does_not_work_is_made_again(it: RestHive) -> None:
    path = it.directory / "admin-token"
    before = path.read_text()
    for spoil in (
        path.unlink,
        lambda: path.write_text("fh_u_nonsense\n"),
        lambda: path.chmod(0o644),
        lambda: path.write_bytes(b"\xff\xfe"),
    ):
        spoil()
        found = await first_start.local_administrator(it.services, it.directory)
        assert found.username == it.administrator
        assert found.code is None  # the link was for the first start alone
        assert path.read_text() != before
        assert it.caller(path.read_text().strip()).is_administrator
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        before = path.read_text()


@pytest.mark.parametrize(
    ("system", "ours"),
    [("ann", "ann"), ("Ann B", "ann-b"), ("LAB\\ann", "lab-ann"), ("名", "administrator")],
)
def test_the_name_of_the_system_becomes_one_of_ours(
    monkeypatch: pytest.MonkeyPatch, system: str, ours: str
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: system)
    assert first_start.os_username() == ours


# ── invitations ───────────────────────────────────────────────────────────────────────────────


async def test_an_invitation_lets_its_user_in_once(it: RestHive) -> None:
    made = await it.admin.post("/users", json={"username": "bob", "email": "bob@lab.test"})
    assert made.status_code == 201
    link = made.json()["link"]
    address, _, code = link.partition("#")
    assert address == "http://hive.test/welcome"
    assert made.json()["user"].get("active", True) is False
    async with it.client(None) as nobody:
        given = {"code": code, "password": PASSWORD}
        grant = await nobody.post("/auth/invitation", json=given)
        assert grant.status_code == 200
        assert grant.json()["username"] == "bob"
        again = await nobody.post("/auth/invitation", json=given)
        assert again.status_code == 404
        assert "once" in again.json()["hint"]
    assert (await login(it, "bob", PASSWORD)).status_code == 200


async def test_two_who_answer_one_invitation_at_once_do_not_both_get_in(it: RestHive) -> None:
    _, code, _ = await it.services.accounts.invite(people_user("bob"))
    answers: list[int] = []

    async def answer(password: str) -> None:
        async with it.client(None) as nobody:
            given = {"code": code, "password": password}
            answers.append((await nobody.post("/auth/invitation", json=given)).status_code)

    async with anyio.create_task_group() as group:
        group.start_soon(answer, PASSWORD)
        group.start_soon(answer, PASSWORD + "2")
    assert sorted(answers) == [200, 404]


def people_user(username: str) -> accounts.NewUser:
    return accounts.NewUser(username=username)


async def test_an_invitation_expires_after_seven_days(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, code, expires_at_ms = await it.services.accounts.invite(people_user("bob"))
    monkeypatch.setattr(it.hive.clock, "now_ms", lambda: expires_at_ms)
    async with it.client(None) as nobody:
        answer = await nobody.post("/auth/invitation", json={"code": code, "password": PASSWORD})
    assert answer.status_code == 404
    assert expires_at_ms - it.services.auth.users["bob"].created_at_ms == 7 * 86_400_000


@pytest.mark.parametrize("password", ["short", "", "x" * 1025, "bob-bob-bob"])
async def test_a_bad_password_is_named_and_the_invitation_still_works(
    it: RestHive, password: str
) -> None:
    _, code, _ = await it.services.accounts.invite(people_user("bob-bob-bob"))
    async with it.client(None) as nobody:
        refused = await nobody.post("/auth/invitation", json={"code": code, "password": password})
        assert refused.status_code == 422
        assert refused.json()["field"] == "password"
        assert refused.json()["value"] == ""  # never said again
        given = {"code": code, "password": PASSWORD}
        assert (await nobody.post("/auth/invitation", json=given)).status_code == 200


async def test_inviting_again_ends_the_earlier_link_and_never_touches_who_is_in(
    it: RestHive,
) -> None:
    first = (await it.admin.post("/users", json={"username": "bob"})).json()["link"]
    second = (await it.admin.post("/users", json={"username": "bob"})).json()["link"]
    async with it.client(None) as nobody:
        for link, status in ((first, 404), (second, 200)):
            given = {"code": link.partition("#")[2], "password": PASSWORD}
            assert (await nobody.post("/auth/invitation", json=given)).status_code == status
    taken = await it.admin.post("/users", json={"username": "bob", "role": "administrator"})
    assert taken.status_code == 409
    assert it.services.auth.users["bob"].role is Role.MEMBER


@pytest.mark.parametrize("name", ["", "Bob", "bob smith", "../bob", "b" * 65, "bob\n", "名", "-b"])
async def test_a_name_that_no_user_may_have_is_refused(it: RestHive, name: str) -> None:
    answer = await it.admin.post("/users", json={"username": name})
    assert answer.status_code == 422
    assert answer.json()["field"] == "username"


async def test_only_administrators_add_and_list_users(it: RestHive) -> None:
    async with await it.user("bob") as bob:
        assert (await bob.post("/users", json={"username": "eve"})).status_code == 403
        assert (await bob.get("/users")).status_code == 403
    names = [user["username"] for user in (await it.admin.get("/users")).json()["items"]]
    assert names == sorted([it.administrator, "bob"])


# ── logging in ────────────────────────────────────────────────────────────────────────────────


async def test_an_unknown_user_is_told_apart_by_nothing(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Goal: neither the answer nor the work done says whether a name exists."""
    await it.user("bob")
    checked: list[bool] = []
    verify = passwords.PasswordHasher.verify

    def counting(self: passwords.PasswordHasher, known: str, given: bytes) -> bool:
        checked.append(known.startswith("$argon2id$"))
        return verify(self, known, given)

    monkeypatch.setattr(passwords.PasswordHasher, "verify", counting)
    answers = [
        (await login(it, name, "wrong password")).json()
        for name in ("bob", "nobody-of-that-name", it.administrator)
    ]
    for answer in answers:
        del answer["id"]  # each request's own
    assert answers[0] == answers[1] == answers[2]
    assert checked == [True, True, True]


async def test_guessing_is_slowed_down_and_a_right_password_forgiven(it: RestHive) -> None:
    await it.user("bob")
    for _ in range(8):
        assert (await login(it, "bob", "wrong password")).status_code == 401
    assert (await login(it, "bob", PASSWORD)).status_code == 200
    for _ in range(10):
        assert (await login(it, "bob", "wrong password")).status_code == 401
    refused = await login(it, "bob", PASSWORD)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0


async def test_a_weaker_hash_is_renewed_at_the_next_login(it: RestHive) -> None:
    await it.user("bob")
    weak = passwords.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    old = weak.hash(PASSWORD.encode())
    await it.services.accounts._set_password("bob", old)
    assert (await login(it, "bob", PASSWORD)).status_code == 200
    new = it.services.auth.users["bob"].password_hash
    assert new not in (None, old)
    assert (await login(it, "bob", PASSWORD)).status_code == 200


async def test_nothing_secret_is_in_the_database_or_the_log(
    it: RestHive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    invited = (await it.admin.post("/users", json={"username": "bob"})).json()
    code = invited["link"].partition("#")[2]
    async with it.client(None) as nobody:
        given = {"code": code, "password": PASSWORD}
        token = (await nobody.post("/auth/invitation", json=given)).json()["token"]
    await login(it, "bob", PASSWORD)
    await login(it, "bob", "another secret guess")
    node = await it.node_token()
    stored = b"".join(path.read_bytes() for path in it.directory.glob("hive.db*"))
    for secret in (code, PASSWORD, token, node, "another secret guess"):
        assert secret.encode() not in stored
        assert secret not in caplog.text
        assert all(secret not in str(vars(record)) for record in caplog.records)
    assert b"$argon2id$" in stored


# ── tokens ────────────────────────────────────────────────────────────────────────────────────


async def test_a_token_lives_until_it_expires_or_is_revoked(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await it.admin.post("/tokens", json={"name": "ci", "expires_in_s": 60})
    assert made.status_code == 201
    async with it.client(made.json()["token"]) as ci:
        assert (await ci.get("/auth/me")).status_code == 200
        late_ms = made.json()["expires_at_ms"]
        with monkeypatch.context() as patch:
            patch.setattr(it.hive.clock, "now_ms", lambda: late_ms)
            refused = await ci.get("/auth/me")
            assert refused.status_code == 401
            assert refused.json()["detail"] == "the token `ci` has expired"
        left = await it.admin.delete(f"/tokens/{made.json()['id']}")
        assert all(token["id"] != made.json()["id"] for token in left.json()["items"])
        refused = await ci.get("/auth/me")
        assert refused.status_code == 401
        assert refused.json()["detail"] == "this token is unknown, expired or revoked"
    assert (await it.admin.delete(f"/tokens/{made.json()['id']}")).status_code == 404


async def test_nobody_revokes_the_token_of_another(it: RestHive) -> None:
    made = (await it.admin.post("/tokens", json={"name": "mine"})).json()
    async with await it.user("bob") as bob:
        assert (await bob.delete(f"/tokens/{made['id']}")).status_code == 404
        names = [token["name"] for token in (await bob.get("/tokens")).json()["items"]]
        assert names == ["invitation"]
    async with it.client(made["token"]) as mine:
        assert (await mine.get("/auth/me")).status_code == 200


async def test_tokens_and_users_are_there_after_a_restart(tmp_path: Path) -> None:
    async with rest_hive(tmp_path) as it:
        await it.user("bob")
        token, node = await it.token("bob"), await it.node_token()
        revoked = await it.token("bob")
        await it.services.auth.revoke(it.caller(revoked), it.caller(revoked).token_id)
        async with it.client(token) as bob:
            await bob.get("/auth/me")
    async with rest_hive(tmp_path) as it:
        assert it.caller(token).username == "bob"
        assert it.caller(node).node is not None
        async with it.client(revoked) as gone:
            assert (await gone.get("/auth/me")).status_code == 401
        used = [t.last_used_at_ms for t in it.services.auth._tokens.values() if t.username == "bob"]
        assert any(at_ms is not None for at_ms in used)


async def test_last_use_is_written_in_rounds_not_with_each_request(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[dict[str, int]] = []
    monkeypatch.setattr(people, "update_last_used", lambda _db, used: written.append(dict(used)))
    for _ in range(20):
        await it.admin.get("/auth/me")
    assert written == []
    await it.services.auth.write_last_used()
    await it.services.auth.write_last_used()
    assert [len(used) for used in written] == [1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "ci", "expires_in_s": 0}, "expires_in_s"),
        ({"name": "ci", "expires_in_s": 10**30}, "expires_in_s"),
        ({"name": "ci", "scope": "root"}, "scope"),
        ({}, "name"),
    ],
)
async def test_a_bad_token_request_names_the_field(
    it: RestHive, body: dict[str, object], field: str
) -> None:
    answer = await it.admin.post("/tokens", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"] == field


async def test_many_logins_push_out_the_oldest_and_no_token_that_lasts(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxhive.server.auth.TOKENS_PER_USER_MAX", 4)
    first = await it.token(it.administrator, expires_in_s=600)
    for _ in range(6):
        await it.token(it.administrator, expires_in_s=600)
    tokens = it.services.auth.tokens_of(it.administrator)
    assert len(tokens) == 4
    assert (await it.admin.get("/auth/me")).status_code == 200
    async with it.client(first) as oldest:
        assert (await oldest.get("/auth/me")).status_code == 401


# ── nodes ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_revoked_node_is_cut_off_at_once(it: RestHive) -> None:
    token = await it.node_token()
    async with it.listening() as address:
        agent = FakeAgent(agent_url(address), node=token, label="gpu-a")
        async with agent.connected():
            assert agent.welcome is not None
            (listed,) = [
                t for t in it.services.auth.tokens_of(it.administrator) if "gpu-a" in t.name
            ]
            await it.admin.delete(f"/tokens/{listed.id}")
            await agent.until(lambda: agent.closed)
            assert agent.closed is not None
            assert "revoked" in agent.closed[1]
        async with it.client(token) as node:
            assert (await node.get("/auth/me")).status_code == 401


async def test_a_machine_keeps_its_id_and_each_registration_ends_the_token_before(
    it: RestHive,
) -> None:
    body = {"label": "gpu-a", "machine_id": "m1"}
    first = (await it.admin.post("/nodes", json=body)).json()
    second = (await it.admin.post("/nodes", json={**body, "node_id": first["node_id"]})).json()
    third = (await it.admin.post("/nodes", json=body)).json()
    assert first["node_id"] == second["node_id"] == third["node_id"]
    for given, status in ((first, 401), (second, 401), (third, 200)):
        async with it.client(given["token"]) as node:
            assert (await node.get("/auth/me")).status_code == status
    other = (await it.admin.post("/nodes", json={**body, "label": "second"})).json()
    assert other["node_id"] != first["node_id"]


async def test_nobody_takes_the_node_of_another_by_its_id(it: RestHive) -> None:
    body = {"label": "gpu-a", "machine_id": "m1"}
    mine = (await it.admin.post("/nodes", json=body)).json()
    async with await it.user("eve") as eve:
        theirs = (await eve.post("/nodes", json={**body, "node_id": mine["node_id"]})).json()
    assert theirs["node_id"] != mine["node_id"]
    async with it.client(mine["token"]) as node:
        assert (await node.get("/auth/me")).status_code == 200


async def test_two_agents_with_one_label_on_one_machine_are_told_so(it: RestHive) -> None:
    token = await it.node_token()
    async with it.listening() as address:
        agent = FakeAgent(agent_url(address), node=token, label="gpu-a")
        async with agent.connected():
            again = {"label": "gpu-a", "machine_id": "machine-gpu-a"}
            answer = await it.admin.post("/nodes", json=again)
    assert answer.status_code == 409
    assert "label" in answer.json()["hint"]

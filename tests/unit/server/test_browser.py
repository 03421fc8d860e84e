"""A browser signs in, asks with its cookie, and is signed out; pages of others get nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fluxhive.protocol.rest import TokenScope
from fluxhive.server import browser
from tests.helpers.rest_hive import PASSWORD, RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio

#: What a browser says of a request of the dashboard's own page.
OWN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def signed_in(it: RestHive, **given: str) -> httpx.AsyncClient:
    """A browser that has signed in so."""
    page = it.client(None)
    page.headers.update(OWN)
    answer = await page.post("/auth/session", json=given)
    assert answer.status_code == 200, answer.text
    return page


async def admin_token(it: RestHive) -> str:
    return await it.token(it.administrator)


async def test_a_password_a_token_and_a_link_each_open_a_session(it: RestHive) -> None:
    await it.user("bob")
    link = (await it.admin.post("/auth/link")).json()["link"]
    assert link.startswith("http://hive.test/sign-in#")
    for given, username in (
        ({"username": "bob", "password": PASSWORD}, "bob"),
        ({"token": await it.token("bob")}, "bob"),
        ({"code": link.partition("#")[2]}, it.administrator),
    ):
        page = await signed_in(it, **given)
        assert (await page.get("/auth/me")).json()["username"] == username
        assert (await page.post("/tasks", json={"command": ["true"]})).status_code == 201


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(it: RestHive) -> None:
    token = await admin_token(it)
    async with it.client(None) as page:
        plain = await page.post("/auth/session", json={"token": token})
        proxied = await page.post(
            "/auth/session", json={"token": token}, headers={"Origin": "https://hive.test"}
        )
    assert plain.headers["set-cookie"].startswith("fluxhive-")
    assert "; Path=/; " in plain.headers["set-cookie"]
    assert "; HttpOnly; SameSite=Strict" in plain.headers["set-cookie"]
    assert proxied.headers["set-cookie"].startswith("__Host-fluxhive=fh_s_")
    assert proxied.headers["set-cookie"].endswith("; HttpOnly; SameSite=Strict; Secure")


async def test_a_link_works_once_and_for_half_an_hour(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with it.client(None) as page:
        code = (await it.admin.post("/auth/link")).json()["link"].partition("#")[2]
        assert (await page.post("/auth/session", json={"code": code})).status_code == 200
        assert (await page.post("/auth/session", json={"code": code})).status_code == 401
        monkeypatch.setattr(browser, "LINK_LIFE_MS", 0)
        code = (await it.admin.post("/auth/link")).json()["link"].partition("#")[2]
        assert (await page.post("/auth/session", json={"code": code})).status_code == 401


@pytest.mark.parametrize(
    "given", [{}, {"username": "bob"}, {"password": "x"}, {"token": "fh_u_x", "code": "y"}]
)
async def test_half_a_sign_in_is_refused_with_what_is_missing(
    it: RestHive, given: dict[str, str]
) -> None:
    async with it.client(None) as page:
        answer = await page.post("/auth/session", json=given)
    assert answer.status_code == 422
    assert "one of them" in answer.json()["detail"]


async def test_guessing_is_slowed_down(it: RestHive) -> None:
    async with it.client(None) as page:
        codes = [
            (await page.post("/auth/session", json={"code": f"no-{n}"})).status_code
            for n in range(60)
        ]
    assert codes[0] == 401
    assert codes[-1] == 429


async def test_signing_out_ends_the_session_at_the_server(it: RestHive) -> None:
    page = await signed_in(it, token=await admin_token(it))
    cookies = dict(page.cookies)
    answer = await page.delete("/auth/session")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await page.get("/auth/me")).status_code == 401
    page.cookies.update(cookies)
    assert (await page.get("/auth/me")).status_code == 401
    assert (await page.delete("/auth/session")).status_code == 200


async def test_a_session_is_listed_and_ends_with_the_token_that_opened_it(it: RestHive) -> None:
    grant = (await it.admin.post("/tokens", json={"name": "for the browser"})).json()
    page = await signed_in(it, token=grant["token"])
    listed = (await it.admin.get("/tokens")).json()["items"]
    assert [each["name"] for each in listed if each.get("is_session")] == ["browser"]
    await it.admin.delete(f"/tokens/{grant['id']}")
    assert (await page.get("/auth/me")).status_code == 401
    listed = (await it.admin.get("/tokens")).json()["items"]
    assert not [each for each in listed if each.get("is_session")]


async def test_a_session_may_what_its_token_may(it: RestHive) -> None:
    reading = await it.token(it.administrator, scope=TokenScope.READ)
    page = await signed_in(it, token=reading)
    assert (await page.get("/tasks")).status_code == 200
    assert (await page.post("/tasks", json={"command": ["true"]})).status_code == 403
    assert (await page.post("/auth/link")).status_code == 403
    for refused in (await it.node_token(), await it.token(it.administrator, scope=TokenScope.NODE)):
        async with it.client(None) as other:
            answer = await other.post("/auth/session", json={"token": refused})
            assert answer.status_code == 401


async def test_a_cookie_is_no_bearer_token_and_a_token_is_no_cookie(it: RestHive) -> None:
    page = await signed_in(it, token=await admin_token(it))
    ((name, session),) = page.cookies.items()
    async with it.client(session) as other:
        assert (await other.get("/auth/me")).status_code == 401
    async with it.client(None) as other:
        other.cookies.set(name, await admin_token(it))
        assert (await other.get("/auth/me", headers=OWN)).status_code == 401


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Sec-Fetch-Site": "same-origin"}, 200),
        ("GET", {"Sec-Fetch-Site": "none"}, 200),
        ("GET", {}, 200),
        # Another port of the same host is "same-site": it may be another user's program.
        ("GET", {"Sec-Fetch-Site": "same-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Origin": "http://hive.test:9000"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-origin"}, 201),
        ("POST", {"Origin": "http://hive.test"}, 201),
        ("POST", {}, 403),
        ("POST", {"Sec-Fetch-Site": "none"}, 403),
        ("POST", {"Sec-Fetch-Site": "same-site"}, 403),
        ("POST", {"Origin": "null"}, 403),
    ],
)
async def test_only_the_dashboards_own_pages_use_its_cookie(
    it: RestHive, method: str, headers: dict[str, str], status: int
) -> None:
    page = await signed_in(it, token=await admin_token(it))
    del page.headers["Sec-Fetch-Site"]
    body = {"command": ["true"]} if method == "POST" else None
    answer = await page.request(method, "/tasks", json=body, headers=headers)
    assert answer.status_code == status, answer.text


async def test_a_websocket_with_the_cookie_needs_our_origin(it: RestHive) -> None:
    page = await signed_in(it, token=await admin_token(it))
    ((_, session),) = page.cookies.items()
    async with it.listening() as address:
        port = address.rpartition(":")[2]
        cookie = {"Cookie": f"fluxhive-{port}={session}"}
        for origin, reason in (
            (None, "a page of another site"),
            ("http://127.0.0.1:1", "a page of another site"),
            (address, "does not open this"),  # It is let in, and a person is no agent.
        ):
            with pytest.raises(InvalidStatus) as refused:
                await connect(
                    agent_url(address), proxy=None, origin=origin, additional_headers=cookie
                )
            assert reason in (refused.value.response.body or b"").decode()


async def test_no_token_is_in_an_address_or_a_log(
    it: RestHive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    link = (await it.admin.post("/auth/link")).json()["link"]
    code = link.partition("#")[2]
    page = await signed_in(it, code=code)
    ((_, session),) = page.cookies.items()
    await page.get("/auth/me")
    await page.delete("/auth/session")
    said = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert code not in said
    assert session not in said
    assert "session begins" in said

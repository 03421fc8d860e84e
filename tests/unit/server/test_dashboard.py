"""The dashboard's files: one page for every view, assets kept for ever, and nothing else."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from fluxhive.protocol.summary import Summary
from fluxhive.server import dashboard, first_answers
from fluxhive.server.pages import HTML
from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio

SITE = "http://hive.test"
#: What the table of tasks asks first.
TABLE = "/tasks?offset=0&limit=200&brief=true"
PAGE = '<meta property="csp-nonce" nonce="__CSP_NONCE__"><script src="/assets/a-1.js"></script>'
SCRIPT = "console.log('hive');" * 100


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path / "state") as opened:
        yield opened


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dashboard as a build leaves it."""
    (tmp_path / "dashboard/assets").mkdir(parents=True)
    (tmp_path / "dashboard/index.html").write_text(PAGE)
    (tmp_path / "dashboard/assets/a-1.js").write_text(SCRIPT)
    (tmp_path / "secret.js").write_text("not for anybody")
    monkeypatch.setattr(dashboard, "BUILT", tmp_path / "dashboard")
    return tmp_path / "dashboard"


async def test_every_view_is_the_page_with_a_nonce_of_its_own(it: RestHive, built: Path) -> None:
    nonces = set()
    async with it.client(None) as nobody:
        for path in ("/", "/tasks?state=failed", "/t/t-7f3k", "/t/t-7f3k[5]/log", "/nodes/gpu-a"):
            answer = await nobody.get(SITE + path)
            assert answer.status_code == 200, path
            assert answer.headers["cache-control"] == "no-store"
            policy = answer.headers["content-security-policy"]
            (nonce,) = re.findall(r"'nonce-([^']+)'", policy)
            assert f'nonce="{nonce}"' in answer.text
            assert "unsafe" not in policy
            assert "default-src 'none'; script-src 'self';" in policy
            nonces.add(nonce)
    assert len(nonces) == 5


async def test_assets_are_kept_for_ever_and_sent_packed(it: RestHive, built: Path) -> None:
    async with it.client(None) as nobody:
        packed = await nobody.get(f"{SITE}/assets/a-1.js", headers={"Accept-Encoding": "gzip"})
        plain = await nobody.get(f"{SITE}/assets/a-1.js", headers={"Accept-Encoding": "identity"})
        (built / "assets/a-1.js.br").write_bytes(b"as the build packed it")
        smallest = await nobody.get(f"{SITE}/assets/a-1.js", headers={"Accept-Encoding": "br"})
    assert smallest.headers["content-encoding"] == "br"
    for answer in (packed, plain):
        assert answer.text == SCRIPT
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["vary"] == "Accept-Encoding"
    assert int(packed.headers["content-length"]) == len(gzip.compress(SCRIPT.encode(), 9))
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize(
    "path",
    ["/assets/", "/assets/%2e%2e", "/assets/%2e%2e/%2e%2e/secret.js",
     "/assets/.hidden", "/secret.js", "/index.html", "/static/dashboard/index.html", "/nonsense"],
)  # fmt: skip
async def test_nothing_else_is_open(it: RestHive, built: Path, path: str) -> None:
    async with it.client(None) as nobody:
        assert (await nobody.get(SITE + path)).status_code == 401


#: As browsers say what they would like when a person opens an address.
OPENED = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_who_opens_an_address_at_which_nothing_is_gets_the_page(
    it: RestHive, built: Path
) -> None:
    (built / "index.html").write_text(f"<div>__FRAME__</div>{ANSWERING}")
    (built / "frames.json").write_text('{"*": "<h1>FlowHive</h1>", "": "of the overview"}')
    async with it.client(None) as nobody, await signed_in(it) as browser:
        for person, frame in ((nobody, ""), (browser, "<h1>FlowHive</h1>")):
            answer = await person.get(f"{SITE}/foo", headers=OPENED)
            assert (answer.status_code, answer.headers["content-type"]) == (404, HTML)
            assert f"<div>{frame}</div>" in answer.text
            assert set(first_of(answer.text).get("answers", {})) <= {"/api/v1/auth/me"}
        for path in ("/api/v1/nonsense", "/static/nonsense", "/assets/", "/api/v1/nodes"):
            answer = await nobody.get(SITE + path, headers=OPENED)
            assert answer.headers["content-type"] == "application/problem+json", path
        assert (await browser.get(f"{SITE}/foo")).json()["detail"] == "nothing is at `/foo`"
        assert (await browser.delete(f"{SITE}/foo", headers=OPENED)).status_code in (403, 404)


async def test_an_asset_of_an_older_build_says_to_load_the_page_again(
    it: RestHive, built: Path
) -> None:
    async with it.client(None) as nobody:
        answer = await nobody.get(f"{SITE}/assets/a-0.js")
    assert answer.status_code == 404
    assert "load the page again" in answer.json()["hint"]


async def test_without_a_build_the_page_says_how_to_build_it(
    it: RestHive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "BUILT", tmp_path / "none")
    async with it.client(None) as nobody:
        for path in ("/", "/t/t-7f3k"):
            answer = await nobody.get(SITE + path)
            assert answer.status_code == 200
            assert "<pre>./dev web</pre>" in answer.text
            assert answer.headers["cache-control"] == "no-store"


ANSWERING = '<head></head><script id="first-answers">__FIRST_ANSWERS__</script>'
BLOCK = re.compile(r'id="first-answers">(.*?)</script>', re.DOTALL)


async def signed_in(it: RestHive) -> httpx.AsyncClient:
    """A browser that has signed in."""
    given = {"token": await it.token(it.administrator)}
    async with it.client(None) as page:
        answer = await page.post("/auth/session", json=given, headers={"Origin": SITE})
        assert answer.status_code == 200, answer.text
        browser = it.client(None)
        browser.cookies = page.cookies
    return browser


def first_of(page: str) -> Any:
    """The data block of a page; its end is where a browser sees it."""
    (block,) = BLOCK.findall(page)
    return json.loads(block)


async def test_a_page_has_its_first_answers_for_who_is_signed_in(it: RestHive, built: Path) -> None:
    (built / "index.html").write_text(ANSWERING)
    (built / "views.json").write_text('{"tasks": ["assets/t-1.js", "assets/t-1.css"]}')
    await it.admin.post("/tasks", json={"command": ["true"]})
    browser = await signed_in(it)
    async with it.client(None) as nobody, browser:
        nobodys = await nobody.get(SITE + "/tasks")
        hers = await browser.get(SITE + "/tasks")
        elsewhere = await browser.get(SITE + "/tasks", headers={"Sec-Fetch-Site": "same-site"})
        me, table = await browser.get("/auth/me"), await browser.get(TABLE)
    assert first_of(nobodys.text) == first_of(elsewhere.text) == {}
    first = first_of(hers.text)
    assert first["answers"]["/api/v1/auth/me"] == me.json()
    assert first["answers"][f"/api/v1{TABLE}"] == table.json()
    assert len(table.json()["items"]) == 1
    assert first["live"] == {"since": it.services.live.seq, "boot": it.services.live.boot}
    links = '<link rel="modulepreload" href="/assets/t-1.js"><link rel="stylesheet" href="/assets/'
    for page in (nobodys, hers):
        assert links in page.text


async def test_a_page_shows_its_frame_to_who_is_signed_in_alone(it: RestHive, built: Path) -> None:
    (built / "index.html").write_text(f"<div>__FRAME__</div>{ANSWERING}")
    (built / "frames.json").write_text('{"tasks": "<h1>Tasks</h1>"}')
    async with it.client(None) as nobody, await signed_in(it) as browser:
        assert "<div></div>" in (await nobody.get(SITE + "/tasks")).text
        assert "<div><h1>Tasks</h1></div>" in (await browser.get(SITE + "/tasks")).text
        assert "<div></div>" in (await browser.get(SITE + "/submit")).text


@pytest.mark.parametrize("packing", [b"gzip", b"identity"])
async def test_a_page_begins_before_its_answers_are_made(
    built: Path, monkeypatch: pytest.MonkeyPatch, packing: bytes
) -> None:
    """A browser fetches what the beginning names while the server makes the answers."""
    (built / "index.html").write_text(ANSWERING)
    steps: list[str] = []

    async def answers(*_: object) -> bytes:
        steps.append("answers")
        return b'{"answers": {}}'

    monkeypatch.setattr(dashboard, "first_answers", answers)
    monkeypatch.setattr(dashboard, "who_asks", lambda _: None)
    headers = [(b"accept-encoding", packing)]
    scope = {"type": "http", "path_params": {"name": "tasks"}, "headers": headers}
    answer = await dashboard.show(Request(scope))
    assert isinstance(answer, StreamingResponse)
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    page = b""
    async for part in answer.body_iterator:
        assert isinstance(part, bytes)
        page += reader.decompress(part) if packing == b"gzip" else part
        steps.append("</head>" if b"</head>" in page else "")
    assert steps[:2] == ["</head>", "answers"]
    assert first_of(page.decode()) == {"answers": {}}


async def test_a_page_comes_to_its_end_without_the_answers_that_fail_or_take_long(
    it: RestHive,
    built: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (built / "index.html").write_text(ANSWERING + "<p>the end</p>")

    def fails() -> Summary:
        raise RuntimeError("the tally is broken")

    monkeypatch.setattr(it.services.tally, "summary", fails)
    async with await signed_in(it) as browser:
        page = await browser.get(SITE + "/", headers={"X-Request-ID": "look-at-me"})
    assert page.text.endswith("<p>the end</p>")
    answers = first_of(page.text)["answers"]
    assert "/api/v1/summary" not in answers
    assert {"/api/v1/auth/me", "/api/v1/nodes"} <= answers.keys()
    (failure,) = [one for one in caplog.records if "no first answer" in one.message]
    assert vars(failure)["request"] == "look-at-me"

    async def asked(*_: object) -> bytes:
        await anyio.sleep_forever()
        return b""

    monkeypatch.setattr(first_answers, "_ask", asked)
    monkeypatch.setattr(first_answers, "ANSWERED_WITHIN_S", 0.01)
    async with await signed_in(it) as browser:
        page = await browser.get(SITE + "/")
    assert page.text.endswith("<p>the end</p>")
    assert first_of(page.text)["answers"] == {}


async def test_no_text_of_a_user_ends_the_block_or_gets_the_nonce(
    it: RestHive, built: Path
) -> None:
    (built / "index.html").write_text(ANSWERING)
    name = "</script><script nonce=__CSP_NONCE__>alert(1)</script>"
    await it.admin.post("/tasks", json={"command": ["true"], "name": name})
    async with await signed_in(it) as browser:
        page = (await browser.get(SITE + "/tasks")).text
    assert page.count("<script") == page.count("</script>") == 1
    (task,) = first_of(page)["answers"][f"/api/v1{TABLE}"]["items"]
    assert task["name"] == name

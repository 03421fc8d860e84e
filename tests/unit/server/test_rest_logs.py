"""Output by offset and live: no byte lost, none twice, and an end that is one."""

from __future__ import annotations

import base64
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx
import msgspec
import pytest

from fluxhive.core.outcome import ExitFacts, Outcome, OutcomeKind
from fluxhive.core.reports import AttemptAccepted, AttemptEnded, AttemptStarted
from fluxhive.protocol.agent import Dispatch, LogGap
from fluxhive.protocol.rest import LogEnd, LogEvent, LogGapView
from fluxhive.server.rest import logs as logs_routes
from tests.helpers.fake_agent import FakeAgent
from tests.helpers.rest_hive import API, RestHive, agent_url, rest_hive

pytestmark = pytest.mark.anyio


class Running(NamedTuple):
    """A task that runs on a node that does what the test says."""

    it: RestHive
    agent: FakeAgent
    dispatch: Dispatch
    task_id: str
    #: Over a real socket.
    http: httpx.AsyncClient

    def end(
        self, stdout: int, stderr: int = 0, *, code: int = 0, processes: tuple[int, ...] = ()
    ) -> None:
        kind = OutcomeKind.SUCCESS if code == 0 else OutcomeKind.FAILURE
        facts = ExitFacts(
            exit_code=code, stdout_bytes=stdout, stderr_bytes=stderr, process_bytes=processes
        )
        self.agent.say(
            AttemptEnded(
                attempt_id=self.dispatch.attempt_id,
                epoch=self.dispatch.epoch,
                outcome=Outcome(kind=kind, exit_code=code),
                facts=facts,
            )
        )


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def running(it: RestHive, **fields: object) -> AsyncIterator[Running]:
    token = await it.node_token()
    async with it.listening() as address:
        agent = FakeAgent(agent_url(address), node=token, label="gpu-a", answers=False)
        headers = it.admin.headers
        async with (
            agent.connected(),
            httpx.AsyncClient(base_url=address + API, headers=headers, timeout=30) as http,
        ):
            spec = {"command": ["true"], **fields}
            task_id = (await it.admin.post("/tasks", json=spec)).json()["id"]
            await agent.until(lambda: agent.all(Dispatch))
            dispatch = agent.all(Dispatch)[-1]
            say_started(agent, dispatch)
            yield Running(it, agent, dispatch, task_id, http)


def say_started(agent: FakeAgent, dispatch: Dispatch) -> None:
    agent.say(AttemptAccepted(attempt_id=dispatch.attempt_id, epoch=dispatch.epoch))
    agent.say(AttemptStarted(attempt_id=dispatch.attempt_id, epoch=dispatch.epoch, pid=1))


async def until_stored(it: RestHive, dispatch: Dispatch, n_bytes: int, stream: int = 0) -> None:
    with anyio.fail_after(10):
        while it.hive.logs.size(dispatch.attempt_id, stream) < n_bytes:  # noqa: ASYNC110 - no event
            await anyio.sleep(0.01)


class Followed:
    """What a follower was told, put together again."""

    def __init__(self) -> None:
        self.bytes: dict[tuple[str, str], bytearray] = {}
        self.gaps: list[LogGapView] = []
        self.end: LogEnd | None = None

    def take(self, kind: str, data: str) -> None:
        if kind == "end":
            self.end = msgspec.json.decode(data, type=LogEnd)
            return
        event = msgspec.json.decode(data, type=LogEvent)
        mark = "" if event.process is None else f"{event.process}."
        had = self.bytes.setdefault((event.attempt, mark + event.stream), bytearray())
        if event.gap is not None:
            self.gaps.append(event.gap)
            had += bytes(event.offset - len(had))
        assert event.offset == len(had), "a byte was lost or came twice"
        had += base64.b64decode(event.data)

    def offsets(self, attempt: str) -> dict[str, int]:
        return {s: len(b) for (a, s), b in self.bytes.items() if a == attempt}


async def follow(
    http: httpx.AsyncClient, task_id: str, followed: Followed, *, lines: int = 0, **query: Any
) -> None:
    """Follows until the end, or cuts the line after so many lines."""
    kind = ""
    async with http.stream("GET", f"/tasks/{task_id}/logs/follow", params=query) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                kind = line[7:]
            elif line.startswith("data: "):
                followed.take(kind, line[6:])
                if followed.end is not None:
                    return
                lines -= 1
                if lines == 0:
                    return


# ── reading ───────────────────────────────────────────────────────────────────────────────────


async def test_bytes_are_read_by_offset_limit_and_tail(it: RestHive) -> None:
    async with running(it) as run:
        await run.agent.send_log(run.dispatch.channel, b"0123456789")
        await until_stored(it, run.dispatch, 10)
        path = f"/tasks/{run.task_id}/logs/stdout"
        for query, data, offset in (
            ("", b"0123456789", 0),
            ("?offset=4", b"456789", 4),
            ("?offset=4&limit=3", b"456", 4),
            ("?tail_bytes=3", b"789", 7),
            ("?tail_bytes=99", b"0123456789", 0),
            ("?tail_bytes=0", b"", 10),
            ("?offset=10", b"", 10),
            ("?attempt=1", b"0123456789", 0),
        ):
            answer = await run.http.get(path + query)
            assert (answer.status_code, answer.content) == (200, data), query
            assert answer.headers["x-log-offset"] == str(offset)
            assert answer.headers["x-log-size"] == "10"
            assert answer.headers["x-log-complete"] == "false"
            assert answer.headers["content-disposition"] == "attachment"
        (out, err) = (await run.http.get(f"/tasks/{run.task_id}/logs")).json()
        assert (out["stream"], out["size"], err["stream"], err["size"]) == (
            "stdout",
            10,
            "stderr",
            0,
        )


async def test_gaps_are_told_in_lists_reads_and_followed_logs(it: RestHive) -> None:
    async with running(it) as run:
        channel = run.dispatch.channel
        await run.agent.send_log(channel, b"abc")
        await until_stored(it, run.dispatch, 3)
        gap = LogGap(channel=channel, stream=0, start=3, end=9, reason="the disk was full")
        flag = LogGap(channel=channel, stream=0, start=11, end=11, reason="cut short")
        run.agent.say(gap)
        run.agent.say(flag)
        await until_stored(it, run.dispatch, 9)
        await run.agent.send_log(channel, b"de", offset=9)
        await until_stored(it, run.dispatch, 11)
        (out, _) = (await run.http.get(f"/tasks/{run.task_id}/logs")).json()
        assert [(g["start"], g["end"], g["reason"]) for g in out["gaps"]] == [
            (3, 9, "the disk was full"),
            (11, 11, "cut short"),
        ]
        answer = await run.http.get(f"/tasks/{run.task_id}/logs/stdout")
        assert answer.content == b"abc" + bytes(6) + b"de"
        assert answer.headers["x-log-gaps"] == "3-9, 11-11"
        assert answer.headers["x-log-next"] == "11"
        run.end(stdout=11)
        followed = Followed()
        await follow(run.http, run.task_id, followed)
        assert [gap.reason for gap in followed.gaps] == ["the disk was full", "cut short"]
        assert bytes(followed.bytes[run.dispatch.attempt_id, "stdout"]) == b"abc" + bytes(6) + b"de"


async def test_progress_bars_are_folded_for_who_asks(it: RestHive) -> None:
    async with running(it) as run:
        await run.agent.send_log(run.dispatch.channel, b"10%\r50%\r100%\nend\n")
        await until_stored(it, run.dispatch, 17)
        path = f"/tasks/{run.task_id}/logs/stdout"
        answer = await run.http.get(path + "?fold=true")
        assert answer.content == b"100%\nend\n"
        assert answer.headers["x-log-next"] == "17"
        assert (await run.http.get(path)).content == b"10%\r50%\r100%\nend\n"


async def test_a_read_beyond_the_end_names_both(it: RestHive) -> None:
    async with running(it) as run:
        await run.agent.send_log(run.dispatch.channel, b"abcd")
        await until_stored(it, run.dispatch, 4)
        answer = await run.http.get(f"/tasks/{run.task_id}/logs/stdout?offset=999")
        assert answer.status_code == 416
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["field"], problem["value"]) == ("offset", "999")
        assert "999" in problem["detail"]
        assert "4 bytes" in problem["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("stdin", 404),
        ("stdout?attempt=2", 404),
        ("stdout?attempt=x", 404),
        ("stdout?offset=-1", 422),
        ("stdout?limit=0", 422),
        ("stdout?limit=999999999", 422),
        ("stdout?offset=1&tail_bytes=1", 422),
        ("stdout?ofset=1", 422),
        ("..%2f..%2fhive.db", 404),
    ],
)
async def test_a_bad_read_is_a_problem(it: RestHive, path: str, status: int) -> None:
    async with running(it) as run:
        answer = await run.http.get(f"/tasks/{run.task_id}/logs/{path}")
        assert answer.status_code == status
        assert answer.json()["detail"]


async def test_a_task_that_has_not_started_has_no_output_yet(it: RestHive) -> None:
    task = (await it.admin.post("/tasks", json={"command": ["true"]})).json()["id"]
    answer = await it.admin.get(f"/tasks/{task}/logs/stdout")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["x-log-complete"] == "false"
    assert (await it.admin.get(f"/tasks/{task}/logs")).json() == []


async def test_the_last_output_of_an_attempt_that_is_over_is_waited_for(it: RestHive) -> None:
    async with running(it) as run:
        run.end(6)
        await run.http.get(f"/tasks/{run.task_id}/wait?timeout_s=20")
        got: list[httpx.Response] = []

        async def read() -> None:
            got.append(await run.http.get(f"/tasks/{run.task_id}/logs/stdout"))

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await anyio.sleep(0.05)
            assert got == []
            await run.agent.send_log(run.dispatch.channel, b"a line")
        assert got[0].content == b"a line"
        assert got[0].headers["x-log-complete"] == "true"


async def test_a_node_that_never_sends_the_rest_keeps_no_reader_waiting(
    it: RestHive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_routes, "REST_S", 0.05)
    async with running(it) as run:
        run.end(6)
        await run.http.get(f"/tasks/{run.task_id}/wait?timeout_s=20")
        answer = await run.http.get(f"/tasks/{run.task_id}/logs/stdout")
        assert answer.headers["x-log-complete"] == "false"


# ── following ─────────────────────────────────────────────────────────────────────────────────


async def test_a_follower_gets_every_byte_over_any_number_of_lost_lines(it: RestHive) -> None:
    """Goal: nothing lost, nothing twice. Method: cut the line after random numbers of events."""
    chance = random.Random(7)
    out, err = chance.randbytes(600_000), chance.randbytes(90_000)
    followed = Followed()
    async with running(it) as run:
        attempt = run.dispatch.attempt_id

        async def ship() -> None:
            for stream, data in ((0, out), (1, err)):
                at = 0
                while at < len(data):
                    step = chance.randrange(1, 50_000)
                    piece = data[at : at + step]
                    await run.agent.send_log(
                        run.dispatch.channel, piece, offset=at, stream=stream, time_ms=1_000 + at
                    )
                    at += len(piece)
                    await anyio.sleep(0.002)
            run.end(len(out), len(err))

        async with anyio.create_task_group() as group:
            group.start_soon(ship)
            with anyio.fail_after(40):
                while followed.end is None:
                    query = {"attempt": 1, **followed.offsets(attempt)}
                    await follow(
                        run.http, run.task_id, followed, lines=chance.randrange(1, 6), **query
                    )
        assert bytes(followed.bytes[attempt, "stdout"]) == out
        assert bytes(followed.bytes[attempt, "stderr"]) == err
        assert followed.end.task.state.is_final


async def test_processes_are_followed_together_and_read_alone(it: RestHive) -> None:
    """Goal: each byte once, of its process. Method: as above, four streams of two processes."""
    chance = random.Random(8)
    written = {number: chance.randbytes(chance.randrange(1, 60_000)) for number in (0, 4, 5, 7)}
    names = {0: "stdout", 4: "0.stdout", 5: "0.stderr", 7: "1.stderr"}
    spec = {"executor": "torchrun", "nproc_per_node": 2, "python": "/usr/bin/python3"}
    followed = Followed()
    async with running(it, **spec) as run:
        attempt, channel = run.dispatch.attempt_id, run.dispatch.channel

        async def ship() -> None:
            at = dict.fromkeys(written, 0)
            while rest := [n for n in written if at[n] < len(written[n])]:
                n = chance.choice(rest)
                piece = written[n][at[n] : at[n] + chance.randrange(1, 9_000)]
                await run.agent.send_log(channel, piece, offset=at[n], stream=n, time_ms=1_000)
                at[n] += len(piece)
                await anyio.sleep(0.002)
            # Of one that runs nothing is complete, whatever is here: it may write on.
            running = await run.http.get(f"/tasks/{run.task_id}/logs/lines", params={"process": 1})
            assert not running.json().get("complete")
            # The second process printed nothing to its stdout, and has it all the same.
            run.end(
                len(written[0]), processes=(len(written[4]), len(written[5]), 0, len(written[7]))
            )

        async with anyio.create_task_group() as group:
            group.start_soon(ship)
            with anyio.fail_after(40):
                while followed.end is None:
                    had = followed.offsets(attempt)
                    places = ",".join(f"{n}:{size}" for n, size in had.items() if n[0].isdigit())
                    query = {"attempt": 1, "processes": places, "stdout": had.get("stdout", 0)}
                    cut = chance.randrange(1, 6)
                    await follow(run.http, run.task_id, followed, lines=cut, **query)
        assert {n: bytes(followed.bytes[attempt, name]) for n, name in names.items()} == written
        logs = f"/tasks/{run.task_id}/logs"
        for number, name in names.items():
            process, _, stream = name.rpartition(".")
            query = {"process": process} if process else {}
            alone = await run.http.get(f"{logs}/{stream}", params=query)
            assert alone.content == written[number]
            assert alone.headers["x-log-complete"] == "true"
        lines = (await run.http.get(f"{logs}/lines", params={"process": 1})).json()
        assert {(line["process"], line["stream"]) for line in lines["lines"]} == {(1, "stderr")}
        assert (lines["processes"], lines["complete"]) == (2, True)
        views = {(v.get("process"), v["stream"]) for v in (await run.http.get(logs)).json()}
        assert views == {(None, "stdout"), (None, "stderr"), (0, "stdout"), (0, "stderr")} | {
            (1, "stderr")
        }
        beyond = await run.http.get(f"{logs}/stdout", params={"process": 2})
        assert (beyond.status_code, beyond.json()["hint"]) == (404, "ranks: 0 to 1")
        odd = await run.http.get(f"{logs}/follow", params={"processes": "1.stdin:7"})
        assert (odd.status_code, odd.json()["field"]) == (422, "processes")


@pytest.mark.parametrize(
    ("n_processes", "why"), [(2, "their node, "), (65, "of more than 64 on a node (here 65) none ")]
)
async def test_processes_that_share_one_output_say_so_and_why(
    it: RestHive, n_processes: int, why: str
) -> None:
    spec = {"executor": "torchrun", "nproc_per_node": n_processes, "python": "/usr/bin/python3"}
    async with running(it, **spec) as run:
        await run.agent.send_log(run.dispatch.channel, b"both\n")
        await until_stored(it, run.dispatch, 5)
        run.end(5)
        followed = Followed()
        await follow(run.http, run.task_id, followed)
        alone = await run.http.get(f"/tasks/{run.task_id}/logs/stdout", params={"process": 1})
        assert alone.status_code == 404
        assert "share one output" in alone.json()["detail"] + alone.json().get("title", "")
        assert alone.json()["hint"].startswith(why)


async def test_all_attempts_are_followed_in_order_until_the_task_is_over(it: RestHive) -> None:
    followed = Followed()
    async with running(it, retry=1, backoff_ms=1) as run:
        async with anyio.create_task_group() as group:
            group.start_soon(follow, run.http, run.task_id, followed)
            await run.agent.send_log(run.dispatch.channel, b"first")
            run.end(5, code=1)
            await run.agent.until(lambda: len(run.agent.all(Dispatch)) == 2)
            second = run._replace(dispatch=run.agent.all(Dispatch)[1])
            say_started(run.agent, second.dispatch)
            await run.agent.send_log(second.dispatch.channel, b"second")
            second.end(6)
        found = {key[0][-1]: bytes(data) for key, data in followed.bytes.items()}
        assert found == {"1": b"first", "2": b"second"}
        assert followed.end is not None
        assert [a.number for a in followed.end.task.attempts] == [1, 2]
        # One attempt alone.
        only = Followed()
        await follow(run.http, run.task_id, only, attempt=1)
        assert [bytes(data) for data in only.bytes.values()] == [b"first"]


async def test_a_task_that_waits_is_followed_from_its_start(it: RestHive) -> None:
    task = (await it.admin.post("/tasks", json={"command": ["true"]})).json()["id"]
    followed = Followed()
    async with it.listening() as address, anyio.create_task_group() as group:
        http = httpx.AsyncClient(base_url=address + API, headers=it.admin.headers)
        group.start_soon(follow, http, task, followed)
        await anyio.sleep(0.1)
        await it.admin.post(f"/tasks/{task}/cancel")
    assert followed.end is not None
    assert followed.end.task.state.value == "cancelled"


async def test_an_attempt_that_nobody_knows_the_end_of_ends_the_following(it: RestHive) -> None:
    followed = Followed()
    async with running(it, restarts=0) as run:
        await run.agent.send_log(run.dispatch.channel, b"so far")
        await until_stored(it, run.dispatch, 6)
        run.agent.say(
            AttemptEnded(
                attempt_id=run.dispatch.attempt_id,
                epoch=run.dispatch.epoch,
                outcome=Outcome(kind=OutcomeKind.SUPERVISOR_LOST),
                facts=ExitFacts(stdout_bytes=6),
            )
        )
        with anyio.fail_after(10):
            await follow(run.http, run.task_id, followed)
    assert [bytes(data) for data in followed.bytes.values()] == [b"so far"]


async def test_a_revoked_token_ends_what_it_follows_and_so_does_the_servers_stop(
    it: RestHive,
) -> None:
    async with running(it) as run:
        token = await it.token(it.administrator)
        lines: list[str] = []

        async def read(path: str, headers: dict[str, str]) -> None:
            async with run.http.stream("GET", path, headers=headers) as answer:
                lines.extend([line async for line in answer.aiter_lines()])

        with anyio.fail_after(60):
            for path in ("/events", f"/tasks/{run.task_id}/logs/follow"):
                mine = {"Authorization": f"Bearer {token}"}
                async with anyio.create_task_group() as group:
                    group.start_soon(read, path, mine)
                    group.start_soon(read, path, {})
                    await n_open(it, 2)
                    caller = it.caller(token)
                    it.services.answers.end(caller.token_id)
                    await n_open(it, 1)  # the other one's
                    it.services.answers.end(it.caller(admin_token(it)).token_id)
    assert all(line.startswith(":") or not line for line in lines)
    assert it.services.answers._open == {}


async def n_open(it: RestHive, wanted: int) -> None:
    """Returns once so many long answers are under way."""
    while len(it.services.answers._open) != wanted:  # noqa: ASYNC110
        await anyio.sleep(0.01)


def admin_token(it: RestHive) -> str:
    return str(it.admin.headers["authorization"]).removeprefix("Bearer ")


async def test_lines_are_read_and_searched_by_number(it: RestHive) -> None:
    async with running(it) as run:
        path = f"/tasks/{run.task_id}/logs"
        output = b"one\ntwo \x1b[31mred\x1b[0m\nthree"
        await run.agent.send_log(run.dispatch.channel, b"trouble\n", stream=1)
        await run.agent.send_log(run.dispatch.channel, output)
        await until_stored(it, run.dispatch, len(output))
        found = (await run.http.get(f"{path}/lines?from=-2&n=1&stream=stdout")).json()
        assert (found["first"], found["total"]) == (1, 3)
        assert [line["text"] for line in found["lines"]] == ["two \x1b[31mred\x1b[0m"]
        hits = (await run.http.get(f"{path}/search?q=TROUBLE&stream=stderr")).json()["hits"]
        assert [(hit["n"], hit["stream"], hit["text"]) for hit in hits] == [
            (0, "stderr", "trouble")
        ]
        for query in ("lines?stream=metrics", "lines?n=0", "search?q=", "lines?first=1"):
            assert (await run.http.get(f"{path}/{query}")).status_code == 422, query

"""Every answer names its request, and the log knows the name."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.rest_hive import RestHive, rest_hive

pytestmark = pytest.mark.anyio


@pytest.fixture
async def it(tmp_path: Path) -> AsyncIterator[RestHive]:
    async with rest_hive(tmp_path) as opened:
        yield opened


async def test_a_problem_has_the_id_of_its_answer_and_of_the_log(
    it: RestHive, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="fluxhive")
    answers = [await it.admin.get("/tasks/t-nope"), await it.admin.get("/tasks/t-nope")]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert [answer.json()["id"] for answer in answers] == ids
    assert len(set(ids)) == 2
    logged = [record.__dict__["request"] for record in caplog.records if "request" in vars(record)]
    assert logged == ids


@pytest.mark.parametrize(
    ("given", "is_taken"),
    [("a-proxy.s_1", True), ("forged\tline", False), ("x" * 65, False), ("", False)],
)
async def test_a_proxys_id_is_kept_where_it_can_do_no_harm(
    it: RestHive, given: str, is_taken: bool
) -> None:
    answer = await it.admin.get("/auth/me", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) == is_taken
    assert answer.headers["x-request-id"]

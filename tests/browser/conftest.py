"""One hive with fake GPUs, one Chromium, and a page for each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.cli_hive import CliHive

if TYPE_CHECKING:  # playwright is no test dependency of those who test no dashboard
    from tests.helpers.browser import Visit


@pytest.fixture(scope="module")
def chrome(request: pytest.FixtureRequest) -> Iterator[object]:
    """A browser; without Chromium, a built dashboard and axe-core there is nothing to test with."""
    from tests.helpers import browser

    for is_there, remedy in (
        (browser.chromium() is not None, "apt-get install chromium"),
        (browser.BUILT.exists() and browser.AXE.exists(), "./dev web"),
    ):
        if not is_there:
            say = pytest.fail if request.config.getoption("--demand-all") else pytest.skip
            say(f"not run: the tests of the dashboard need: {remedy}")
    with browser.browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliHive]:
    """A running hive with one node of four fake GPUs."""
    hive = CliHive(tmp_path_factory.mktemp("home"), FLOWHIVE_FAKE_GPUS="4x80G")
    hive.up()
    yield hive
    hive.down()


@pytest.fixture
def visit(chrome: Any, hive: CliHive) -> Iterator[Visit]:
    """Signed in, on the overview; at the end nothing was refused, failed or asked elsewhere."""
    from tests.helpers.browser import Visit

    opened = Visit(chrome, hive)
    opened.sign_in()
    yield opened
    opened.check_clean()
    opened.close()

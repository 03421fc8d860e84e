"""Real servers and agents for the integration tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.cli_hive import CliHive


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliHive]:
    """A running hive with one node of four fake GPUs, shared by the tests of a file."""
    home: Path = tmp_path_factory.mktemp("home")
    hive = CliHive(home, FLOWHIVE_FAKE_GPUS="4x80G")
    hive.up()
    yield hive
    hive.down()

"""Fixtures that several rooms of tests share."""

from __future__ import annotations

import pytest


@pytest.fixture
def hive():  # type: ignore[no-untyped-def]
    """An empty hive to tell a story with (tests/helpers/hive.py)."""
    from tests.helpers.hive import Hive

    return Hive()

"""Whatever is thrown at a server: it lives, says nothing of surprise, and grows little.

A hundred thousand: `python -m tests.helpers.malformed`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import malformed


@pytest.mark.parametrize("seed", [1, 2])
def test_two_thousand_malformed_messages_change_nothing(tmp_path: Path, seed: int) -> None:
    outcome = malformed.run(tmp_path, 2_000, seed)
    assert outcome.unhandled == []
    assert outcome.is_good, outcome

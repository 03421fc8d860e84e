"""As whom an agent may run tasks. What becomes of it is shown with real processes elsewhere."""

from __future__ import annotations

import os

import pytest

from fluxhive.agent.task_user import check_user
from fluxhive.core.errors import InputError


def test_only_root_can_run_tasks_as_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert check_user(allow_root=False) is None
    with pytest.raises(InputError) as refused:
        check_user(allow_root=False, task_user="nobody")
    assert "only an agent of root" in refused.value.text


def test_root_must_say_as_whom_tasks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    with pytest.raises(InputError) as refused:
        check_user(allow_root=False)
    assert "--task-user" in (refused.value.hint or "")
    assert check_user(allow_root=True) is None
    user = check_user(allow_root=False, task_user="nobody")
    assert user is not None
    assert user.uid != 0
    assert user.environ["USER"] == "nobody"

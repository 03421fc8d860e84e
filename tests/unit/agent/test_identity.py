"""What a node remembers of itself, and to whom it shows its token."""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path

import pytest

from fluxhive.agent.identity import FILE_NAME, IdentityFile
from fluxhive.core.errors import Conflict


def known(tmp_path: Path, url: str = "http://hive:8001") -> IdentityFile:
    record = {"node_id": "n-1", "token": "fh_n_x", "url": url, "incarnation": 4}
    (tmp_path / FILE_NAME).write_text(json.dumps(record))
    return IdentityFile(tmp_path)


def test_each_life_has_a_higher_number_that_survives(tmp_path: Path) -> None:
    assert IdentityFile(tmp_path).begin_life("boot") == 1
    assert IdentityFile(tmp_path).begin_life("boot") == 2
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


def test_beginning_a_life_keeps_id_and_token(tmp_path: Path) -> None:
    identity = known(tmp_path)
    assert identity.begin_life("boot") == 5
    again = IdentityFile(tmp_path).current
    assert (again.node_id, again.token, again.incarnation) == ("n-1", "fh_n_x", 5)


def test_the_token_is_good_for_another_port_and_never_for_another_host(tmp_path: Path) -> None:
    identity = known(tmp_path)
    assert identity.is_known_to("http://hive:8001")
    assert identity.is_known_to("http://hive:8002")
    assert not identity.is_known_to("http://evil:8001")
    assert not identity.is_known_to("https://hive:8001")


def test_without_a_token_it_is_known_to_nobody(tmp_path: Path) -> None:
    assert not IdentityFile(tmp_path).is_known_to("http://hive:8001")


def test_a_file_that_cannot_be_read_means_registering_again(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"\x00garbage")
    assert IdentityFile(tmp_path).current.node_id == ""


def test_a_full_disk_is_said_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    identity = known(tmp_path)
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Conflict, match="No space left") as caught:
        identity.begin_life("boot")
    assert "start the agent again" in (caught.value.hint or "")
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]

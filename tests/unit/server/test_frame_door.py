"""The door of an agent's connection reaches into Uvicorn: only where its inner parts are known."""

from __future__ import annotations

from fluxhive.server.frame_door import FrameDoor, connection_class


def test_the_version_that_is_locked_is_known() -> None:
    """A new one here: read its sans-I/O connection, then name it in ``KNOWN``."""
    assert connection_class() is FrameDoor


def test_another_version_serves_without_doors() -> None:
    assert connection_class("0.54.7") is FrameDoor
    assert connection_class("0.55.0") == connection_class("1.0.0") == "websockets-sansio"

"""What is imported on macOS and Windows, and what people are told there, as Linux can show it.

Each case is a Python of its own that lacks what the other system lacks (tests/helpers).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="plays the others from Linux")
ROOT = Path(__file__).resolve().parents[2]


def on(platform: str, home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.helpers.other_system", platform, *words],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "FLOWHIVE_STATE_DIR": str(home / "state"),
            "FLOWHIVE_CONFIG": str(home / "config.toml"),
            "FLOWHIVE_CONTROL_URL": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_every_module_for_a_system_can_be_imported_there(platform: str, tmp_path: Path) -> None:
    done = on(platform, tmp_path)
    assert done.returncode == 0, done.stdout
    assert "0 of them cannot be imported" in done.stdout


@pytest.mark.parametrize("words", [("run",), ("up",), ("server",), ("service", "install")])
def test_on_windows_agent_and_server_refuse_with_the_way_out(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    done = on("win32", tmp_path, *words)
    assert done.returncode != 0
    assert "agents and servers do not run on Windows yet" in done.stderr
    assert "WSL 2" in done.stderr


def test_on_windows_the_client_works(tmp_path: Path) -> None:
    done = on("win32", tmp_path, "submit", "--help")
    assert done.returncode == 0, done.stderr
    # Nobody serves there, and so says the client.
    assert "no FlowHive server answers" in on("win32", tmp_path, "ps").stderr


@pytest.mark.parametrize(
    ("platform", "lack"),
    [("darwin", "leaves its session and its parents"), ("win32", "do not run on Windows yet")],
)
def test_the_doctor_tells_what_does_not_hold_on_this_system(
    platform: str, lack: str, tmp_path: Path
) -> None:
    done = on(platform, tmp_path, "doctor")
    assert lack in done.stdout, done.stderr

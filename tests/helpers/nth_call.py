"""Lets the n-th call that changes a directory fail, for each n, and says how many there are."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "native" / "nth.c"
_CONTROL = struct.Struct("iii")


class NthCall:
    """The control file of native/nth.c, and the environment that obeys it."""

    def __init__(self, scratch: Path, watched: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler here")
        library, self._control = scratch / "nth.so", scratch / "nth.control"
        if not library.exists():
            command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
            subprocess.run([*command, "-ldl"], check=True)
        self.fail(0)
        self.env = {
            **os.environ,
            "LD_PRELOAD": str(library),
            "NTH_DIR": str(watched),
            "NTH_CONTROL": str(self._control),
        }

    def fail(self, n: int, error: int = 0) -> None:
        """Counts anew; the n-th call from now on fails with this errno, 0: none does."""
        put(self._control, n, error)

    @property
    def n_calls(self) -> int:
        """How many calls there were since."""
        n: int = _CONTROL.unpack(self._control.read_bytes())[0]
        return n


def put(control: Path, n: int, error: int) -> None:
    """Writes the control file in place: processes that have mapped it see it at once."""
    if not control.exists():
        control.write_bytes(_CONTROL.pack(0, n, error))
        return
    with control.open("r+b") as file, mmap.mmap(file.fileno(), _CONTROL.size) as shared:
        shared[:] = _CONTROL.pack(0, n, error)

"""The compiled way to start programs: made once where there is a C compiler, or done without.

A fork of a Python process copies hundreds of pages and costs more than a short program does; so the
one thing that is done for every attempt, starting its program, exists twice: ``native_start.c``,
and in plain Python in ``shim_start.py``. What they do is the same and is tested as the same.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("native_start.c")
#: By the names that POSIX and the two families of compilers give them.
COMPILERS = ("cc", "gcc", "clang")
COMPILE_S = 30.0


def starter(folder: Path) -> Path | None:
    """The compiled library, kept in ``folder`` by what it is made from; None where none can be.

    Blocks for the tenth of a second that a compiler takes, the first time.
    """
    try:
        source = SOURCE.read_bytes()
    except OSError:
        return None
    key = hashlib.sha256(source + platform.machine().encode()).hexdigest()[:16]
    library = folder / f"start-{key}.so"
    if library.exists():
        return library
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        log.info("no C compiler: programs are started by fork, which takes a little longer")
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch, "start.so")
            command = [compiler, "-O2", "-fPIC", "-shared", "-o", str(made), str(SOURCE)]
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                timeout=COMPILE_S,
                stdin=subprocess.DEVNULL,
            )
            os.rename(made, library)
    except (OSError, subprocess.SubprocessError) as error:
        log.info("the starter was not compiled, fork will do", extra={"reason": str(error)})
        return None
    return library

"""Every command in the documentation is run: page by page, against a real server and agent.

Goal: no page promises what does not work. Method: helpers/doc_commands.py takes the commands out of
the pages. Plain calls of `fluxhive` run in a fork of this process, which has all imported already;
lines that need a shell run in bash. A command must end with 0, or as its block says. Names of tasks
that a page shows (`t-7f3k`) stand for the tasks that its own commands made.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fluxhive.cli import fluxhive
from tests.helpers.cli_hive import CliHive
from tests.helpers.doc_commands import Block, Command, blocks, pages

LIMIT_S = 40.0
TASK_ID = re.compile(r"\bt-[0-9a-z]{4,}\b")
#: Needs a shell: a variable, a pipe, another file, another program.
SHELL = re.compile(r"[|<>$`;&*?~]")
FILES = {
    "train.py": "import sys\nprint('step 1', *sys.argv[1:])\n",
    "prepare.py": "import time\ntime.sleep(2)\nprint('ready')\n",
    "fix.py": "print('fixed')\n",
    "shard.sh": "#!/bin/sh\necho shard $FLUXHIVE_ARRAY_INDEX\n",
    "collect.sh": "#!/bin/sh\necho collected\n",
    "clean-up.sh": "#!/bin/sh\necho clean\n",
    "tell-somebody.sh": "#!/bin/sh\necho told\n",
    "pay-the-bill.sh": "#!/bin/sh\necho paid\n",
}
#: Blocks that no test runs: one in three at most, each with its reason.
NOT_RUN_SHARE_MAX = 0.33
PAGES = [path for path in pages() if any(not block.not_run for block in blocks(path))]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Reader:
    """Somebody who follows a page, in a directory of their own."""

    def __init__(self, hive: CliHive, place: Path) -> None:
        self.hive = hive
        self.place = place
        self.ids: dict[str, str] = {}
        for name, text in FILES.items():
            (place / name).write_text(text)
            (place / name).chmod(0o755)
        (place / "bin").mkdir()
        shim = place / "bin" / "fluxhive"
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m fluxhive.cli.fluxhive "$@"\n')
        shim.chmod(0o755)
        path = f"{place / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = {**hive.env, "PATH": path, "TOKEN": "hf_1"}

    def follow(self, block: Block) -> None:
        """Does what the block says."""
        where = f"{block.page}:{block.line}"
        for text in block.before:
            name, _, command = text.rpartition(" = ")
            ended = self.run(command, None)
            assert ended.code == 0, f"{where}, before: {command}\n{ended.out}{ended.err}"
            if name:
                self.ids[name] = _first_id(ended.out)
        if block.file:
            (self.place / block.file).parent.mkdir(parents=True, exist_ok=True)
            (self.place / block.file).write_text(block.text)
        for command in block.commands:
            self._one(command, block, where)

    def _one(self, command: Command, block: Block, where: str) -> None:
        unknown = [name for name in TASK_ID.findall(command.text) if name not in self.ids]
        assert not unknown, f"{where}: no command of the page has made {unknown}: {command.text}"
        text = TASK_ID.sub(lambda found: self.ids[found[0]], command.text)
        ended = self.run(text, block.until_s)
        told = f"{where}: $ {text}\nended with {ended.code}\n{ended.out}{ended.err}"
        assert ended.code in block.ends, told
        if command.shown_id:
            self.ids[command.shown_id] = _first_id(ended.out or ended.err)

    def run(self, text: str, until_s: float | None) -> Ended:
        """One command, as if typed."""
        words = [] if SHELL.search(_without_quoted(text)) else shlex.split(text, comments=True)
        if words[:1] == ["fluxhive"]:
            return self._forked(words[1:], until_s)
        if until_s is not None:
            text = f"timeout --signal=INT {until_s} {text}; [ $? -eq 124 ]"
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=self.place,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def _forked(self, words: list[str], until_s: float | None) -> Ended:
        out, err = self.place / ".out", self.place / ".err"
        child = os.fork()
        if child == 0:
            _become(words, self.place, self.env, out, err)
        end = time.monotonic() + (until_s or LIMIT_S)
        while time.monotonic() < end:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return Ended(code, out.read_text(), err.read_text())
            time.sleep(0.005)
        os.kill(child, signal.SIGINT if until_s else signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if until_s and code == fluxhive.INTERRUPTED_EXIT:
            code = 0
        return Ended(code, out.read_text(), err.read_text())


def _become(words: list[str], place: Path, env: dict[str, str], out: Path, err: Path) -> None:
    """In the forked child: is the command, and ends as it does."""
    code = 1
    try:
        for target, file in ((1, out), (2, err)):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), target)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(place)
        os.environ.clear()
        os.environ.update(env)
        code = fluxhive.main(words)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _first_id(text: str) -> str:
    found = TASK_ID.search(text)
    assert found is not None, f"no task is named: {text}"
    return found[0]


def _without_quoted(text: str) -> str:
    """The line without what stands in single quotes, which no shell looks into."""
    return re.sub(r"'[^']*'", "", text.partition(" #")[0])


@pytest.fixture(scope="module")
def hive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliHive]:
    """A hive with one node of four fake GPUs, called as the pages call theirs."""
    home = tmp_path_factory.mktemp("home")
    hive = CliHive(home, FLOWHIVE_FAKE_GPUS="4x80G", FLOWHIVE_LABEL="gpu-a")
    hive.up()
    yield hive
    hive.down()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_commands_of_a_page_work(hive: CliHive, tmp_path: Path, path: Path) -> None:
    reader = Reader(hive, tmp_path)
    try:
        for block in blocks(path):
            if not block.not_run:
                reader.follow(block)
    finally:
        reader.run("fluxhive ps -q | xargs -r fluxhive cancel", None)
        reader.run("fluxhive booking ls -q | xargs -rn 1 fluxhive booking rm", None)


def test_what_is_not_run_says_why_and_stays_the_exception() -> None:
    """`./dev docs` and `python -m tests.helpers.doc_commands` list them."""
    found = [block for path in pages() for block in blocks(path)]
    left_out = [block for block in found if block.not_run]
    assert [block for block in left_out if len(block.not_run.split()) < 3] == []
    assert len(left_out) <= len(found) * NOT_RUN_SHARE_MAX

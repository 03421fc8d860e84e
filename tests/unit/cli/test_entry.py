"""The command itself: its overview, what starting it costs, and words that are nearly right."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

import fluxhive as package
from fluxhive.cli.fluxhive import VERBS, overview
from tests.unit.cli.conftest import Cli

HEAVY = {"asyncio", "msgspec", "websockets", "rich", "urllib3", "anyio", "click", "tomlkit"}


def test_the_overview_names_every_verb_and_imports_next_to_nothing() -> None:
    program = (
        "import sys; from fluxhive.cli.fluxhive import main; code = main(['--help']);"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout == overview()
    assert all(f"\n  {verb} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_whose_first_words_the_overview_can_stand_for(
    cli: Cli, verb: str
) -> None:
    command = import_module(f"fluxhive.cli.{VERBS[verb].module}").command
    assert isinstance(command, click.Command)
    done = cli(verb, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: fluxhive {verb} ")


def test_a_verb_that_talks_to_nobody_imports_no_network() -> None:
    program = (
        "import sys; from fluxhive.cli.fluxhive import main; main(['version']);"
        "print(sorted({'asyncio', 'msgspec', 'urllib3', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "found"), [("fluxhive s", "submit"), ("fluxhive ps --a", "--all")]
)
def test_the_shell_completes_verbs_and_options(words: str, found: str) -> None:
    variables = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "from fluxhive.cli.fluxhive import main; main([])"],
        env={**os.environ, **variables, "_FLUXHIVE_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
    )
    assert f"plain,{found}\n" in done.stdout


def test_an_unknown_verb_offers_the_closest(cli: Cli) -> None:
    done = cli("sbumit")
    assert done == (2, "", "error: unknown verb: `sbumit`\n\nhint: did you mean `submit`\n")
    assert cli("xyzzy").err.endswith("hint: see `fluxhive --help`\n")


def test_an_unknown_option_offers_the_closest(cli: Cli) -> None:
    done = cli("submit", "--gpu-men", "8G", "--", "x")
    assert done.code == 2
    assert done.err == (
        "error: unknown option of `fluxhive submit`: `--gpu-men`\n\n"
        "hint: did you mean `--gpu-mem`\n"
    )


def test_a_value_of_the_wrong_kind_is_named(cli: Cli) -> None:
    done = cli("submit", "--gpus", "two", "--", "x")
    assert done.code == 2
    assert done.err == (
        "error: `--gpus` must be a whole number or `all`: `two`\n\n"
        "hint: say how many: `fluxhive gpus` lists what there is\n"
    )


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("ps --watch x", "`--watch` must be a number: `x`", "fluxhive ps --help"),
        ("top --interval 0", "`--interval` must be at least 0.5: 0.0", "fluxhive top --help"),
        ("up --port 99999", "`--port` must be from 1 to 65535: 99999", "fluxhive up --help"),
        (
            "submit -p hihg -- x",
            "`--priority` takes one of low, normal, high or urgent: `hihg`",
            "did you mean `high`",
        ),
        (
            "completion tcsh",
            "`fluxhive completion` takes one of bash, zsh, fish or powershell: `tcsh`",
            "fluxhive completion --help",
        ),
        (
            "completion",
            "`fluxhive completion` needs one of bash, zsh, fish or powershell",
            "fluxhive completion --help",
        ),
        ("show", "`fluxhive show` needs TASK", "list them: fluxhive ps"),
        ("diff t-7f3k", "`fluxhive diff` needs B", "list them: fluxhive ps"),
        ("booking add", "`fluxhive booking add` needs `--gpus`", "fluxhive booking add --help"),
        ("ps me", "`fluxhive ps` does not know what to do with: `me`", "fluxhive ps --help"),
        ("logs t-7f3k --tail", "`--tail` needs a value", "fluxhive logs --help"),
        ("quota show", "`fluxhive quota` has no `show`", "did you mean `fluxhive quota ls`"),
        ("token rm", "`fluxhive token` has no `rm`", "did you mean `fluxhive token revoke`"),
        ("node ls", "`fluxhive node` has no `ls`", "did you mean `fluxhive nodes`"),
        ("node dran", "`fluxhive node` has no `dran`", "did you mean `fluxhive node drain`"),
        ("secret zzz", "`fluxhive secret` has no `zzz`", "it has `ls`, `rm`, `set`"),
        ("status", "unknown verb: `status`", "`fluxhive ps` lists your tasks"),
        ("describe t-7f3k", "unknown verb: `describe`", "did you mean `show`"),
    ],
)
def test_wrong_use_is_told_in_our_words(cli: Cli, line: str, said: str, hint: str) -> None:
    done = cli(*line.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {said}\n\nhint: {hint}")


def test_a_verb_of_parts_alone_shows_them(cli: Cli) -> None:
    done = cli("quota")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: fluxhive quota [OPTIONS] COMMAND")
    assert "\n  ls   List all quotas" in done.err


def test_help_is_also_a_verb(cli: Cli) -> None:
    assert cli("help", "ps") == cli("ps", "--help")
    assert cli("help", "quota", "ls").out.startswith("Usage: fluxhive quota ls ")


def test_a_command_given_to_run_is_recognised(cli: Cli) -> None:
    done = cli("run", "python", "x y.py", "--lr", "1")
    assert done.code == 2
    assert done.err.startswith(
        "error: run starts the agent; did you mean: fluxhive submit -- python 'x y.py' --lr 1\n"
    )


def test_nobody_there_is_said_with_the_way_out() -> None:
    words = ["ps", "--control-url", "http://127.0.0.1:1"]
    done = subprocess.run(
        [sys.executable, "-m", "fluxhive.cli.fluxhive", *words], capture_output=True, text=True
    )
    assert done.returncode == 5
    assert done.stdout == ""
    assert done.stderr == (
        "error: no FlowHive server answers at http://127.0.0.1:1 (connection refused)\n\n"
        "hint: start one with `fluxhive up`, or name yours: "
        "fluxhive config control_base_url URL\n"
    )


def test_a_reader_that_has_seen_enough_is_no_trouble() -> None:
    command = f"{sys.executable} -m fluxhive.cli.fluxhive --help | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "U", "")


def test_the_version_is_the_projects() -> None:
    project = Path(__file__).parents[3] / "pyproject.toml"
    written = re.search(r'^version = "(.+)"$', project.read_text(), re.MULTILINE)
    assert written is not None
    assert written[1] == package.__version__


def test_the_version_is_told(cli: Cli) -> None:
    assert cli("--version").out.startswith(f"fluxhive {package.__version__} (Python ")
    assert f'"version": "{package.__version__}"' in cli("version", "--json").out


def test_public_names_are_there_when_asked_for() -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert "Client" in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018  # the access is the test


def test_only_output_and_messages_write_to_the_terminal() -> None:
    """Law of the house: no command prints by itself."""
    allowed = {"output.py", "messages.py", "follow.py", "fluxhive.py"}
    for path in Path(package.__file__).parent.joinpath("cli").glob("*.py"):
        writes = [
            node.lineno
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)
            and node.attr == "write"
            and isinstance(node.value, ast.Attribute)
            and node.value.attr in ("stdout", "stderr")
        ]
        assert path.name in allowed or not writes, f"{path.name} writes by itself: {writes}"

"""Style as a test: what a reader should never stumble over."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "fluxhive").rglob("*.py"))
OURS = PACKAGE + sorted(
    path for folder in ("tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
TEXTS = [
    path
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "changes").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        ROOT / "dev",
        ROOT / ".ci/run",
    )
    if path.exists()
]

FILE_LINES, FILE_LINES_EVER = 400, 700
#: As git leaves them where two changes met.
MERGE_MARK = re.compile(r"(<{7}|>{7})( |$)")
FUNCTION_LINES = 60
#: Longer files, each with the reason why it is one subject.
LONG_FILES: dict[str, str] = {}
BANNED_MODULES = {"utils", "util", "common", "helpers", "base", "misc"}
#: All that the core may import beside itself. What import rules forbid by name cannot be complete.
CORE_IMPORTS = {
    "__future__",
    "array",
    "bisect",
    "collections",
    "collections.abc",
    "dataclasses",
    "enum",
    "functools",
    "heapq",
    "itertools",
    "math",
    "msgspec",
    "msgspec.structs",
    "operator",
    "re",
    "sys",
    "typing",
    "typing_extensions",
    "zlib",
}
#: … of msgspec only plain Structs, no codec; of sys nothing but the version.
CORE_MSGSPEC = {"Struct", "field", "UNSET", "UnsetType"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", [*OURS, *TEXTS], ids=name)
def test_no_merge_was_left_half_done(path: Path) -> None:
    marks = [line for line in path.read_text().splitlines() if MERGE_MARK.match(line)]
    assert marks == []


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_a_file_and_its_functions_can_be_held_in_mind(path: Path) -> None:
    text = path.read_text()
    limit = FILE_LINES_EVER if name(path) in LONG_FILES else FILE_LINES
    assert text.count("\n") <= limit, f"{name(path)} has more than {limit} lines"
    for function in functions(parsed(path)):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= FUNCTION_LINES, f"{name(path)}:{function.lineno} {function.name}"


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_public_things_say_what_they_are(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree) or not tree.body, f"{name(path)} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            is_public = not node.name.startswith("_")
            assert not is_public or ast.get_docstring(node), f"{name(path)}: {node.name}"


@pytest.mark.parametrize("path", OURS, ids=name)
def test_nothing_is_left_undone_or_swallowed(path: Path) -> None:
    text = path.read_text()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b", token.string), token.line
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            is_broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
            )
            is_silent = all(isinstance(part, ast.Pass | ast.Continue) for part in node.body)
            assert not (is_broad and is_silent), f"{name(path)}:{node.lineno} swallows errors"


def test_no_module_is_a_drawer_for_everything() -> None:
    assert [name(path) for path in PACKAGE if path.stem in BANNED_MODULES] == []


@pytest.mark.parametrize("path", [p for p in OURS if p not in PACKAGE], ids=name)
def test_no_test_or_script_is_a_book(path: Path) -> None:
    assert path.read_text().count("\n") <= FILE_LINES_EVER, name(path)


CORE = [path for path in PACKAGE if path.is_relative_to(ROOT / "fluxhive" / "core")]


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_imports_nothing_that_can_surprise_it(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        named: list[str] = []
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            named = [node.module or ""]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert node.value.id != "sys" or node.attr in {"version_info", "maxsize", "intern"}
        for module in named:
            is_ours = module == "fluxhive.core" or module.startswith("fluxhive.core.")
            assert is_ours or module in CORE_IMPORTS, f"{name(path)}:{node.lineno} {module}"


@pytest.mark.parametrize("path", CORE, ids=name)
def test_the_core_takes_only_plain_structs_from_msgspec(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module == "msgspec":
            assert {alias.name for alias in node.names} <= CORE_MSGSPEC, name(path)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("msgspec."):
            assert node.module == "msgspec.structs", f"{name(path)}: {node.module}"
        if isinstance(node, ast.Import):
            assert all(not alias.name.startswith("msgspec") for alias in node.names), name(path)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"hash", "id", "open", "print"}, f"{name(path)}"


@pytest.mark.parametrize("path", [p for p in PACKAGE if p.parent.name == "cli"], ids=name)
def test_commands_print_through_output_and_messages(path: Path) -> None:
    if path.stem not in {"output", "messages"}:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{name(path)}:{node.lineno}"


@pytest.mark.parametrize("path", [p for p in PACKAGE if p.parent.name != "examples"], ids=name)
def test_shells_start_no_task_that_nobody_waits_for(path: Path) -> None:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            named = f"{node.value.id}.{node.attr}"
            assert named not in {
                "asyncio.create_task",
                "asyncio.ensure_future",
                "asyncio.gather",
                "asyncio.wait_for",
            }, f"{name(path)}:{node.lineno} {named}"


@pytest.mark.parametrize("path", [*OURS, *TEXTS], ids=name)
def test_no_text_names_a_place_of_one_machine(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"(?<![\w.])/(home|Users)/(?!USER|alice|bob|me|ada)\w+/", text)
    assert not re.search(r"(?<![\w.])/(?:root|tmp/(?!fluxhive)\w+)/", text)
    assert not re.search(r"https?://(?:[\w-]+\.)*(?:pypi|pythonhosted|npmjs|debian)\.\w", text)


@cache
def commands() -> set[str]:
    from fluxhive.cli import fluxhive as entry

    return {*entry.VERBS, *entry.ALIASES}


@pytest.mark.parametrize("path", TEXTS + OURS, ids=name)
def test_no_merge_left_its_marks(path: Path) -> None:
    marks = ("<" * 7 + " ", "=" * 7 + "\n", ">" * 7 + " ")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert not [line for line in lines if line.startswith(marks)]


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_docs_name_only_commands_that_exist(path: Path) -> None:
    known, text = commands(), path.read_text()
    for verb in re.findall(r"(?:^\s*(?:\$ )?|`)fluxhive ([a-z][a-z-]+)", text, re.MULTILINE):
        assert verb in known, f"{name(path)}: fluxhive {verb}"
    dev = re.search(r"verb not in \(([^)]*)\)", (ROOT / "dev").read_text())
    assert dev is not None
    for verb in re.findall(r"\./dev ([a-z]+)", text):
        assert f'"{verb}"' in dev[1] or path.name == "dev", f"{name(path)}: ./dev {verb}"


@pytest.mark.parametrize("path", [path for path in TEXTS if path.suffix == ".md"], ids=name)
def test_docs_name_only_files_that_exist(path: Path) -> None:
    text = path.read_text()
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert (path.parent / link).exists(), f"{name(path)} links {link}"
    for file in re.findall(r"`([\w.-]+(?:/[\w.-]+)*/[\w.-]+\.(?:py|md|json|toml|lock))`", text):
        places = (ROOT, ROOT / "fluxhive", path.parent)
        assert any((place / file).exists() for place in places), f"{name(path)} names {file}"


def test_the_lock_names_no_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()
    assert "://" not in (ROOT / "docs" / "requirements.lock").read_text()


def declared_dependencies() -> list[str]:
    """Each requirement of pyproject.toml: for users, for the server, for development."""
    text = (ROOT / "pyproject.toml").read_text()
    tables = text[text.index("\ndependencies = [") : text.index("[project.scripts]")]
    return re.findall(r'^  "([^"]+)",$', tables, re.MULTILINE)


def test_each_dependency_stands_with_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    names = {re.split(r"[><=!;]", requirement)[0] for requirement in declared_dependencies()}
    assert len(names) > 20
    assert sorted(each for each in names if f"| {each} |" not in page) == []


def test_the_lock_holds_what_the_project_asks_for() -> None:
    """Not that it is the newest: that `./dev lock` was not forgotten after a change."""
    requirements = pytest.importorskip("packaging.requirements")
    locked: dict[str, list[str]] = {}
    locks = [(ROOT / name).read_text() for name in ("requirements.lock", "docs/requirements.lock")]
    pins = re.findall(r"^([\w.-]+)==([^\s;\\]+)", "\n".join(locks), re.M)
    for package, version in pins:
        locked.setdefault(package, []).append(version)
    for text in declared_dependencies():
        wanted = requirements.Requirement(text)
        versions = locked.get(wanted.name, [])
        assert versions, f"{wanted.name} is not locked: ./dev lock"
        assert all(version in wanted.specifier for version in versions), f"{text}: ./dev lock"


def test_requirements_txt_brings_what_the_development_group_names() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith(("#", "-e"))}
    text = (ROOT / "pyproject.toml").read_text()
    group = text[text.index("\ndev = [") : text.index("[project.scripts]")]
    assert listed == set(re.findall(r'^  "([^"]+)",$', group, re.MULTILINE))

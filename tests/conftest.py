"""Fixtures that several rooms of tests share, and what happens where a package is missing.

The suite passes with nothing but `pip install -e .` and pytest: files that need more are left out,
with one printed line for each remedy. `--demand-all` (CI) makes that an error instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SERVER = "pip install -e '.[server]'"
#: Packages that `pip install -e .` does not bring, and what does.
REMEDIES = {
    "fastapi": SERVER,
    "sqlalchemy": SERVER,
    "alembic": SERVER,
    "argon2": SERVER,
    "limits": SERVER,
    "uvicorn": SERVER,
    "httpx": "pip install httpx",
    "hypothesis": "pip install hypothesis",
    "playwright": "pip install playwright",
    "cloudpickle": "pip install cloudpickle",
    "submitit": "pip install submitit",
    "hydra": "pip install hydra-submitit-launcher",
    "torch": "pip install torch",
    "uv": "pip install uv",
}
#: Never demanded: a machine without them is a normal machine.
OPTIONAL = {"torch"}
#: Folders whose tests start server processes, which no import of theirs tells.
SERVER_FOLDERS = (TESTS / "browser", TESTS / "integration", TESTS / "unit" / "server")

MISSING = {package for package in REMEDIES if find_spec(package) is None}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--demand-all`; and the settings of plug-ins in pyproject.toml, where those are missing."""
    parser.addoption(
        "--demand-all",
        action="store_true",
        help="fail when a package that some tests need is missing, instead of leaving them out",
    )
    parser.addoption(
        "--demand",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="fail when this package is missing, such as `torch`, which nothing else demands",
    )
    if find_spec("pytest_timeout") is None:
        parser.addini("timeout", "seconds a test may take: ignored, pytest-timeout is missing")


def pytest_configure(config: pytest.Config) -> None:
    demanded = set(config.getoption("--demand"))
    if config.getoption("--demand-all"):
        demanded |= set(REMEDIES) - OPTIONAL
    lacking = sorted(MISSING & demanded)
    if lacking:
        raise pytest.UsageError(f"missing: {', '.join(lacking)}; pip install -r requirements.txt")


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out the test files that need a missing package."""
    return True if needs(collection_path) & MISSING else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each remedy: which packages are missing, and how much was left out for them."""
    for remedy in dict.fromkeys(REMEDIES.values()):
        packages = sorted(package for package in MISSING if REMEDIES[package] == remedy)
        files = [path for path in TESTS.rglob("test_*.py") if needs(path) & {*packages}]
        if files:
            terminalreporter.write_line(
                f"not run: {len(files)} test files that need {', '.join(packages)} ({remedy})"
            )


def needs(path: Path) -> set[str]:
    """What of `REMEDIES` a test file cannot be collected or run without."""
    if not MISSING or not path.name.startswith("test_") or path.suffix != ".py":
        return set()
    found = {module.partition(".")[0] for module in _imports_of(path)} & set(REMEDIES)
    if any(folder in path.parents for folder in SERVER_FOLDERS):
        found |= {package for package, remedy in REMEDIES.items() if remedy is SERVER}
    return found


def _imports_of(start: Path) -> set[str]:
    """Each module that importing a file imports, through our own files as far as they lead."""
    seen, left, modules = {start}, [start], set[str]()
    while left:
        for module in _imports(left.pop()):
            modules.add(module)
            path = _file_of(module)
            if path is not None and path not in seen:
                seen.add(path)
                left.append(path)
    return modules


@cache
def _file_of(module: str) -> Path | None:
    """Where a module of ours is; None: it is not ours."""
    base = TESTS.parent.joinpath(*module.split("."))
    paths = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in paths if path.exists()), None)


@cache
def _imports(path: Path) -> frozenset[str]:
    """The modules that a file names in its imports when it is loaded."""
    package = path.relative_to(TESTS.parent).parent.parts
    names: set[str] = set()
    for node in _run_on_import(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*above, *filter(None, [node.module])])
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _run_on_import(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those in functions and in `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _run_on_import(child)


@pytest.fixture
def hive():  # type: ignore[no-untyped-def]
    """An empty hive to tell a story with (tests/helpers/hive.py)."""
    from tests.helpers.hive import Hive

    return Hive()

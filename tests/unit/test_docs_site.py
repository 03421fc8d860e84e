"""The reference pages of the site are written from the code: nothing is forgotten there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import fluxhive
from fluxhive import config
from fluxhive.cli.fluxhive import ALIASES, VERBS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site") / "pages"
    words = [sys.executable, "scripts/docs_site.py", str(target)]
    subprocess.run(words, cwd=ROOT, check=True, env={"PYTHONPATH": str(ROOT)})
    return target / "docs"


def test_each_verb_and_option_is_described(site: Path) -> None:
    text = (site / "reference/cli.md").read_text()
    assert [verb for verb in VERBS if f"\n### fluxhive {verb}\n" not in text] == []
    assert [alias for alias in ALIASES if f"| `{alias}` |" not in text] == []
    assert "#### fluxhive node drain\n" in text
    assert "| `--gpu-mem SIZE` |" in text
    assert "\x08" not in text


def test_each_route_and_record_is_described(site: Path) -> None:
    text = (site / "reference/rest.md").read_text()
    document = json.loads((ROOT / "docs/reference/openapi.json").read_text())
    for path, methods in document["paths"].items():
        assert all(f"## {method.upper()} {path}\n" in text for method in methods), path
    for name in document["components"]["schemas"]:
        assert f"### {name}\n" in text


def test_each_key_and_public_name_is_described(site: Path) -> None:
    keys = (site / "reference/configuration.md").read_text()
    assert [key.name for key in config.KEYS if f"| `{key.name}` |" not in keys] == []
    names = (site / "reference/python.md").read_text()
    things = [name for name in fluxhive.__all__ if callable(getattr(fluxhive, name))]
    assert [name for name in things if f"`{name}" not in names] == []


def test_the_menu_names_each_page_once(site: Path) -> None:
    menu = (site / "index.md").read_text().partition("```{toctree}")[2].splitlines()
    entries = [line for line in menu if line.startswith("/")]
    pages = {
        f"/{path.relative_to(site.parent).with_suffix('')}" for path in site.parent.rglob("*.md")
    }
    assert set(entries) == pages - {"/docs/index"}
    assert len(entries) == len(set(entries))

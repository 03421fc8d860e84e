"""Gathers the documentation for the site, and writes the reference pages from the code itself.

`python scripts/docs_site.py DIRECTORY` fills DIRECTORY with what Sphinx reads (docs/conf.py): the
pages of this repository as they lie, so that links between them stay right, the files that they
link to, and a page each for the command line, the REST API, the configuration and the client.
`./dev docs` runs it.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import fluxhive
from fluxhive import config
from fluxhive.cli.fluxhive import ALIASES, AS_SBATCH, SECTIONS

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "docs/reference"
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
#: The pages in the order of the site's menu. Guides that are not named follow, then all others.
MENU: dict[str, list[str]] = {
    "Begin": [
        "docs/quickstart",
        "docs/guides/from-slurm",
        "docs/guides/from-tmux",
        "docs/guides/from-a-spreadsheet",
    ],
    "Guides": ["docs/guides/sweeps", "docs/guides/multi-node", "docs/guides/out-of-memory"],
    "Concepts": ["docs/tasks", "docs/concepts/scheduling", "docs/outcomes", "docs/logs"],
    "Reference": [
        f"{REFERENCE}/cli",
        f"{REFERENCE}/rest",
        f"{REFERENCE}/python",
        f"{REFERENCE}/configuration",
        f"{REFERENCE}/environment",
    ],
}
GUIDES = ("docs/guides/", "docs/containers", "docs/service", "docs/backup", "docs/sdk")


def main() -> None:
    """Fills the directory that is named."""
    target = Path(sys.argv[1])
    if target.exists():
        shutil.rmtree(target)
    copy_pages(target)
    reference = target / REFERENCE
    for name, lines in (
        ("cli", command_line()),
        ("rest", rest_api()),
        ("configuration", configuration()),
        ("python", python_client()),
    ):
        (reference / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_menu(target)


def copy_pages(target: Path) -> None:
    """The repository's pages, and every file that one of them links to."""
    pages = [path for path in ROOT.glob("*.md") if path.name != "LICENSE.md"]
    pages += [path for folder in ("docs", "benchmarks") for path in (ROOT / folder).rglob("*.md")]
    pages.append(ROOT / "docs/reference/openapi.json")
    left, seen = list(pages), set(pages)
    while left:
        path = left.pop()
        place = target / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
        if path.suffix != ".md":
            continue
        for link in LINK.findall(path.read_text(encoding="utf-8")):
            linked = (path.parent / link).resolve()
            if linked.is_file() and linked not in seen:
                seen.add(linked)
                left.append(linked)
            elif linked.is_dir() and (linked / "README.md").exists():
                text = place.read_text(encoding="utf-8")
                place.write_text(text.replace(f"]({link})", f"]({link.rstrip('/')}/README.md)"))


def write_menu(target: Path) -> None:
    """The site's menu at the end of its first page; no page is left out of it."""
    names = [path.relative_to(target).with_suffix("") for path in target.rglob("*.md")]
    found = sorted(name.as_posix() for name in names)
    found = [name for name in found if name != "docs/index"]
    for name in found:
        if not any(name in names for names in MENU.values()) and name.startswith(GUIDES):
            MENU["Guides"].append(name)
    named = {name for names in MENU.values() for name in names}
    menu = {**MENU, "Project": [name for name in found if name not in named]}
    with (target / "docs/index.md").open("a", encoding="utf-8") as file:
        for title, names in menu.items():
            entries = [f"/{name}" for name in names if name in found]
            lines = ["", "```{toctree}", ":hidden:", f":caption: {title}", "", *entries, "```", ""]
            file.write("\n".join(lines))


# ── the command line ──────────────────────────────────────────────────────────────────────────


def command_line() -> Iterator[str]:
    """Each verb with its options, from click."""
    yield from ("# Command line", "", "`fluxhive VERB --help` says the same on the terminal.", "")
    for title, verbs in SECTIONS.items():
        yield from (f"## {title}", "")
        for name, verb in verbs.items():
            command = import_module(f"fluxhive.cli.{verb.module}").command
            yield from _command(f"fluxhive {name}", command, "###")
    yield from ("## Words of other tools", "", "| typed | means |", "|---|---|")
    for alias, words in ALIASES.items():
        meant = " ".join(word for word in words if word != AS_SBATCH)
        note = ", with Slurm's own options" if AS_SBATCH in words else ""
        yield f"| `{alias}` | `fluxhive {meant}`{note} |"


def _command(path: str, command: click.Command, marks: str) -> Iterator[str]:
    context = click.Context(command, info_name=path)
    usage = command.collect_usage_pieces(context)
    yield from (f"{marks} {path}", "", "```text", " ".join([path, *usage]), "```", "")
    if command.help:
        yield from (_text(inspect.cleandoc(command.help)), "")
    told = [each.get_help_record(context) for each in command.get_params(context)]
    records = [record for record in told if record is not None]
    if records:
        yield from ("| option | |", "|---|---|")
        yield from (f"| `{_cell(name)}` | {_cell(text)} |" for name, text in records)
        yield ""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _command(f"{path} {name}", inner, marks + "#")


def _text(text: str) -> str:
    """Help as Markdown: what click keeps as it is becomes a block of its own."""
    return "\n\n".join(
        "```text\n" + part[2:].strip("\n") + "\n```" if part.startswith("\b") else part
        for part in text.split("\n\n")
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


# ── the REST API ──────────────────────────────────────────────────────────────────────────────


def rest_api() -> Iterator[str]:
    """Routes and records, from the stored description."""
    document = json.loads((ROOT / "docs/reference/openapi.json").read_text(encoding="utf-8"))
    yield from ("# REST API", "")
    yield from ("The same as [openapi.json](openapi.json). Errors are RFC 9457 problems.", "")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield from _operation(method.upper(), path, operation)
    yield from ("## Records", "")
    for name, schema in document["components"]["schemas"].items():
        yield from (f"### {name}", "", schema.get("description", "").strip(), "")
        if "enum" in schema:
            yield from (", ".join(f"`{value}`" for value in schema["enum"]), "")
        properties = schema.get("properties", {})
        if properties:
            needed = set(schema.get("required", ()))
            yield from ("| member | | |", "|---|---|---|")
            for member, kind in properties.items():
                must = "always there" if member in needed else _default(kind)
                yield f"| `{member}` | {_kind(kind)} | {must} |"
            yield ""


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from (f"## {method} {path}", "", operation.get("description", operation["summary"]), "")
    parameters = [each for each in operation.get("parameters", ()) if "name" in each]
    if parameters:
        yield from ("| parameter | in | |", "|---|---|---|")
        for each in parameters:
            yield f"| `{each['name']}` | {each['in']} | {_cell(each.get('description', ''))} |"
        yield ""
    body = _content(operation.get("requestBody", {}))
    if body:
        yield from (f"Takes {body}.", "")
    for status, answer in operation["responses"].items():
        given = _content(answer)
        if given and status != "default":
            yield from (f"Gives {given} ({status}).", "")


def _content(part: dict[str, Any]) -> str:
    return ", ".join(
        _kind(found["schema"]) if found.get("schema") else f"`{kind}`"
        for kind, found in part.get("content", {}).items()
    )


def _kind(schema: Any) -> str:
    """A schema in a few words."""
    if not isinstance(schema, dict):
        return "anything"  # `items: false`: its members are told one by one
    if "prefixItems" in schema:
        return f"[{', '.join(_kind(each) for each in schema['prefixItems'])}]"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_kind(each) for each in schema[several])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _default(schema: dict[str, Any]) -> str:
    if "default" not in schema:
        return ""
    return f"`{_cell(json.dumps(schema['default']))}` when absent"


# ── configuration and Python ──────────────────────────────────────────────────────────────────


def configuration() -> Iterator[str]:
    """Each key of the configuration file."""
    yield from ("# Configuration", "")
    yield from ("`fluxhive config KEY VALUE` sets one; `fluxhive config` shows what holds.", "")
    yield from ("| key | meaning | default | variable |", "|---|---|---|---|")
    for key in config.KEYS:
        variable = "" if key.variable is None else f"`{key.variable.name}`"
        default = "" if key.default is None else f"`{key.default}`"
        yield f"| `{key.name}` | {_cell(key.meaning)} | {default} | {variable} |"


def python_client() -> Iterator[str]:
    """Each public name of the package with what its docstring says."""
    yield from ("# Python", "", _text(inspect.cleandoc(fluxhive.__doc__ or "")), "")
    for name in sorted(fluxhive.__all__):
        thing = getattr(fluxhive, name)
        if inspect.isclass(thing):
            yield from _described(f"## class `{name}`", thing)
            for member, value in _public(thing):
                yield from _described(f"### `{name}.{member}{_signature(value)}`", value)
        elif callable(thing):
            yield from _described(f"## `{name}{_signature(thing)}`", thing)


def _public(thing: type) -> Iterable[tuple[str, Any]]:
    for member, value in vars(thing).items():
        is_told = callable(value) or isinstance(value, property)
        if is_told and not member.startswith("_") and inspect.getdoc(value):
            yield member, value


def _described(heading: str, thing: Any) -> Iterator[str]:
    yield from (heading, "", "```text", inspect.getdoc(thing) or "", "```", "")


def _signature(thing: Any) -> str:
    if isinstance(thing, property):
        return ""
    try:
        return str(inspect.signature(thing)).replace("self, ", "").replace("(self)", "()")
    except (TypeError, ValueError):
        return "(…)"


if __name__ == "__main__":
    main()

"""The reference names everything that a user can name, and nothing that is not there."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from corpus.lab.__main__ import parser as lab_parser
from corpus.lab.settings import Settings as LabSettings
from corpus.model.deployment import Outcome
from corpus.model.errors import CorpusError, InvalidInput
from corpus.node import kernel_limits
from corpus.node.settings import Settings as NodeSettings
from corpus.project import configuration
from corpus.project.notifications.settings import KEYS
from corpus.project.phases import EXTRA, PHASES
from corpus.project.place import Place, Project
from corpus.project.services import KINDS

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
MODULES = ROOT / "src/corpus/saltext"


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(text: str, column: int = 0) -> set[str]:
    """What the tables name in a column: every word in backquotes."""
    return {word for row in rows(text) for word in re.findall(r"`([^`]+)`", row[column])}


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


# -- a project


def test_settings_of_a_project() -> None:
    text = page("settings")
    assert named(text.partition("\n## ")[0]) == set(configuration.DEFAULTS)
    for setting, default in configuration.DEFAULTS.items():
        if isinstance(default, int | str):
            row = next(row for row in rows(text) if row[0] == f"`{setting}`")
            assert row[1] == f"`{default}`", row


def test_keys_of_a_health_check() -> None:
    with pytest.raises(InvalidInput) as refused:
        configuration._check_health([{"nonsense": 1}], "here")
    known = refused.value.what.rpartition(" with ")[2].split(", ")
    assert named(section(page("settings"), "Health checks")) == set(known)


def test_keys_of_notifications() -> None:
    assert named(section(page("settings"), "Notifications")) == {*KEYS, "url", "secret"}


def test_keys_of_common(tmp_path: Path) -> None:
    place = Place(prefix=tmp_path, etc=tmp_path / "absent", accounts=False)
    common = configuration.make_common(
        Project.at(place, "guestbook"),
        configuration.DEFAULTS,
        deployment="",
        commit="",
        pillar_commit="",
    )
    documented = named(page("common"))
    paths = {f"paths.{name}" for name in (*common.pop("paths"), "dumps")}
    assert documented == {*common, *paths, "paths"}


def test_phases() -> None:
    documented = named(page("phases"))
    assert documented == {*PHASES, *EXTRA}
    order = [word for row in rows(page("phases")) for word in re.findall(r"`(\w+)`", row[0])]
    assert [word for word in order if word in PHASES][: len(PHASES)] == list(PHASES)


def test_kinds_of_units() -> None:
    for kind in KINDS:
        assert f"`{kind}`" in page("phases") or f"*{kind}`" in page("phases"), kind


# -- functions of Salt


def functions(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Public functions with their arguments; ``list_`` is Salt's ``list``."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            surplus = [f"**{node.args.kwarg.arg}"] if node.args.kwarg else []
            named = [argument.arg for argument in node.args.args]
            yield node.name.rstrip("_"), named + surplus


@pytest.mark.parametrize("module", ["mc_project", "corpus_node"])
def test_execution_functions(module: str) -> None:
    text = page(module)
    found = {
        name: arguments
        for path in (MODULES / "modules").glob(f"{module}*.py")
        for name, arguments in functions(path)
    }
    assert set(re.findall(r"^## `(\w+)`$", text, re.MULTILINE)) == set(found)
    for name, arguments in found.items():
        call = re.search(rf"`{name}\(([^)]*)\)`", section(text, f"`{name}`"))
        assert call, name
        given = [part.partition("=")[0].strip() for part in call[1].split(",") if part.strip()]
        assert given == arguments, name


def test_states() -> None:
    found = dict(functions(MODULES / "states/project_venv.py"))
    assert set(found) == {"installed"}
    assert named(page("project_venv")) >= set(found["installed"])


# -- nodes, labs, commands


def test_settings_of_a_node() -> None:
    assert named(page("node-settings")) == {field.name for field in fields(NodeSettings)}


def test_limits_of_the_kernel() -> None:
    section = (DOCS / "how-to/limits.md").read_text().partition("counts for all\n")[2]
    told = dict(row for row in rows(section)[2:])
    raised = {key.replace("/", "."): enough for key, enough in kernel_limits.ENOUGH.items()}
    assert told == {f"`{key}`": str(enough) for key, enough in raised.items()}


def test_settings_of_a_lab() -> None:
    documented = named(section(page("corpus-lab"), "Settings"))
    assert documented == {field.name for field in fields(LabSettings)}


def test_defaults_of_nodes_and_labs() -> None:
    for name, settings in (("node-settings", NodeSettings), ("corpus-lab", LabSettings)):
        for field in fields(settings):
            if field.default in ("", ()) or field.name == "pool_size":
                continue
            row = next(row for row in rows(page(name)) if row[0] == f"`{field.name}`")
            assert f"`{field.default}`" in row, row


def test_commands_of_corpus_lab() -> None:
    text = page("corpus-lab")
    actions = lab_parser()._actions
    commands = next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices
    documented = {word.split()[0] for word in named(text.partition("\n## ")[0])}
    assert documented - {"--json"} == set(commands)
    for command in commands.values():
        for action in command._actions:
            for option in action.option_strings:
                assert option in ("-h", "--help", "--quiet") or f"`{option}`" in text, option


def test_make_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {name.removeprefix("make ") for name in named(page("make"))} == targets


# -- errors


def tree(error: type[CorpusError]) -> Iterator[type[CorpusError]]:
    yield error
    for kind in error.__subclasses__():
        yield from tree(kind)


def test_errors_and_exit_codes() -> None:
    documented = {(row[1], row[0]) for row in rows(page("errors")) if row[0].isdigit()}
    ours = [kind for kind in tree(CorpusError) if kind.__module__.startswith("corpus.")]
    assert documented == {(f"`{kind.__name__}`", str(kind.exit_code)) for kind in ours}


def test_outcomes() -> None:
    documented = {(row[0], row[1]) for row in rows(page("errors")) if len(row) == 3}
    for outcome in Outcome:
        assert (f"`{outcome}`", str(outcome.exit_code)) in documented


# -- links


PAGES = sorted({*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("examples/**/*.md")}, key=str)


def prose(path: Path) -> str:
    """The page without its code."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def links(path: Path) -> list[str]:
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(path))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links(path: Path) -> None:
    for link in links(path):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_reached_from_the_index() -> None:
    reached = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "index.md")}
    assert {path for path in PAGES if DOCS in path.parents} == {*reached, DOCS / "index.md"}

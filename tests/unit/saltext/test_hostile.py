"""Every argument of every function, given what it is not: our error or an answer, nothing else."""

from __future__ import annotations

import importlib
import inspect
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("salt.config")

from salt.exceptions import CommandExecutionError

import corpus.saltext.modules as modules
from corpus.node.environments import making
from corpus.saltext import calls, node_calls
from projects import Scratch
from unit.node import nodes
from unit.node.test_pairing import Guests

HOSTILE: list[Any] = [
    "abc", "", "../x", "a\nb", "/", "-", "none", "x" * 5000, "\0", "\ud800", "١", "%s",
    -1, 0, 10**30, 1.5, math.nan, math.inf, True, False, None,
    [], {}, [None], {"a": None}, {1: 2}, b"x", object(), [[]], ["a\0b"],
]  # fmt: skip
GOOD: dict[str, Any] = {
    "id": nodes.ID, "directory": "/nowhere", "name": "first", "to": "node", "port": 80,
    "host": "one.example", "on": True, "certificate": "/nowhere", "key": "/nowhere",
    "argv": ["true"], "peer": "{}", "staging": nodes.ID, "prod": nodes.OTHER, "project": "demo",
    "wait": 0, "timeout": 1, "task": "it", "confirm": "no", "file": "/nowhere/file",
}  # fmt: skip
OF_A_PROJECT = {"name": "demo"}
# These have no dry run, and would run something: they are asked for what only looks.
LOOKING = {"deploy": {"plan": True}, "promote": {"plan": True}, "doctor": {"mend": False}}


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield every function that Salt is given, with the name of its module."""
    for path in sorted(Path(modules.__path__[0]).glob("*.py")):
        if path.stem == "__init__":
            continue
        module = importlib.import_module(f"corpus.saltext.modules.{path.stem}")
        for name, function in vars(module).items():
            ours = inspect.isfunction(function) and function.__module__ == module.__name__
            if ours and not name.startswith("_"):
                yield f"{module.__virtualname__}.{name}", function


FUNCTIONS = dict(functions())


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A node with a staging and a prod environment that are pretended to run."""
    folder = tmp_path_factory.mktemp("node")
    made, host = nodes.make(folder)
    making.create(made, id=nodes.ID, hosts=["one.example"], wait=0)
    making.create(made, id=nodes.OTHER, platform="prod", wait=0)
    Guests(host)
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    scratch = Scratch(tmp_path_factory.mktemp("environment"))
    scratch.commit({"a": "b"})
    return scratch


@pytest.fixture(autouse=True)
def edge(node: Any, project: Scratch, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Salt puts into the modules. What would run commands of a project answers at once."""
    context: dict[str, Any] = {}
    for path in Path(modules.__path__[0]).glob("*_*.py"):
        module = importlib.import_module(f"corpus.saltext.modules.{path.stem}")
        for name, value in (("__context__", context), ("__opts__", {}), ("__pillar__", {})):
            monkeypatch.setattr(module, name, value, raising=False)
    monkeypatch.setattr(node_calls, "this_node", lambda: node)
    monkeypatch.setattr(calls.Call, "place", project.place)
    for name in ("asked", "planned", "by_hand", "configured"):
        monkeypatch.setattr(calls.Call, name, lambda *_, **__: {"outcome": "live"})
    return context


@pytest.mark.parametrize("name", FUNCTIONS)
def test_hostile_arguments_are_refused_in_our_words(name: str, edge: dict[str, Any]) -> None:
    function = FUNCTIONS[name]
    taken = inspect.signature(function).parameters
    given = GOOD | (OF_A_PROJECT if name.startswith("mc_project.") else {})
    good = {key: given[key] for key, one in taken.items() if key in given}
    good |= {"test": True} if "test" in taken else LOOKING.get(name.partition(".")[2], {})
    wrong = []
    for key, one in taken.items():
        if one.kind is one.VAR_KEYWORD:
            continue
        for value in HOSTILE:
            edge.clear()
            try:
                answer = function(**{**good, key: value})
            except CommandExecutionError as error:
                if edge["retcode"] != error.exit_code or not str(error).strip():
                    wrong.append(f"{key}={value!r:.40}: {error!r}")
            except BaseException as error:
                wrong.append(f"{key}={value!r:.40}: {error!r}"[:300])
            else:
                json.dumps(answer)
    assert wrong == []

"""An id is an environment's or a machine's: whoever makes the other one is told so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import Conflict
from corpus.model.finding import State
from corpus.model.mode import Platform
from corpus.node.context import Node
from corpus.node.doctor import records
from corpus.node.environments import cloning, exporting, importing, making, removal
from corpus.node.migration import checking
from corpus.node.records import Record, dump
from corpus.node.saltify import making as saltify
from corpus.node.saltify.records import Machine, Machines
from unit.node import machines, nodes

ID, OTHER = nodes.ID, nodes.OTHER


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with an environment, of which there is an export, and a machine of another id."""
    made, _ = nodes.make(tmp_path)
    making.create(made, id=OTHER, size="1G", wait=0)
    exporting.export(made, OTHER, tmp_path / "file")
    removal.destroy(made, OTHER)
    making.create(made, id=ID, size="1G", wait=0)
    Machines(made).save(Machine(OTHER, Platform.PROD, "web.example", 22, "root", "", "", ""))
    return made


def arrive(node: Node) -> Any:
    record = node.records.get(ID).changed(id=OTHER)
    asked = {"record": dump(record).decode(), "image": record.image, "kind": "plain", "bytes": 1}
    return checking.check(node, asked, "node2")


MAKE: dict[str, Callable[[Node], Any]] = {
    "create": lambda node: making.create(node, id=OTHER, wait=0),
    "create, test": lambda node: making.create(node, id=OTHER, wait=0, test=True),
    "clone": lambda node: cloning.clone(node, ID, new=OTHER, wait=0),
    "clone, test": lambda node: cloning.changes(node, ID, new=OTHER),
    "import": lambda node: importing.import_(node, node.settings.prefix.parent / "file", wait=0),
    "import, test": lambda node: importing.changes(node, node.settings.prefix.parent / "file"),
    "arrive": arrive,
}


@pytest.mark.parametrize("way", MAKE)
def test_no_environment_is_made_with_the_id_of_a_machine(node: Node, way: str) -> None:
    with pytest.raises(Conflict, match="is the machine web") as caught:
        MAKE[way](node)
    assert "saltify_remove" in str(caught.value)
    assert node.records.find(OTHER) is None
    assert Machines(node).find(OTHER) is not None
    Machines(node).remove(OTHER)
    MAKE[way](node)


@pytest.mark.parametrize("test", [True, False])
def test_no_machine_is_made_with_the_id_of_an_environment(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, test: bool
) -> None:
    machine = machines.Machine(tmp_path / "machine")
    machines.reach(monkeypatch, machine, tmp_path)
    given = {"key": str(tmp_path / "file"), "host_key": machines.HOST_KEY, "image": "/nowhere"}
    with pytest.raises(Conflict, match="is an environment of this node"):
        saltify.prepare(node, "other.example", id=ID, test=test, **given)
    assert machine.calls == []
    assert Machines(node).find(ID) is None


def test_the_doctor_tells_of_one_that_is_both(node: Node) -> None:
    assert list(records.taken(node)) == []
    both: Record = node.records.get(ID)
    Machines(node).save(Machine(both.id, Platform.PROD, "web.example", 22, "root", "", "", ""))
    (found,) = records.taken(node)
    assert (found.state, found.where) == (State.BAD, ID)

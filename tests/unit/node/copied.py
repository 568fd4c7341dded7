"""An environment on a plain pool, whose volumes hold a word, for what copies them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.node.context import Node
from corpus.node.environments import guest, making, snapshots
from unit.node import nodes


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a node with the environment."""
    made, _ = nodes.make(tmp_path)
    making.create(made, id=nodes.ID, hosts=["a.example"], wait=0)
    write(made, "one")
    return made


def write(node: Node, text: str, id: str = nodes.ID) -> None:
    """Have both volumes hold another word."""
    (guest.srv(node.settings, id) / "file").write_text(text)
    (guest.rootfs(node.settings, id) / "file").write_text(text)


def read(node: Node, id: str = nodes.ID) -> str:
    """Return the word, which both volumes must hold."""
    found = {
        (place / "file").read_text()
        for place in (guest.srv(node.settings, id), guest.rootfs(node.settings, id))
    }
    assert len(found) == 1
    return found.pop()


def held(node: Node) -> list[str]:
    """All names in the directory of the snapshots."""
    place = snapshots.folder(node.settings, nodes.ID)
    return sorted(path.name for path in place.iterdir()) if place.exists() else []

"""Imports of files that were damaged, or made by somebody who means ill, are refused at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpus.model.errors import CorpusError, InvalidInput
from corpus.node.context import Node
from corpus.node.environments import importing, removal
from unit.node import nodes
from unit.node.exported import file as file
from unit.node.exported import node as node
from unit.node.exported import rewritten

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices are made by root")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda m: m.update(format=2), "format"),
        (lambda m: m.pop("record"), "damaged"),
        (lambda m: m["record"].update(id="../../x"), "not an environment id"),
        (lambda m: m["record"].update(id=5), "not an environment id"),
        (lambda m: m["record"].update(platform="root"), "damaged"),
        (lambda m: m["record"].update(more=1), "damaged"),
        (lambda m: m["record"].update(routes=[{"host": "-", "port": 80, "hold": 1}]), "host name"),
        (lambda m: m["record"].update(pairs=[{"project": "/", "staging": "x"}]), "project name"),
        (lambda m: m["record"]["limits"].update(size=1), "too small"),
        (lambda m: m["record"]["limits"].update(cpu=[]), "damaged"),
        (lambda m: m["record"]["limits"].update(cpu=10**400), "not a number of CPUs"),
        (lambda m: m["record"].update(ssh_port=-7), "damaged"),
        (lambda m: m["record"].update(order="first"), "damaged"),
        (lambda m: m["record"].update(order=1 << 40), "not an order"),
        (lambda m: m["record"].update(role="king"), "damaged"),
        (lambda m: m["record"].update(role="proxy"), "no host name leads"),
        (
            lambda m: m["record"].update(
                openings=[{"protocol": "tcp", "port": 1, "node_port": 1, "sources": ["x"]}]
            ),
            "not an IPv4 network",
        ),
        (lambda m: m["parts"].pop(), "other parts"),
        (lambda m: m["parts"][0].update(digest="0" * 64), "not what the manifest says"),
        (lambda m: m["parts"][0].update(digest=None), "damaged"),
        (lambda m: m["parts"][0].update(length=5), "longer or shorter"),
        (lambda m: m["parts"][0].update(size=-1), "damaged"),
        (lambda m: m["parts"][1].update(files=1), "more than its manifest"),
        (lambda m: m["parts"][1].update(size=1 << 43), "free"),
        (lambda m: m.update(image="../x"), "damaged"),
        (lambda m: m.update(parts=5), "damaged"),
    ],
)
def test_a_hostile_manifest_is_refused_and_leaves_nothing(
    node: Node, file: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    removal.destroy(node, nodes.ID)
    bad = rewritten(file, change)
    with pytest.raises(CorpusError, match=why):
        importing.import_(node, bad, wait=0)
    assert nodes.left(node) == []
    staged = node.settings.pool / "import"
    assert not staged.exists() or list(staged.iterdir()) == []


@pytest.mark.parametrize("size", [0, 100, 512, 2000, -1100, -4000])
def test_a_file_that_was_cut_off_is_refused_at_once(node: Node, file: Path, size: int) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: size if size >= 0 else len(whole) + size - 1024])
    with pytest.raises(InvalidInput, match=r"not an exported environment|manifest is damaged"):
        importing.changes(node, file, id="new")

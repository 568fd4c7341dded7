"""Other nodes become known and are forgotten, killed at each step: only who is known is let in."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from corpus.node.context import Node
from corpus.node.migration import peers
from corpus.node.migration.peers import Peer
from corpus.saltext.modules import corpus_node_migration
from unit.node import outliving
from unit.node.killing import Trial, die_at_each_step, nothing

OWN, OTHER = (f"ssh-ed25519 {letter * 68}" for letter in "AB")


def wake(folder: Path) -> Node:
    return outliving.keygen(outliving.machine(folder), OWN)


def identity(node: Node) -> None:
    peers.identity(node, "192.0.2.1")


def add(node: Node) -> None:
    peers.add(node, "other", asdict(Peer("other", "192.0.2.2", 22, OTHER, OTHER)))
    corpus_node_migration._follow(node)


def remove(node: Node) -> None:
    peers.remove(node, "other")
    corpus_node_migration._follow(node)


def let_in(node: Node) -> Any:
    """Return who is known, whom root's account lets in, and whether there is a key."""
    return (
        [one.name for one in peers.listed(node)],
        peers.AUTHORIZED.read_text(),
        peers.has_key(node),
    )


OPERATIONS: dict[str, Trial] = {
    "peer_identity": Trial(nothing, identity),
    "peer_add": Trial(nothing, add),
    "peer_remove": Trial(add, remove),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_each_step(
    folder: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(peers, "AUTHORIZED", folder / "root/authorized_keys")
    monkeypatch.setattr(peers, "HOST_KEY", folder / "root/host_key.pub")
    peers.AUTHORIZED.parent.mkdir()
    peers.AUTHORIZED.write_text("ssh-ed25519 AAAA an administrator\n")
    peers.HOST_KEY.write_text(OWN)
    die_at_each_step(folder, scratch, name, replace(OPERATIONS[name], wake=wake, also=let_in))

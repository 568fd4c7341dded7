"""Another node that is known to one, and an environment that moves between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.model.networks import ALL
from corpus.node.context import Node
from corpus.node.environments import making
from corpus.node.migration import peers
from corpus.node.migration.peers import Peer
from corpus.node.records import Move, Opening, Record, dump
from unit.node.nodes import ID, make

HOST_KEY = "ssh-ed25519 " + "A" * 68
KEY = "ssh-ed25519 " + "B" * 68
PEER = Peer("node2", "192.0.2.2", 22, HOST_KEY, KEY)
MOVE = Move("node2", "192.0.2.2", 80, 22001, settled=True)
OPENINGS = (Opening("tcp", 5432, 25000, ("192.0.2.0/24",)), Opening("udp", 53, 25000, (ALL,)))


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    """Return a node whose root's account is a file of the test's."""
    monkeypatch.setattr(peers, "AUTHORIZED", tmp_path / "root/authorized_keys")
    monkeypatch.setattr(peers, "HOST_KEY", tmp_path / "host_key.pub")
    return make(tmp_path)[0]


def made(node: Node, **values: object) -> Record:
    """Return the record of an environment, changed."""
    making.create(node, id=ID, wait=0)
    return node.change(ID, lambda now: now.changed(**values))


def asked(record: Record) -> dict[str, object]:
    """Return what a peer says before it sends an environment."""
    return {"record": dump(record).decode(), "image": "ab" * 32, "kind": "quota", "bytes": 1}

"""What was started at a migration's target does nothing when the source is lost, whatever fails."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from corpus.hosts.fake import Fake
from corpus.model.errors import CommandFailed
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import lifecycle, making, removal
from corpus.node.migration import decisions, frames, health
from corpus.node.migration.arriving import Arrival
from corpus.node.migration.peers import Peer
from corpus.node.records import Record, Stage, dump
from unit.node import nodes

PEER = Peer("node2", "192.0.2.2", 22, "ssh-ed25519 " + "A" * 68, "ssh-ed25519 " + "B" * 68)


@pytest.fixture
def host() -> Fake:
    return Fake()


@pytest.fixture
def node(tmp_path: Path, host: Fake) -> Node:
    return nodes.make(tmp_path, host)[0]


def restless(host: Fake) -> None:
    """Have no guest come to rest, as with a process that waits for a disk that is gone."""

    def freeze(argv: Sequence[str]) -> str:
        raise CommandFailed(argv, None, "it does not come to rest")

    host.answer("lxc-freeze", freeze)


def arrived(node: Node, id: str = nodes.ID, **values: object) -> Record:
    making.create(node, id=id, wait=0)
    given = {"stage": Stage.ARRIVED, "origin": PEER.name, **values}
    return node.change(id, lambda now: now.changed(**given))


def state(node: Node, id: str = nodes.ID) -> str:
    return lifecycle.state(node, node.records.get(id))[0]


def receive(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an environment arrive from a peer that is gone as soon as it runs here."""
    boot.prepare(node)
    making.create(node, id=nodes.ID, wait=0)
    record = dump(node.records.get(nodes.ID)).decode()
    removal.destroy(node, nodes.ID)
    monkeypatch.setattr(health, "_answers", lambda node, record: True)
    (come, there), (back, go) = os.pipe(), os.pipe()
    arrival = Arrival(node, PEER, come, go)
    serving = threading.Thread(target=arrival.serve)
    serving.start()
    with os.fdopen(back, "rb") as answers:
        begin = {"record": record, "image": "ab" * 32, "kind": "plain", "bytes": 1}
        start = {"volumes": [], "run": True, "units": [], "ports": []}
        for do, values in (("begin", begin), ("start", start)):
            os.write(there, frames.request(do, values))
            assert b"error" not in answers.readline()
        assert state(node) == "RUNNING"
        os.close(there)
        serving.join(10)
    os.close(come)
    os.close(go)


def test_it_is_frozen_when_the_source_is_lost(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    receive(node, monkeypatch)
    assert (state(node), node.records.get(nodes.ID).stage) == ("FROZEN", Stage.ARRIVED)


def test_what_does_not_come_to_rest_is_killed_and_starts_where_it_is_decided_to_live(
    node: Node, host: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    restless(host)
    receive(node, monkeypatch)
    assert (state(node), node.records.get(nodes.ID).stage) == ("STOPPED", Stage.ARRIVED)
    decisions.settle(node, PEER, {"id": nodes.ID, "lives": decisions.HERE})
    assert (state(node), node.records.get(nodes.ID).stage) == ("RUNNING", Stage.READY)

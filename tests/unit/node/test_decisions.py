"""Where one lives that was moving: the source decides, and the target does as it was told."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from corpus.model.errors import Conflict, NotFound
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import lifecycle, making, removal
from corpus.node.migration import decisions, guarding, peers, recovery
from corpus.node.network import firewall, ports
from corpus.node.records import Stage
from unit.node.nodes import ID, OTHER, left, rules
from unit.node.peered import MOVE, OPENINGS, PEER, made
from unit.node.peered import node as node


def _stop(node: Node, id: str) -> None:
    record = node.records.get(id)
    lifecycle.halt(node, record)


def test_the_source_says_where_it_lives(node: Node) -> None:
    assert decisions.whose(node, PEER, {"id": ID}) == {"lives": "unknown"}
    made(node)
    assert decisions.whose(node, PEER, {"id": ID}) == {"lives": "here"}
    with decisions.alone(node, ID):
        assert decisions.whose(node, PEER, {"id": ID}) == {"lives": "open"}
    node.change(ID, lambda now: now.changed(stage=Stage.MOVED, move=MOVE))
    assert decisions.whose(node, PEER, {"id": ID}) == {"lives": "there"}
    assert decisions.whose(node, replace(PEER, name="x"), {"id": ID}) == {"lives": "here"}


def test_the_target_does_what_the_source_decided(node: Node) -> None:
    made(node, stage=Stage.ARRIVED, origin="node2")
    other = replace(PEER, name="stranger")
    decisions.settle(node, other, {"id": ID, "lives": "there"})
    assert node.records.get(ID).stage is Stage.ARRIVED
    decisions.settle(node, PEER, {"id": ID, "lives": "here"})
    decisions.settle(node, PEER, {"id": ID, "lives": "here"})
    assert node.records.get(ID).stage is Stage.READY
    decisions.settle(node, PEER, {"id": ID, "lives": "there"})  # it is settled: no peer takes it
    assert node.records.get(ID).stage is Stage.READY
    node.change(ID, lambda now: now.changed(stage=Stage.ARRIVED, origin="node2"))
    decisions.settle(node, PEER, {"id": ID, "lives": "there"})
    assert left(node) == []
    with pytest.raises(Conflict, match="is not here"):
        decisions.settle(node, PEER, {"id": ID, "lives": "here"})


def test_what_was_moving_when_its_mover_died_lives_here(node: Node) -> None:
    record = made(node, stage=Stage.MOVING, move=replace(MOVE, settled=False))
    lifecycle.halt(node, record)
    assert recovery.changes(node, ID)
    assert recovery.recover(node, ID) == "it lives here"
    found = node.records.get(ID)
    assert (found.stage, found.move) == (Stage.READY, None)
    assert lifecycle.state(node, found)[0] == "RUNNING"


def test_what_has_moved_leads_there_and_is_not_made_again(node: Node) -> None:
    made(node, stage=Stage.MOVED, move=MOVE, wanted=False)
    assert recovery.recover(node, ID) == "it lives on node2"
    assert not (node.settings.pool / "env" / ID).exists()
    assert boot.boot(node)[ID] == "it lives on node2"
    with pytest.raises(Conflict, match="lives on the node node2"):
        making.create(node, id=ID, wait=0)
    assert node.records.get(ID).elsewhere == MOVE
    assert removal.destroy(node, ID)
    assert [path for path in left(node) if ID in path] == []


def test_what_does_not_come_back_leads_there_still(node: Node) -> None:
    old = made(node, stage=Stage.MOVED, move=MOVE, wanted=False)
    wanted = making.Wanted(old.platform, old.image, old.limits, origin="node2")
    record = making.allocate(node, ID, wanted)
    assert (record.address, record.slot, record.ssh_port) == (old.address, old.slot, old.ssh_port)
    assert record.elsewhere == MOVE
    removal.remove(node, record)
    found = node.records.get(ID)
    assert (found.stage, found.elsewhere) == (Stage.MOVED, MOVE)


def test_until_the_target_knows_requests_wait(node: Node) -> None:
    record = made(node, stage=Stage.MOVED, move=replace(MOVE, settled=False))
    assert record.held
    assert record.elsewhere is None
    with pytest.raises(NotFound, match="no node is known"):
        recovery.recover(node, ID)
    assert node.records.get(ID).held


def test_what_a_peer_leads_here_comes_to_what_came_from_there_and_to_nobody_else(
    node: Node,
) -> None:
    peers.add(node, "node2", asdict(PEER))
    record = made(node, stage=Stage.ARRIVED, origin="node2", openings=OPENINGS)
    making.create(node, id=OTHER, wait=0)
    ports.open_(node, OTHER, 5432, to=["10.0.0.0/8"], node_port=25001)
    decisions.settle(node, PEER, {"id": ID, "lives": "here"})
    led = f"192.0.2.2 . 25000 : {record.address} . 5432"
    assert led in rules(node)
    assert "192.0.2.2 . 25001" not in rules(node)
    same = {"to": ["192.0.2.0/24"], "node_port": 25000}
    assert ports.open_(node, ID, 5432, test=True, **same)["changes"] == []
    ports.open_(node, ID, 5432, **same)
    assert led in rules(node)
    ports.close(node, ID, 5432)
    ports.open_(node, OTHER, 5433, to=["10.0.0.0/8"], node_port=25000)  # led there by node2 still
    assert "192.0.2.2 . 25000 : " not in rules(node).partition("map peers_udp4")[0]
    peers.remove(node, "node2")
    firewall.apply(node)
    assert "192.0.2.2" not in rules(node)


@pytest.mark.parametrize(("state", "settle"), [("FROZEN", lifecycle.freeze), ("STOPPED", _stop)])
def test_what_is_settled_is_as_people_want_it_whatever_a_peer_says(
    node: Node, state: str, settle: Callable[[Node, str], object]
) -> None:
    made(node)
    settle(node, ID)
    decisions.settle(node, PEER, {"id": ID, "lives": "here"})
    assert lifecycle.state(node, node.records.get(ID))[0] == state


def test_what_was_settled_half_way_is_settled_by_whoever_comes(node: Node) -> None:
    record = made(node, origin="node2", openings=OPENINGS)
    for settle in (
        lambda: decisions.settle(node, PEER, {"id": ID, "lives": "here"}),
        lambda: recovery.recover(node, ID),
        lambda: boot.boot(node),
        lambda: guarding.guarded(node, PEER, lambda: os.kill(os.getpid(), signal.SIGKILL), ()),
    ):
        node.change(ID, lambda now: now.changed(origin="node2"))
        lifecycle.hold_still(node, record)
        assert recovery.changes(node, ID) == [f"have {record.name} live here"]
        settle()
        assert lifecycle.state(node, record)[0] == "RUNNING"
        assert node.records.get(ID).origin == ""
        assert recovery.changes(node, ID) == []

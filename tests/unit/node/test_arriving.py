"""What arrives from another node is checked as what is made here: names, ports, room, image."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound
from corpus.model.networks import ALL
from corpus.node.context import Node
from corpus.node.environments import making, removal
from corpus.node.migration import checking
from corpus.node.network import ports
from corpus.node.records import Opening, Pair, Stage
from unit.node.nodes import ID, OTHER
from unit.node.peered import MOVE, OPENINGS, asked, made
from unit.node.peered import node as node


def test_what_arrives_is_checked_as_what_is_made(node: Node) -> None:
    record = made(node)
    with pytest.raises(Conflict, match="is here"):
        checking.check(node, asked(record), "node2")
    removal.destroy(node, ID)
    assert checking.check(node, asked(record), "node2") == {"method": "rsync"}
    with pytest.raises(InvalidInput, match="larger than the whole pool"):
        checking.check(
            node, asked(replace(record, limits=replace(record.limits, size=1 << 50))), "node2"
        )
    with pytest.raises(Conflict, match="are free"):
        checking.check(node, {**asked(record), "bytes": 1 << 50}, "node2")
    with pytest.raises(NotFound, match="no image"):
        checking.check(node, {**asked(record), "image": "cd" * 32}, "node2")
    with pytest.raises(InvalidInput):
        checking.check(node, asked(replace(record, pairs=(Pair("shop", OTHER),))), "node2")
    with pytest.raises(CorpusError):
        checking.check(node, {"record": "{}"}, "node2")


def test_a_name_that_leads_elsewhere_here_does_not_arrive(node: Node) -> None:
    record = made(node)
    removal.destroy(node, ID)
    making.create(node, id=OTHER, hosts=["shop.example"], wait=0)
    taken = node.records.get(OTHER).routes
    with pytest.raises(Conflict, match=r"shop\.example leads to"):
        checking.check(node, asked(replace(record, routes=taken)), "node2")


def test_open_ports_arrive_where_they_are_free(node: Node) -> None:
    record = made(node, openings=OPENINGS)
    removal.destroy(node, ID)
    assert checking.wanted(node, asked(record), "node2")[1].openings == OPENINGS
    checking.check(node, asked(record), "node2")
    making.create(node, id=OTHER, wait=0)
    ports.open_(node, OTHER, 5432, node_port=25000)
    with pytest.raises(Conflict, match=f"the tcp port 25000 is taken by environment {OTHER}"):
        checking.check(node, asked(record), "node2")
    checking.check(node, asked(replace(record, openings=OPENINGS[1:])), "node2")


@pytest.mark.parametrize(
    "wrong",
    [
        Opening("icmp", 1, 25000, (ALL,)),
        Opening("tcp", 1, 0, (ALL,)),
        Opening("tcp", 1, 25000, ("0.0.0.0/0 : 10.0.0.1 }",)),
        Opening("tcp", 1, 25000, ()),
    ],
)
def test_an_open_port_that_is_none_is_refused(node: Node, wrong: Opening) -> None:
    record = made(node)
    removal.destroy(node, ID)
    with pytest.raises(CorpusError, match=r"not a port|not an open port|not an IPv4"):
        checking.check(node, asked(replace(record, openings=(wrong,))), "node2")
    twice = (OPENINGS[0], replace(OPENINGS[0], port=1))
    with pytest.raises(InvalidInput, match="twice"):
        checking.check(node, asked(replace(record, openings=twice)), "node2")


def test_what_a_peer_sends_anew_lives_there(node: Node) -> None:
    record = made(node, stage=Stage.ARRIVED, origin="node2")
    again = asked(replace(record, stage=Stage.READY, origin=""))
    assert checking.check(node, again, "node2") == {"method": "rsync"}
    with pytest.raises(Conflict, match="is here"):
        checking.check(node, again, "stranger")


def test_what_has_moved_comes_back_from_where_it_went_alone(node: Node) -> None:
    record = made(node, stage=Stage.MOVED, move=MOVE)
    again = asked(replace(record, stage=Stage.READY, move=None))
    assert checking.check(node, again, "node2") == {"method": "rsync"}
    with pytest.raises(Conflict, match="has moved from here to node2, and not to stranger") as told:
        checking.check(node, again, "stranger")
    assert f"corpus_node.destroy {ID}" in str(told.value.mend)

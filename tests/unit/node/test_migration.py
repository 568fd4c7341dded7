"""Migration: peers, the line between nodes, who decides, what is refused."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from corpus.model.errors import Conflict, CorpusError, InvalidInput, Lost, NotFound
from corpus.model.networks import ALL
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import lifecycle, making, removal
from corpus.node.migration import checking, decisions, frames, leaving, peers, recovery
from corpus.node.migration.frames import Reader
from corpus.node.migration.peers import Peer
from corpus.node.network import firewall, ports
from corpus.node.proxy import routes as proxied
from corpus.node.records import Move, Opening, Pair, Record, Route, Stage, dump
from unit.node.nodes import ID, OTHER, left, make

HOST_KEY = "ssh-ed25519 " + "A" * 68
KEY = "ssh-ed25519 " + "B" * 68
PEER = Peer("node2", "192.0.2.2", 22, HOST_KEY, KEY)
MOVE = Move("node2", "192.0.2.2", 80, 22001, settled=True)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setattr(peers, "AUTHORIZED", tmp_path / "root/authorized_keys")
    monkeypatch.setattr(peers, "HOST_KEY", tmp_path / "host_key.pub")
    return make(tmp_path)[0]


def made(node: Node, **values: object) -> Record:
    """Return the record of an environment, changed."""
    making.create(node, id=ID, wait=0)
    return node.change(ID, lambda now: now.changed(**values))


# -- peers


def test_a_peer_is_known_and_its_key_may_receive_alone(node: Node) -> None:
    peers.AUTHORIZED.parent.mkdir()
    peers.AUTHORIZED.write_text("ssh-ed25519 AAAA me@home\n")
    assert peers.add(node, "other", asdict(PEER)).name == "other"
    peers.add(node, "other", json.dumps(asdict(PEER)))
    mine, line = peers.AUTHORIZED.read_text().splitlines()
    assert mine == "ssh-ed25519 AAAA me@home"
    assert line.startswith('restrict,command="')
    assert f'-m corpus.node receive other" {KEY} ' in line
    assert peers.AUTHORIZED.stat().st_mode & 0o777 == 0o600
    assert [peer.name for peer in peers.listed(node)] == ["other"]
    assert peers.remove(node, "other")
    assert not peers.remove(node, "other")
    assert peers.AUTHORIZED.read_text() == "ssh-ed25519 AAAA me@home\n"
    with pytest.raises(NotFound, match="no node is known as other"):
        peers.find(node, "other")


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "nowhere"},
        {"port": 0},
        {"key": "ssh-rsa AAAA"},
        {"key": KEY + '\ncommand="sh" ssh-ed25519 ' + "C" * 68 + "!"},
        {"host_key": ""},
        {"name": "../x"},
        {"more": 1},
    ],
)
def test_a_peer_that_is_none_is_refused(node: Node, wrong: dict[str, object]) -> None:
    given = {**asdict(PEER), **wrong}
    if str(given["key"]).startswith(KEY + "\n"):  # what follows the key is left out
        assert peers.parse(given).key == KEY
        return
    with pytest.raises(InvalidInput):
        peers.add(node, str(given["name"]), given)
    assert not peers.AUTHORIZED.exists()


def test_a_node_is_no_peer_of_itself_and_no_node_is_two(node: Node) -> None:
    peers.add(node, "one", asdict(PEER))
    with pytest.raises(InvalidInput, match="known as one"):
        peers.add(node, "two", asdict(PEER))
    peers.HOST_KEY.write_text(f"{HOST_KEY} root@here\n")
    with pytest.raises(InvalidInput, match="peer of itself"):
        peers.add(node, "one", asdict(PEER))


# -- the line


def test_frames_come_as_they_were_sent_and_signs_of_life_are_none() -> None:
    source, target = os.pipe()
    lost = threading.Event()
    reader = Reader(source, lost.set)
    for part in (
        frames.request("begin", {"a": 1}),
        frames.frame(frames.ALIVE),
        frames.frame(frames.DATA, b"one"),
        frames.frame(frames.ALIVE),
        frames.frame(frames.DATA, b"two"),
        frames.frame(frames.END),
    ):
        os.write(target, part)
    assert reader.asked() == {"do": "begin", "a": 1}
    assert list(reader.stream()) == [b"one", b"two"]
    assert not lost.is_set()
    os.close(target)
    with pytest.raises(Lost):
        reader.next()
    assert lost.wait(5)
    os.close(source)


def test_who_is_silent_for_too_long_is_lost() -> None:
    source, target = os.pipe()
    reader = Reader(source, lambda: None, lease=0.05)
    with pytest.raises(Lost):
        reader.asked()
    for handle in (source, target):
        os.close(handle)


@pytest.mark.parametrize("part", [frames.frame(frames.JSON, b"[]"), frames.frame(frames.DATA, b"")])
def test_nonsense_is_no_request(part: bytes) -> None:
    source, target = os.pipe()
    reader = Reader(source, lambda: None)
    os.write(target, part)
    with pytest.raises(CorpusError, match="not a request"):
        reader.asked()
    os.close(target)


# -- what moves


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"pairs": (Pair("shop", OTHER),)}, "paired"),
        (
            {"routes": (Route("a.example", 80), Route("b.example", 80, proxy_protocol=True))},
            "PROXY protocol and without",
        ),
        ({"stage": Stage.MOVED, "move": MOVE}, "lives on the node node2"),
        ({"stage": Stage.MOVING, "move": MOVE}, "left half-way"),
    ],
)
def test_what_cannot_move_is_told(node: Node, values: dict[str, object], why: str) -> None:
    made(node, **values)
    with pytest.raises(Conflict, match=why):
        leaving.fit(node, ID, keep=False)


def asked(record: Record) -> dict[str, object]:
    return {"record": dump(record).decode(), "image": "ab" * 32, "kind": "quota", "bytes": 1}


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


OPENINGS = (Opening("tcp", 5432, 25000, ("192.0.2.0/24",)), Opening("udp", 53, 25000, (ALL,)))


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
    with pytest.raises(InvalidInput):
        checking.check(node, asked(replace(record, openings=(wrong,))), "node2")
    twice = (OPENINGS[0], replace(OPENINGS[0], port=1))
    with pytest.raises(InvalidInput, match="twice"):
        checking.check(node, asked(replace(record, openings=twice)), "node2")


def rules(node: Node) -> tuple[str, str]:
    """Return what leads to guests here, and what holds them or leads to other nodes."""
    own, _, rest = firewall.ruleset(node).partition("chain prerouting")
    return own, rest.partition("-front")[2]


def test_an_open_port_is_led_where_the_environment_lives(node: Node) -> None:
    record = made(node, openings=OPENINGS)
    led_here = f"25000 . 192.0.2.0/24 : {record.address} . 5432"
    led_there = "25000 . 192.0.2.0/24 : 192.0.2.2 . 25000"
    held = f"{{ {record.address} }} ct state new drop"
    assert led_here in rules(node)[0]
    unsettled = replace(MOVE, settled=False)
    for stage, move, where in (
        (Stage.MOVING, unsettled, "held"),
        (Stage.MOVED, unsettled, "held"),
        (Stage.MOVED, MOVE, "there"),
        (Stage.ARRIVED, MOVE, "held there"),
        (Stage.ARRIVED, None, "held"),
        (Stage.CREATING, None, "held"),
    ):
        node.change(ID, lambda now, s=stage, m=move: now.changed(stage=s, move=m, origin="node2"))
        here, there = rules(node)
        assert (held in there) == ("held" in where), stage
        assert (led_there in there) == ("there" in where), stage
        assert (led_here in here) == (where == "held"), stage  # else it would be refused
        assert (f"{record.ssh_port} : {record.address} . 22" in here) == ("held" in where), stage
    node.change(ID, lambda now: now.changed(stage=Stage.CREATING, move=None, origin=""))
    assert held not in rules(node)[1]  # one that is made here


def test_a_route_by_the_proxy_protocol_is_led_to_the_peers_port(node: Node) -> None:
    routes = (Route("a.example", 80), Route("b.example", 8000, proxy_protocol=True))
    record = made(node, routes=routes, stage=Stage.MOVED, move=MOVE)
    led = f"{record.address} . 80 : 192.0.2.2 . 80, {record.address} . 8000 : 192.0.2.2 . 8403"
    assert led in rules(node)[1]


@pytest.mark.parametrize("stage", [Stage.MOVING, Stage.MOVED])
def test_what_leaves_is_changed_where_it_lives(node: Node, stage: Stage) -> None:
    made(node, stage=stage, move=MOVE, openings=OPENINGS, routes=(Route("a.example"),))
    for change in (
        lambda: ports.open_(node, ID, 1),
        lambda: proxied.route(node, ID, Route("b.example")),
        lambda: proxied.maintenance(node, ID, True),
    ):
        with pytest.raises(Conflict, match="the node node2"):
            change()
    if stage is Stage.MOVING:
        with pytest.raises(Conflict, match="moves to the node node2"):
            ports.close(node, ID, 5432)
        return
    assert ports.close(node, ID, 5432)
    assert proxied.unroute(node, "a.example")


# -- who decides


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


def test_what_a_peer_sends_anew_lives_there(node: Node) -> None:
    record = made(node, stage=Stage.ARRIVED, origin="node2")
    again = asked(replace(record, stage=Stage.READY, origin=""))
    assert checking.check(node, again, "node2") == {"method": "rsync"}
    with pytest.raises(Conflict, match="is here"):
        checking.check(node, again, "stranger")

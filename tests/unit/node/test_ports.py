"""Ports that are opened: what is asked, what is taken, what the rules then say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.model.errors import Conflict, CorpusError, InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.environments import listing, making, removal
from corpus.node.network import addresses, ports
from corpus.node.records import Stage, dump, of
from unit.node import nodes
from unit.node.nodes import host_of, rules

LISTENING = 'LISTEN 0 128 0.0.0.0:5432 0.0.0.0:* users:(("postgres",pid=1,fd=3))\n'


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made, host = nodes.make(tmp_path)
    making.create(made, id=nodes.ID, wait=0)
    making.create(made, id=nodes.OTHER, wait=0)
    host.answer("ss --no-header --listening --tcp", LISTENING)
    host.calls.clear()
    return made


def test_a_port_is_opened_for_all_by_default(node: Node) -> None:
    made = ports.open_(node, nodes.ID, 5432)
    assert made == {
        "id": nodes.ID, "protocol": "tcp", "port": 5432, "node_port": 23000, "to": ["0.0.0.0/0"],
    }  # fmt: skip
    assert "23000 . 0.0.0.0/0 : 10.88.0.10 . 5432" in rules(node)
    assert "23000 : 10.88.0.10 . 5432" in rules(node)
    assert [one["node_port"] for one in listing.inspect(node, nodes.ID)["ports"]] == [23000]


def test_networks_that_overlap_become_one(node: Node) -> None:
    to = ["10.1.0.0/16", "10.0.0.0/8", "192.0.2.7"]
    made = ports.open_(node, nodes.ID, 53, protocol="udp", to=to)
    assert made["to"] == ["10.0.0.0/8", "192.0.2.7/32"]
    assert "23000 . 10.0.0.0/8 : 10.88.0.10 . 53, 23000 . 192.0.2.7/32" in rules(node)


def test_opening_again_replaces_the_networks_and_keeps_the_port(node: Node) -> None:
    first = ports.open_(node, nodes.ID, 5432, node_port=2345)
    again = ports.open_(node, nodes.ID, "5432", to=["192.0.2.0/24"])
    assert (first["node_port"], again["node_port"]) == (2345, 2345)
    assert ports.ports(node) == [again]
    moved = ports.open_(node, nodes.ID, 5432, node_port=2346)
    assert ports.ports(node) == [moved]
    assert "2345" not in rules(node)


def test_each_protocol_has_its_own_ports(node: Node) -> None:
    ports.open_(node, nodes.ID, 53)
    ports.open_(node, nodes.OTHER, 53, protocol="udp")
    assert [(one["protocol"], one["node_port"]) for one in ports.ports(node)] == [
        ("tcp", 23000),
        ("udp", 23000),
    ]
    assert ports.open_(node, nodes.OTHER, 53)["node_port"] == 23001
    assert len(ports.ports(node, nodes.OTHER)) == 2


@pytest.mark.parametrize(
    ("asked", "whom"),
    [(22001, "environment"), (22050, "SSH of environments to come"), (80, "the proxy"),
     (443, "the proxy"), (8402, "answers to certificate authorities"),
     (5432, "postgres, which listens"), (7000, "environment")],
)  # fmt: skip
def test_a_port_that_is_taken_is_refused(node: Node, asked: int, whom: str) -> None:
    ports.open_(node, nodes.OTHER, 1, node_port=7000)
    with pytest.raises(Conflict, match=f"port {asked} is taken by {whom}"):
        ports.open_(node, nodes.ID, 5432, node_port=asked)
    assert ports.ports(node, nodes.ID) == []


def test_no_environment_gets_an_ssh_port_that_was_opened(node: Node) -> None:
    ports.open_(node, nodes.ID, 5432, node_port=4000)
    with pytest.raises(Conflict, match="4000 is taken by environment"):
        addresses.free_port(node, node.records.all(), 4000)


def test_when_none_is_left_it_is_said(tmp_path: Path) -> None:
    node, _ = nodes.make(tmp_path, open_ports=1)
    making.create(node, id=nodes.ID, wait=0)
    ports.open_(node, nodes.ID, 1)
    with pytest.raises(Conflict, match="all 1 tcp ports from 23000"):
        ports.open_(node, nodes.ID, 2)


@pytest.mark.parametrize(
    "given",
    [{"port": 0}, {"port": "x"}, {"port": True}, {"port": 65536}, {"protocol": "icmp"},
     {"to": []}, {"to": ["::/0"]}, {"to": ["10.0.0.1/8"]}, {"to": ["all; accept"]},
     {"node_port": -1}],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(node: Node, given: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        ports.open_(node, nodes.ID, **{"port": 5432, **given})  # type: ignore[arg-type]
    assert host_of(node).calls == []


def test_close_takes_it_back_once(node: Node) -> None:
    ports.open_(node, nodes.ID, 5432)
    assert ports.close(node, nodes.ID, 5432, protocol="udp") is False
    assert ports.close(node, nodes.ID, 5432) is True
    assert ports.close(node, nodes.ID, 5432) is False
    assert "23000" not in rules(node)


def test_a_close_that_died_before_the_rules_ends_right_the_next_time(node: Node) -> None:
    ports.open_(node, nodes.ID, 5432)
    node.records.save(node.records.get(nodes.ID).changed(openings=()))
    assert "23000" in rules(node)
    assert ports.close(node, nodes.ID, 5432) is False
    assert "23000" not in rules(node)


def test_a_dry_run_checks_and_changes_nothing(node: Node) -> None:
    said = ports.open_(node, nodes.ID, 5432, to=["192.0.2.0/24"], test=True)
    assert said == {
        "test": True,
        "changes": [
            "open tcp port 23000 of the node, to port 5432 of staging-11111111 for 192.0.2.0/24"
        ],
    }
    with pytest.raises(Conflict):
        ports.open_(node, nodes.ID, 5432, node_port=80, test=True)
    assert ports.close(node, nodes.ID, 5432, test=True) == {"test": True, "changes": []}
    ports.open_(node, nodes.ID, 5432)
    assert ports.open_(node, nodes.ID, 5432, test=True)["changes"] == []
    assert ports.close(node, nodes.ID, 5432, test=True) == {
        "test": True,
        "changes": ["close tcp port 23000 of the node, to port 5432 of staging-11111111"],
    }
    assert len(ports.ports(node)) == 1


def test_rules_that_do_not_load_leave_everything_as_it_was(node: Node) -> None:
    host_of(node).prepare_failure("nft", err="it broke")
    with pytest.raises(CorpusError, match="it broke"):
        ports.open_(node, nodes.ID, 5432)
    assert ports.ports(node) == []
    assert "5432" not in rules(node)


def test_what_goes_takes_its_ports_along(node: Node) -> None:
    ports.open_(node, nodes.ID, 5432)
    record = node.records.get(nodes.ID)
    assert of(json.loads(dump(record))) == record
    node.records.save(record.changed(stage=Stage.DESTROYING))
    with pytest.raises(NotFound):
        ports.open_(node, nodes.ID, 5433)
    assert "22001 : 10.88.0.10 . 22" in rules(node)
    removal.destroy(node, nodes.ID)
    assert "23000" not in rules(node)
    assert "10.88.0.10" not in rules(node)


def test_the_router_and_closed_networks_are_closed_but_for_names(tmp_path: Path) -> None:
    node, host = nodes.make(
        tmp_path,
        nameservers=("192.168.1.1", "2001:db8::53"),
        closed_networks=("192.168.0.0/16", "192.168.7.0/24"),
        open_networks=("192.168.7.7",),
    )
    way_out = '[{"dst": "default", "gateway": "192.0.2.1", "dev": "e0"}]'
    host.answer("ip -4 -json", lambda argv: way_out if "route" in argv else "[]")
    making.create(node, id=nodes.ID, wait=0)
    text = rules(node)
    assert "elements = { 169.254.0.0/16, 192.0.2.1/32, 192.168.0.0/16 }" in text
    assert "elements = { 192.168.7.7/32 }" in text
    assert "elements = { 192.168.1.1 }" in text
    assert text.index("@nameservers4 accept") < text.index("@closed4 drop")
    assert text.index("@reachable4 accept") < text.index("@closed4 drop")

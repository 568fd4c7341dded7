"""What leaves for another node: whether it can, where its ports lead, and who may change it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from corpus.model.errors import Conflict
from corpus.node.context import Node
from corpus.node.migration import leaving
from corpus.node.network import firewall, ports
from corpus.node.proxy import routes as proxied
from corpus.node.records import Pair, Route, Stage
from unit.node.nodes import ID, OTHER
from unit.node.peered import MOVE, OPENINGS, made
from unit.node.peered import node as node


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

"""A front that is away is told and had back; one that is none any more keeps no keys."""

from __future__ import annotations

from corpus.hosts.fake import Fake
from corpus.node import boot
from corpus.node.context import Node
from corpus.node.environments import making
from corpus.node.proxy import front, replica
from unit.node import nodes
from unit.node.doctored import found
from unit.node.doctored import made as made
from unit.node.nodes import THIRD


def test_a_front_that_is_away_or_not_watched_is_told_and_had_back(made: tuple[Node, Fake]) -> None:
    node, host = made
    making.create(node, id=THIRD, role="proxy", wait=0)
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, THIRD)
    assert found(node) == []
    replica.pass_over(node, THIRD, "it does not answer")
    assert [one["what"] for one in found(node)] == [
        "the node's own proxy has its ports: it does not answer"
    ]
    assert all(one["mended"] for one in found(node, mend=True))
    assert found(node) == []
    del host.files[f"{nodes.INSIDE}/etc/corpus/proxy/hosts.map"]
    assert [one["check"] for one in found(node, mend=True)] == ["front"]
    assert found(node) == []
    host.prepare_failure("corpus-front.service")
    assert [one["where"] for one in found(node)] == ["corpus-front.service"]


def test_keys_where_the_front_is_no_more_are_told_and_removed(made: tuple[Node, Fake]) -> None:
    node, host = made
    making.create(node, id=THIRD, role="proxy", wait=0)
    host.answer("lxc-attach", lambda argv: nodes.attached(host, argv))
    front.move(node, THIRD)
    node.change(THIRD, lambda now: now.changed(front=False))  # killed in the middle of a move
    boot.prepare(node)
    assert [one["what"] for one in found(node)] == [
        "it is the front no more, and may have the sites' keys"
    ]
    assert all(one["mended"] for one in found(node, mend=True))
    assert found(node) == []

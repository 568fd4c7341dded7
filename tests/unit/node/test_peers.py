"""Other nodes: who is known, and that the key of one may receive and do nothing else."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from corpus.model.errors import InvalidInput, NotFound
from corpus.node.context import Node
from corpus.node.migration import peers
from unit.node.peered import HOST_KEY, KEY, PEER
from unit.node.peered import node as node


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
        {"host_key": ""},
        {"name": "../x"},
        {"more": 1},
    ],
)
def test_a_peer_that_is_none_is_refused(node: Node, wrong: dict[str, object]) -> None:
    given = {**asdict(PEER), **wrong}
    with pytest.raises(InvalidInput):
        peers.add(node, str(given["name"]), given)
    assert not peers.AUTHORIZED.exists()


def test_what_follows_a_peers_key_is_left_out() -> None:
    more = KEY + '\ncommand="sh" ssh-ed25519 ' + "C" * 68 + "!"
    assert peers.parse({**asdict(PEER), "key": more}).key == KEY


def test_a_node_is_no_peer_of_itself_and_no_node_is_two(node: Node) -> None:
    peers.add(node, "one", asdict(PEER))
    with pytest.raises(InvalidInput, match="known as one"):
        peers.add(node, "two", asdict(PEER))
    peers.HOST_KEY.write_text(f"{HOST_KEY} root@here\n")
    with pytest.raises(InvalidInput, match="peer of itself"):
        peers.add(node, "one", asdict(PEER))

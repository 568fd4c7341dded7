"""Execution functions of a compute node: nodes that it knows, environments that move there."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from corpus.node.context import Node
from corpus.node.migration import leaving, peers, recovery
from corpus.node.network import firewall
from corpus.node.proxy import replica, service
from corpus.saltext.edge import Patience, Port, edge, planned
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__func_alias__ = {"peers_": "peers"}
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def peer_identity(
    address: str | None = None, port: Port = 22, test: bool = False
) -> dict[str, Any]:
    """Return what ``peer_add`` takes on another node; nothing in it is secret.

    CLI Example: ``salt-call --local corpus_node.peer_identity --out=json``
    """
    node = node_of(__opts__)
    if test:
        return planned([] if peers.has_key(node) else ["make the node's migration key"])
    return asdict(peers.identity(node, address, port))


@edge
def peer_add(name: str, peer: dict[str, Any] | str, test: bool = False) -> dict[str, Any]:
    """Know another node, which may send environments here and receive some.

    CLI Example: ``salt-call --local corpus_node.peer_add node2 peer='{"name": …}'``
    """
    node = node_of(__opts__)
    if test:
        found = peers.check(node, name, peer)
        return planned([] if found in peers.listed(node) else [f"know the node {found.name}"])
    found = peers.add(node, name, peer)
    _follow(node)
    return asdict(found)


@edge
def peers_() -> list[dict[str, Any]]:
    """Return the nodes that this one knows.

    CLI Example: ``salt-call --local corpus_node.peers``
    """
    return [asdict(peer) for peer in peers.listed(node_of(__opts__))]


@edge
def peer_remove(name: str, test: bool = False) -> bool | dict[str, Any]:
    """Forget another node; False when it was not known.

    CLI Example: ``salt-call --local corpus_node.peer_remove node2``
    """
    node = node_of(__opts__)
    if test:
        known = name in [peer.name for peer in peers.listed(node)]
        return planned([f"forget the node {name}"] if known else [])
    known = peers.remove(node, name)
    _follow(node)
    return known


@edge
def migrate(
    id: str, to: str, keep: bool = False, timeout: Patience = 30, test: bool = False
) -> dict[str, Any]:
    """Move a running environment to the node that is known as ``to``; its requests wait shortly.

    CLI Example: ``salt-call --local corpus_node.migrate ID node2``
    """
    node = node_of(__opts__)
    if test:
        return planned(leaving.plan(node, id, to, keep=keep))
    return leaving.migrate(node, id, to, keep=keep, timeout=timeout, say=_say)


@edge
def migration_recover(id: str, take: bool = False, test: bool = False) -> str | dict[str, Any]:
    """End a migration that was left half-way; tell where the environment lives.

    CLI Example: ``salt-call --local corpus_node.migration_recover ID``
    """
    node = node_of(__opts__)
    if test:
        return planned(recovery.changes(node, id, take=take))
    return recovery.recover(node, id, take=take)


def _follow(node: Node) -> None:
    """Have firewall and front know what is led here by other nodes, and whose word counts."""
    with replica.following(node):
        firewall.apply(node)
        service.apply(node)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

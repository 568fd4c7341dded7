"""Execution functions of a compute node: where host names lead, who may fetch from whom."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from corpus.node import pairing
from corpus.node.proxy import routes
from corpus.saltext.node_calls import edge, node_of

__virtualname__ = "corpus_node"
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def route(id: str, host: str, port: int = 80, hold: int = 60) -> dict[str, Any]:
    """Lead a host name to an environment; requests are held up to ``hold`` seconds.

    CLI Example: ``salt-call --local corpus_node.route ID guestbook.localhost port=8000``
    """
    return asdict(routes.route(node_of(__opts__), id, host, port, hold))


@edge
def unroute(host: str) -> bool:
    """Lead a host name nowhere; False when it led nowhere already.

    CLI Example: ``salt-call --local corpus_node.unroute guestbook.localhost``
    """
    return routes.unroute(node_of(__opts__), host)


@edge
def pair(staging: str, prod: str, project: str) -> dict[str, Any]:
    """Let a prod environment fetch the releases of a project from a staging one.

    Both are of this node and run, and the project is initialised in both.

    CLI Example: ``salt-call --local corpus_node.pair STAGING PROD guestbook``
    """
    return pairing.pair(node_of(__opts__), staging, prod, project)


@edge
def unpair(staging: str, prod: str, project: str) -> bool:
    """Take back what ``pair`` did; False when there was nothing.

    CLI Example: ``salt-call --local corpus_node.unpair STAGING PROD guestbook``
    """
    return pairing.unpair(node_of(__opts__), staging, prod, project)

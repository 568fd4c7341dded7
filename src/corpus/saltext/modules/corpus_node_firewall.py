"""Execution functions of a compute node: which ports of the node lead to environments."""

from __future__ import annotations

from typing import Any

from corpus.node.network import ports as _ports
from corpus.saltext.edge import Port, edge, words
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__func_alias__ = {"open_": "open"}
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def open_(
    id: str,
    port: Port,
    protocol: str = "tcp",
    to: str | list[str] = "all",
    node_port: Port | None = None,
    test: bool = False,
) -> dict[str, Any]:
    """Lead a port of the node to a port of an environment, for the networks ``to``.

    CLI Example: ``salt-call --local corpus_node.open ID 5432 to=192.0.2.0/24``
    """
    return _ports.open_(
        node_of(__opts__), id, port, protocol=protocol, to=words(to), node_port=node_port, test=test
    )


@edge
def close(id: str, port: Port, protocol: str = "tcp", test: bool = False) -> bool | dict[str, Any]:
    """Take back what ``open`` did; False when that port was not open.

    CLI Example: ``salt-call --local corpus_node.close ID 5432``
    """
    return _ports.close(node_of(__opts__), id, port, protocol=protocol, test=test)


@edge
def ports(id: str | None = None) -> list[dict[str, Any]]:
    """Return the opened ports of one environment, or of all.

    CLI Example: ``salt-call --local corpus_node.ports``
    """
    return _ports.ports(node_of(__opts__), id)

"""Execution functions of a compute node: who may fetch from whom."""

from __future__ import annotations

from typing import Any

from corpus.node import pairing
from corpus.saltext.edge import edge, planned
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def pair(staging: str, prod: str, project: str, test: bool = False) -> dict[str, Any]:
    """Let a prod environment fetch the releases of a project from a staging one.

    Both are of this node and run, and the project is initialised in both.

    CLI Example: ``salt-call --local corpus_node.pair STAGING PROD guestbook``
    """
    return pairing.pair(node_of(__opts__), staging, prod, project, test=test)


@edge
def unpair(staging: str, prod: str, project: str, test: bool = False) -> bool | dict[str, Any]:
    """Take back what ``pair`` did; False when there was nothing.

    CLI Example: ``salt-call --local corpus_node.unpair STAGING PROD guestbook``
    """
    changes = pairing.unpair(node_of(__opts__), staging, prod, project, test=test)
    return planned(changes) if test else bool(changes)

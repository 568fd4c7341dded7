"""Execution functions of a compute node: the pool that environments lie in."""

from __future__ import annotations

from typing import Any

from corpus.node.storage import growth, health
from corpus.saltext.edge import edge
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def pool_health() -> dict[str, Any]:
    """Return errors, the last scrub, room for data and metadata, and what is shared.

    CLI Example: ``salt-call --local corpus_node.pool_health``
    """
    return health.health(node_of(__opts__))


@edge
def pool_grow(size: str | int | None = None, test: bool = False) -> dict[str, Any]:
    """Let a pool in a file grow to ``size``, one on a device to all of that, while it is used.

    CLI Example: ``salt-call --local corpus_node.pool_grow 50G``
    """
    return growth.grow(node_of(__opts__), size, test=test)


@edge
def pool_scrub(test: bool = False) -> dict[str, Any]:
    """Begin to read and verify all that the pool holds; ``pool_health`` tells how it goes.

    CLI Example: ``salt-call --local corpus_node.pool_scrub``
    """
    return health.scrub(node_of(__opts__), test=test)

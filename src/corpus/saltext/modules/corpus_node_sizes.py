"""Execution functions of a compute node: how large environments and their projects may be."""

from __future__ import annotations

from typing import Any

from corpus.node.environments import limiting, listing, room
from corpus.node.environments.room import Resized
from corpus.node.storage import usage as _usage
from corpus.node.storage import weights
from corpus.saltext.edge import edge
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def usage(id: str | None = None) -> list[dict[str, Any]]:
    """Return what an environment uses, or each of them: image, system, projects, what is shared.

    CLI Example: ``salt-call --local corpus_node.usage ID``
    """
    return _usage.usage(node_of(__opts__), id)


@edge
def weigh(id: str | None = None) -> list[dict[str, Any]]:
    """Walk an environment's files, or those of each, where nothing accounts them; as ``usage``.

    A timer of the node's does it too; this waits for it.

    CLI Example: ``salt-call --local corpus_node.weigh ID``
    """
    node = node_of(__opts__)
    weights.weigh(node, id)
    return _usage.usage(node, id)


@edge
def limit(
    id: str,
    size: str | int | None = None,
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | str | None = None,
    size_limit: str | int | None = None,
    test: bool = False,
) -> dict[str, Any]:
    """Change limits of an environment while it runs; what is left out stays, ``none`` is no limit.

    CLI Example: ``salt-call --local corpus_node.limit ID memory=1G cpu=none``
    """
    done = limiting.limit(
        node_of(__opts__),
        id,
        size=size,
        memory=memory,
        cpu=cpu,
        pids=pids,
        size_limit=size_limit,
        test=test,
    )
    return _told(done, test)


@edge
def enlarge(
    id: str, size: str | int | None = None, project: str = "", test: bool = False
) -> dict[str, Any]:
    """Raise the size of an environment, or of a project in it, to ``size``, by default by 5G.

    Refused past its ``size_limit``, and when the pool would be left with too little.

    CLI Example: ``salt-call --local corpus_node.enlarge ID size=20G``
    """
    return _told(room.enlarge(node_of(__opts__), id, size, project, test=test), test)


@edge
def trim(
    id: str, size: str | int | None = None, project: str = "", test: bool = False
) -> dict[str, Any]:
    """Lower the size of an environment, or of a project in it, to ``size``, by default by 5G.

    Refused below what is used; the error tells the figures and what could be pruned.

    CLI Example: ``salt-call --local corpus_node.trim ID size=4G``
    """
    return _told(room.trim(node_of(__opts__), id, size, project, test=test), test)


@edge
def project_limit(
    id: str,
    project: str,
    size: str | int | None = None,
    size_limit: str | int | None = None,
    test: bool = False,
) -> dict[str, Any]:
    """Give a project in an environment a size of its own; ``none`` takes it away.

    ``size_limit``: what a deployment may raise it to; by default what the environment may grow to.

    CLI Example: ``salt-call --local corpus_node.project_limit ID guestbook size=2G``
    """
    done = room.allot(node_of(__opts__), id, project, size, size_limit, test=test)
    return _told(done, test)


def _told(done: Resized, test: bool) -> dict[str, Any]:
    if test:
        return {"test": True, "changes": done.changes}
    return listing.inspect(node_of(__opts__), done.record.id)

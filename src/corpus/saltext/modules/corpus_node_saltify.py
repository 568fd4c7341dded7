"""Execution functions of a compute node: machines without a container as environments."""

from __future__ import annotations

from typing import Any

from corpus.node.saltify import making, removing
from corpus.node.saltify.records import Machines
from corpus.saltext.edge import Port, edge, planned, words
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def saltify_key(test: bool = False) -> str | dict[str, Any]:
    """Return the public key that this node reaches machines with; made at the first call.

    CLI Example: ``salt-call --local corpus_node.saltify_key``
    """
    node = node_of(__opts__)
    if test:
        return planned([] if Machines(node).key.exists() else ["make the key of the node"])
    return making.own_key(node)


@edge
def saltify_prepare(
    host: str,
    port: Port = 22,
    user: str = "root",
    key: str | None = None,
    platform: str = "prod",
    id: str | None = None,
    keys: str | list[str] | None = None,
    host_key: str | None = None,
    accept_new: bool = False,
    image: str | None = None,
    test: bool = False,
) -> dict[str, Any]:
    """Make an existing Debian 12 machine an environment, over SSH, or complete it.

    CLI Example: ``salt-call --local corpus_node.saltify_prepare web.example.org
    image=/srv/images/environment host_key='ssh-ed25519 AAAA…'``
    """
    return making.prepare(
        node_of(__opts__),
        host,
        port=port,
        user=user,
        key=key,
        platform=platform,
        id=id,
        keys=words(keys),
        host_key=host_key,
        accept_new=accept_new,
        image=image,
        test=test,
    )


@edge
def saltify_check(
    id: str, mend: bool = False, image: str | None = None, test: bool = False
) -> dict[str, Any]:
    """Return how a machine differs from what was put there; put it right with ``mend``.

    CLI Example: ``salt-call --local corpus_node.saltify_check ID mend=True``
    """
    return making.check(node_of(__opts__), id, mend=mend, image=image, test=test)


@edge
def saltify_list() -> list[dict[str, Any]]:
    """Return the machines that are environments, the oldest first; none of them is asked.

    CLI Example: ``salt-call --local corpus_node.saltify_list``
    """
    return [making.describe(machine) for machine in Machines(node_of(__opts__)).all()]


@edge
def saltify_remove(
    id: str, data: bool = False, forget: bool = False, test: bool = False
) -> dict[str, Any]:
    """Take away from a machine what was put there; its projects only with ``data``.

    CLI Example: ``salt-call --local corpus_node.saltify_remove ID data=True``
    """
    return removing.remove(node_of(__opts__), id, data=data, forget=forget, test=test)

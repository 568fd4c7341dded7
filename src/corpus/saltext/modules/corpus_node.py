"""Execution functions of a compute node; the work is done by ``corpus.node``.

Every function returns plain values. Its other functions, under the same name for Salt, are in
the modules beside this one: ``corpus_node_*``.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from corpus.node import boot as _boot
from corpus.node import foreseen
from corpus.node.environments import listing, making, removal
from corpus.node.storage import images
from corpus.saltext.edge import Port, Wait, edge, pairs, planned, words
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__func_alias__ = {"list_": "list"}
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``."""
    return __virtualname__


@edge
def prepare(test: bool = False) -> dict[str, Any]:
    """Make this machine a node: pool, bridge, firewall, proxy. May be called again.

    CLI Example: ``salt-call --local corpus_node.prepare``
    """
    node = node_of(__opts__)
    return planned(foreseen.prepare(node)) if test else _boot.prepare(node)


@edge
def facts() -> dict[str, Any]:
    """Return what the node has and can do: pool, quotas, network.

    CLI Example: ``salt-call --local corpus_node.facts``
    """
    return _boot.facts(node_of(__opts__))


@edge
def boot(test: bool = False) -> dict[str, Any]:
    """Rebuild everything from the records and start what is wanted.

    CLI Example: ``salt-call --local corpus_node.boot``
    """
    node = node_of(__opts__)
    return planned(foreseen.boot(node)) if test else {**_boot.boot(node)}


@edge
def image_import(directory: str, test: bool = False) -> dict[str, Any]:
    """Bring the image in ``directory`` (manifest and layers) into the pool.

    CLI Example: ``salt-call --local corpus_node.image_import /var/cache/corpus/images/x``
    """
    image, changes = images.import_image(node_of(__opts__), Path(directory), test=test)
    return planned(changes) if test else {**asdict(image), "id": image.id}


@edge
def image_list() -> list[dict[str, Any]]:
    """Return the images in the pool, the oldest first.

    CLI Example: ``salt-call --local corpus_node.image_list``
    """
    return [{**asdict(image), "id": image.id} for image in images.listed(node_of(__opts__))]


@edge
def create(
    id: str | None = None,
    platform: str = "staging",
    size: str | int = "5G",
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | str | None = None,
    size_limit: str | int | None = None,
    image: str | None = None,
    hosts: str | list[str] | None = None,
    keys: str | list[str] | None = None,
    address: str | None = None,
    ssh_port: Port | None = None,
    share: str | dict[str, Any] | None = None,
    role: str = "projects",
    wait: Wait = 10.0,
    test: bool = False,
) -> dict[str, Any]:
    """Make and start an environment; with the ``id`` of one that is there, start that.

    ``hosts``: host names led to its port 80. ``keys``: SSH public keys of its root. ``wait``:
    seconds for its SSH server to answer, 0 not to wait. ``share``: directories of this machine
    that are project directories of a ``dev`` environment, as ``demo=/home/ann/demo``.
    ``role``: ``proxy`` for one that can be the node's front.

    CLI Example: ``salt-call --local corpus_node.create platform=staging size=5G memory=512M``
    """
    return making.create(
        node_of(__opts__),
        id=id,
        platform=platform,
        size=size,
        memory=memory,
        cpu=cpu,
        pids=pids,
        size_limit=size_limit,
        image=image,
        hosts=words(hosts),
        keys=words(keys),
        address=address,
        ssh_port=ssh_port,
        share=pairs(share),
        role=role,
        wait=wait,
        test=test,
    )


@edge
def list_() -> list[dict[str, Any]]:
    """Return all environments of the node, the oldest first.

    CLI Example: ``salt-call --local corpus_node.list``
    """
    return listing.listed(node_of(__opts__))


@edge
def inspect(id: str) -> dict[str, Any]:
    """Return one environment: state, address, SSH port, limits, use, routes.

    CLI Example: ``salt-call --local corpus_node.inspect ID``
    """
    return listing.inspect(node_of(__opts__), id)


@edge
def destroy(id: str, test: bool = False) -> bool | dict[str, Any]:
    """Remove an environment with all its data; False when there is none.

    CLI Example: ``salt-call --local corpus_node.destroy ID``
    """
    changes = removal.destroy(node_of(__opts__), id, test=test)
    return planned(changes) if test else bool(changes)

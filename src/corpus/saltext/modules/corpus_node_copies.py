"""Execution functions of a compute node: copies of whole environments."""

from __future__ import annotations

import sys
from typing import Any

from corpus.node.environments import cloning, exporting, importing, listing
from corpus.node.environments import snapshots as shots
from corpus.saltext.edge import Patience, Port, Wait, edge, planned, words
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__func_alias__ = {"import_": "import"}
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def snapshot(id: str, name: str, freeze: bool = True, test: bool = False) -> dict[str, Any]:
    """Make a snapshot of a whole environment, frozen for the instant unless ``freeze=False``.

    CLI Example: ``salt-call --local corpus_node.snapshot ID before-upgrade``
    """
    node = node_of(__opts__)
    if test:
        return planned(shots.plan_take(node, id, name, freeze=freeze))
    return shots.take(node, id, name, freeze=freeze)


@edge
def snapshots(id: str) -> list[dict[str, Any]]:
    """Return the snapshots of an environment, the oldest first.

    CLI Example: ``salt-call --local corpus_node.snapshots ID``
    """
    return shots.listed(node_of(__opts__), id)


@edge
def restore(id: str, name: str, timeout: Patience = 30, test: bool = False) -> dict[str, Any]:
    """Put an environment back to a snapshot; what was is the snapshot ``before-restore``.

    CLI Example: ``salt-call --local corpus_node.restore ID before-upgrade``
    """
    node = node_of(__opts__)
    if test:
        return planned(shots.plan_restore(node, id, name))
    return listing.inspect(node, shots.restore(node, id, name, timeout).id)


@edge
def snapshot_delete(id: str, name: str, test: bool = False) -> bool | dict[str, Any]:
    """Remove a snapshot; False when there is none of that name.

    CLI Example: ``salt-call --local corpus_node.snapshot_delete ID before-upgrade``
    """
    node = node_of(__opts__)
    if test:
        return planned(shots.plan_delete(node, id, name))
    return shots.delete(node, id, name)


@edge
def clone(
    id: str,
    new: str | None = None,
    platform: str | None = None,
    size: str | int | None = None,
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | str | None = None,
    hosts: str | list[str] | None = None,
    keys: str | list[str] | None = None,
    address: str | None = None,
    ssh_port: Port | None = None,
    freeze: bool = True,
    start: bool = True,
    wait: Wait = 10.0,
    test: bool = False,
) -> dict[str, Any]:
    """Make a copy of an environment to try things on, with an id (``new``) of its own.

    Limits and type are the original's unless given; of a ``prod`` one the copy may be
    ``staging``. It has no routes but ``hosts``, no pairs, and no key that speaks for the original.

    CLI Example: ``salt-call --local corpus_node.clone ID platform=staging``
    """
    node = node_of(__opts__)
    given = {
        "platform": platform,
        "size": size,
        "memory": memory,
        "cpu": cpu,
        "pids": pids,
        "hosts": words(hosts),
        "address": address,
        "ssh_port": ssh_port,
    }
    public = words(keys)
    if test:
        return planned(
            cloning.changes(node, id, new=new, keys=public, freeze=freeze, start=start, **given)
        )
    return cloning.clone(
        node, id, new=new, keys=public, freeze=freeze, start=start, wait=wait, **given
    )


@edge
def export(id: str, file: str, freeze: bool = True, test: bool = False) -> dict[str, Any]:
    """Write an environment, which may run, to a new file on this node.

    CLI Example: ``salt-call --local corpus_node.export ID /var/backups/shop.tar``
    """
    node = node_of(__opts__)
    if test:
        return planned(exporting.changes(node, id, file, freeze=freeze))
    return exporting.export(node, id, file, freeze=freeze, say=_say)


@edge
def import_(
    file: str,
    id: str | None = None,
    platform: str | None = None,
    size: str | int | None = None,
    hosts: str | list[str] | None = None,
    keys: str | list[str] | None = None,
    digest: str | None = None,
    start: bool = True,
    wait: Wait = 10.0,
    test: bool = False,
) -> dict[str, Any]:
    """Make an environment from an exported file: the same one, or with another ``id`` a copy.

    CLI Example: ``salt-call --local corpus_node.import /var/backups/shop.tar id=new``
    """
    node = node_of(__opts__)
    given = {
        "id": id,
        "platform": platform,
        "size": size,
        "hosts": None if hosts is None else words(hosts),
        "digest": digest,
    }
    if test:
        return planned(importing.changes(node, file, **given))
    return importing.import_(
        node, file, keys=words(keys), start=start, wait=wait, say=_say, **given
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

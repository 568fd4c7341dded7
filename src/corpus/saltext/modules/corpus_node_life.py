"""Execution functions of a compute node: environments start, rest, stop, and are entered."""

from __future__ import annotations

from typing import Any

from corpus.node.environments import lifecycle, listing, plans, snapshots, traffic
from corpus.saltext.edge import Lasting, Patience, edge, planned
from corpus.saltext.node_calls import node_of

__virtualname__ = "corpus_node"
__func_alias__ = {"exec_": "exec"}
__context__: dict[str, Any]
__opts__: dict[str, Any]


def __virtual__() -> str:
    """Load under the name ``corpus_node``, beside the module of that name."""
    return __virtualname__


@edge
def start(id: str, test: bool = False) -> dict[str, Any]:
    """Start an environment, now and at every boot; a frozen one goes on.

    CLI Example: ``salt-call --local corpus_node.start ID``
    """
    node = node_of(__opts__)
    if test:
        return planned(plans.start(node, id))
    snapshots.settle(node, id)
    return listing.inspect(node, lifecycle.start(node, id).id)


@edge
def stop(id: str, timeout: Patience = 30, test: bool = False) -> dict[str, Any]:
    """Stop an environment, also across boots; killed after ``timeout`` seconds.

    CLI Example: ``salt-call --local corpus_node.stop ID``
    """
    node = node_of(__opts__)
    if test:
        return planned(plans.stop(node, id))
    return listing.inspect(node, lifecycle.stop(node, id, timeout).id)


@edge
def restart(id: str, timeout: Patience = 30, test: bool = False) -> dict[str, Any]:
    """Stop an environment, killed after ``timeout`` seconds, and start it.

    CLI Example: ``salt-call --local corpus_node.restart ID``
    """
    node = node_of(__opts__)
    if test:
        return planned(plans.restart(node, id))
    return listing.inspect(node, traffic.restart(node, id, timeout).id)


@edge
def freeze(id: str, test: bool = False) -> dict[str, Any]:
    """Halt every process of an environment where it is, until ``thaw``.

    CLI Example: ``salt-call --local corpus_node.freeze ID``
    """
    node = node_of(__opts__)
    if test:
        return planned(plans.freeze(node, id))
    return listing.inspect(node, lifecycle.freeze(node, id).id)


@edge
def thaw(id: str, test: bool = False) -> dict[str, Any]:
    """Let a frozen environment go on.

    CLI Example: ``salt-call --local corpus_node.thaw ID``
    """
    node = node_of(__opts__)
    if test:
        return planned(plans.thaw(node, id))
    return listing.inspect(node, lifecycle.thaw(node, id).id)


@edge
def autostart(
    id: str, on: bool | None = None, order: int | None = None, test: bool = False
) -> dict[str, Any]:
    """Say whether an environment starts at boot, and in which order; what is left out stays.

    CLI Example: ``salt-call --local corpus_node.autostart ID on=True order=10``
    """
    node = node_of(__opts__)
    if test:
        return planned(plans.autostart(node, id, on, order))
    return listing.inspect(node, lifecycle.autostart(node, id, on=on, order=order).id)


@edge
def rename(id: str, name: str) -> None:
    """Refused: an environment's name is made of its type and its id. The error says what to do.

    CLI Example: ``salt-call --local corpus_node.rename ID shop``
    """
    lifecycle.rename(node_of(__opts__), id, name)


@edge
def exec_(
    id: str,
    argv: list[str],
    stdin: str | None = None,
    user: str | None = None,
    timeout: Lasting | None = None,
) -> dict[str, Any]:
    """Run a command (a list of words) inside an environment; its code is the return code.

    CLI Example: ``salt-call --local corpus_node.exec ID '["systemctl", "--failed"]'``
    """
    result = lifecycle.execute(node_of(__opts__), id, argv, stdin=stdin, user=user, timeout=timeout)
    __context__["retcode"] = result.code
    return {"code": result.code, "out": result.out, "err": result.err}

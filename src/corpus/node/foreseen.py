"""What ``prepare`` and ``boot`` would change: what the doctor finds of what they put right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from corpus.model.finding import Finding, State
from corpus.node import boot as starting
from corpus.node.context import Node
from corpus.node.doctor import network, proxy, records
from corpus.node.environments import plans
from corpus.node.storage import ground, kinds

_PREPARED: tuple[Callable[[Node], Iterable[Finding]], ...] = (
    records.user_ids, network.bridge, network.firewall, proxy.files, proxy.serving,
)  # fmt: skip


def prepare(node: Node) -> list[str]:
    """Tell what ``prepare`` would change. Raises Unsupported, Conflict as it."""
    starting.check_kernel(os.uname().release)
    choice, settings = kinds.chosen(node), node.settings
    if settings.images.is_dir():
        return _said(node, _PREPARED)
    ground.check(node, choice.kind)
    return [
        f"make the pool of kind {choice.kind}: {choice.why}",
        *_said(node, (records.user_ids,)),
        f"make the bridge {settings.bridge} with {settings.gateway}/{settings.network.prefixlen}",
        f"load the firewall, tables {settings.bridge}",
        f"start the proxy at the ports {settings.http_port} and {settings.https_port}",
    ]


def boot(node: Node) -> list[str]:
    """Tell what ``boot`` would change."""
    changes = prepare(node) + _said(node, (records.half_way,))
    for record in node.records.all():
        if starting.starts(node, record):
            changes += plans.awake(node, record)
    return changes


def _said(node: Node, looks: Iterable[Callable[[Node], Iterable[Finding]]]) -> list[str]:
    found = [one for look in looks for one in look(node) if one.state is not State.OK]
    return [f"{one.where}: {one.what}; {one.mend}" for one in found]

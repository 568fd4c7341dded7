"""Run every check, and mend what may be mended, in an order in which one helps the next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from corpus.model.finding import Finding, asked
from corpus.node.context import Node
from corpus.node.doctor import guests, leftovers, network, proxy, records, storage

CHECKS: dict[str, Callable[[Node], Iterable[Finding]]] = {
    "records": records.readable,
    "half_way": records.half_way,
    "taken": records.taken,
    "pairs": records.pairs,
    "peers": records.authorised,
    "user_ids": records.user_ids,
    "storage": storage.kind,
    "pool": storage.pool_health,
    "places": storage.places,
    "images": storage.images,
    "quota_groups": storage.groups,
    "sizes": storage.sizes,
    "loop_devices": storage.loop_devices,
    "mounts": storage.stale_mounts,
    "bridge": network.bridge,
    "firewall": network.firewall,
    "interfaces": network.interfaces,
    "proxy": proxy.files,
    "proxy_service": proxy.serving,
    "front": proxy.environment,
    "certificates": proxy.certificates,
    "control_groups": guests.orphans,
    "containers": guests.containers,
    "configuration": guests.configuration,
    "shares": guests.shared,
    "sockets": guests.listening,
    "running": guests.running,
    "frozen": guests.frozen,
    "limits": guests.limited,
    "copies": leftovers.copies,
    "temporary": leftovers.temporary,
    "certificate_folders": leftovers.certificates,
    "locks": leftovers.locks,
}
"""The checks by their names, in the order in which they are mended."""


def examine(node: Node, *, mend: bool = False) -> list[dict[str, Any]]:
    """Return what is found. ``mend``: what can be mended safely is, each before the next check.

    Nothing of an environment that has a record is removed, but of one that a crash left
    half-way; a place whose record is lost is told of and left.
    """
    found = []
    for check, look in CHECKS.items():
        for finding in list(asked(check, partial(look, node))):
            found.append((finding.mended_now() if mend else finding).as_dict())
    return found

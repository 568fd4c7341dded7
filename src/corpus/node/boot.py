"""What a node does when it starts, when it stops, and once before its first environment."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from corpus.model.errors import CorpusError, Unsupported
from corpus.node.certificates import store
from corpus.node.context import Node
from corpus.node.environments import guest, lifecycle, making
from corpus.node.network import bridge, firewall
from corpus.node.proxy import front, service
from corpus.node.records import Stage
from corpus.node.storage import pool

_IDMAPPED_BTRFS = (5, 15)


def prepare(node: Node) -> dict[str, Any]:
    """Make the machine a node: pool, user ids, bridge, firewall, proxy. May be called again.

    Raises Unsupported, which names what is missing and what to do without it.
    """
    check_kernel(os.uname().release)
    settings = node.settings
    for folder in (settings.prefix, settings.records, settings.lxcpath, settings.locks):
        folder.mkdir(parents=True, exist_ok=True)
    settings.records.chmod(0o700)
    _subordinate_ids(node)
    with node.lock():
        pool.prepare(node)
        bridge.prepare(node)
        lifecycle.prepare(node)
        firewall.apply(node)
        store.prepare(node)
        service.start(node)
        service.apply(node)  # where the front was moved to, too
    return facts(node)


def check_kernel(release: str) -> None:
    """Raise Unsupported when btrfs has no idmapped mounts on the kernel ``release``."""
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if numbers < _IDMAPPED_BTRFS:
        raise Unsupported(
            f"this kernel ({release}) has no idmapped mounts on btrfs",
            mend="boot a kernel of 5.15 or later; there is no fallback: environments are "
            "unprivileged and share their image's files",
        )


def _subordinate_ids(node: Node) -> None:
    # newuidmap(1) of package uidmap lets LXC use these ranges only when they are written down.
    settings = node.settings
    line = f"root:{settings.idmap_base}:{settings.idmap_slots * guest.IDS}"
    for name in ("/etc/subuid", "/etc/subgid"):
        try:
            text = node.host.get(Path(name)).decode()
        except CorpusError:
            text = ""
        if line not in text.splitlines():
            node.host.put(Path(name), (text + line + "\n").encode())


def boot(node: Node) -> dict[str, str]:
    """Rebuild everything from the records; return what became of each environment.

    One that does not start does not keep the others from starting.
    """
    prepare(node)
    outcome = {id: f"failed: {problem}" for id, problem in node.records.damaged().items()}
    for record in node.records.all():
        try:
            if record.stage is not Stage.READY:
                making.destroy(node, record.id)
                outcome[record.id] = f"removed, it was left {record.stage}"
            elif record.wanted:
                lifecycle.start(node, record.id)
                outcome[record.id] = "started"
            else:
                outcome[record.id] = "stopped, as it was"
        except (CorpusError, OSError) as error:
            outcome[record.id] = f"failed: {error}"
    return outcome


def halt(node: Node, timeout: int = 20) -> None:
    """Stop all guests together before the machine goes down; which are wanted stays."""
    with ThreadPoolExecutor(max_workers=8) as workers:
        list(workers.map(lambda record: lifecycle.halt(node, record, timeout), node.records.all()))


def facts(node: Node) -> dict[str, Any]:
    """Return what the node is and has, as plain values; sizes in bytes."""
    settings = node.settings
    found = pool.support(node)
    size, free = pool.volumes(node).space()
    return {
        "kernel": os.uname().release,
        "prefix": str(settings.prefix),
        "storage": found.storage,
        "storage_why": found.why,
        "quota": found.quota,
        "quota_why": found.quota_why,
        "pool_size": size,
        "pool_free": free,
        "bridge": settings.bridge,
        "subnet": settings.subnet,
        "gateway": str(settings.gateway),
        "http_port": settings.http_port,
        "https_port": settings.https_port,
        "ssh_ports": [settings.ssh_base + 1, settings.ssh_base + settings.ssh_ports - 1],
        "front": front.front(node),
        "environments": len(node.records.all()),
        "damaged": node.records.damaged(),
    }

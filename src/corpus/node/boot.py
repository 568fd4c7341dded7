"""What a node does when it starts, when it stops, and once before its first environment."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from corpus.hosts.files import sweep
from corpus.model.errors import Conflict, CorpusError, Unsupported
from corpus.node import kernel_limits
from corpus.node.context import Node
from corpus.node.environments import exporting, guest, lifecycle, removal, snapshots
from corpus.node.migration import recovery
from corpus.node.network import bridge, firewall
from corpus.node.proxy import front, replica, service
from corpus.node.records import Record, Stage
from corpus.node.storage import claiming, pool, weights

_IDMAPPED_BTRFS = (5, 15)
_AT_ONCE = 4  # guests that start at the same time


def prepare(node: Node) -> dict[str, Any]:
    """Make the machine a node: pool, user ids, bridge, firewall, proxy. May be called again.

    Raises Unsupported, which names what is missing and what to do without it.
    """
    _prepare_ground(node)
    _prepare_front(node)
    return facts(node)


def _prepare_ground(node: Node) -> None:
    """Have ready what no environment starts without."""
    check_kernel(os.uname().release)
    settings = node.settings
    for folder in (settings.prefix, settings.records, settings.lxcpath, settings.locks):
        folder.mkdir(parents=True, exist_ok=True)
    settings.records.chmod(0o700)
    grant_ids(node)
    with node.lock():
        pool.prepare(node)
        claiming.claim(node)
        kernel_limits.raise_limits(node)
        bridge.prepare(node)
        lifecycle.prepare(node)
        firewall.apply(node)


def _prepare_front(node: Node) -> None:
    with node.lock():
        service.start(node)
    if replica.active(node):
        replica.follow(node)
        replica.watch(node)


def check_kernel(release: str) -> None:
    """Raise Unsupported when btrfs has no idmapped mounts on the kernel ``release``."""
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2])
    if numbers < _IDMAPPED_BTRFS:
        raise Unsupported(
            f"this kernel ({release}) has no idmapped mounts on btrfs",
            mend="boot a kernel of 5.15 or later; there is no fallback: environments are "
            "unprivileged and share their image's files",
        )


def grant_ids(node: Node) -> None:
    """Write down the user ids of environments, where they are not.

    newuidmap(1) of package uidmap lets LXC use these ranges only then.
    """
    for path, text in ungranted(node).items():
        node.host.put(path, text.encode())


def ungranted(node: Node) -> dict[Path, str]:
    """Return the files that lack the ranges of user ids, with the text that they must have."""
    settings = node.settings
    line = f"root:{settings.idmap_base}:{settings.idmap_slots * guest.IDS}"
    found = {}
    for path in (Path("/etc/subuid"), Path("/etc/subgid")):
        try:
            text = node.host.get(path).decode()
        except CorpusError:
            text = ""
        if line not in text.splitlines():
            found[path] = f"{text}{line}\n"
    return found


def boot(node: Node) -> dict[str, str]:
    """Rebuild everything from the records; return what became of each environment.

    Those of a lower order are started first, those of the same one together, a few at a time.
    One that does not start does not keep the others from starting, nor does the front, which is
    told of by that name when it fails.
    """
    _prepare_ground(node)
    with node.lock():  # within which all records are written
        sweep(node.settings.records)
    outcome = {id: f"failed: {problem}" for id, problem in node.records.damaged().items()}
    try:
        _prepare_front(node)
    except (CorpusError, OSError) as error:
        outcome["front"] = f"failed: {error}"
    records = sorted(node.records.all(), key=lambda record: record.order)  # else the oldest first
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as workers:
        for _, equals in groupby(records, key=lambda record: record.order):
            alike = list(equals)
            said = workers.map(lambda record: _boot(node, record), alike)
            outcome |= {record.id: what for record, what in zip(alike, said, strict=True)}
    return outcome


def _boot(node: Node, record: Record) -> str:
    """Do with one environment what its record says; tell what became of it."""
    try:
        if record.half_made:
            left = removal.sweep(node, record.id)
            return (
                f"removed, it was left {left}" if left else "made or removed by somebody just now"
            )
        if record.stage in (Stage.MOVING, Stage.MOVED, Stage.ARRIVED):
            return recovery.recover(node, record.id)
        _attach(node, record)
        if record.stage is Stage.RESTORING:
            snapshots.settle(node, record.id)
            return "put back to a snapshot, which was left half-way"
        snapshots.tidy(node, record.id)
        exporting.tidy(node, record)
        if recovery.left(node, record.id):
            with suppress(Conflict):  # it moves just now
                recovery.recover(node, record.id)
        if not record.wanted:
            return "stopped, as it was"
        if not starts(node, record):
            node.change(record.id, lambda now: now.changed(wanted=False))
            return "stopped, its autostart is off"
        lifecycle.start(node, record.id)
        return "started"
    except Exception as error:  # whatever it is: what a guest did must not keep the others down
        return f"failed: {str(error) or type(error).__name__}"


def _attach(node: Node, record: Record) -> None:
    volumes, home = pool.volumes(node), guest.home(node.settings, record.id)
    try:
        with node.lock(record.id, wait=False):  # nobody starts it meanwhile
            volumes.attach(home, stopped=lifecycle.state(node, record)[0] == "STOPPED")
    except Conflict:  # it runs, or somebody works on it: then it is not taken away
        volumes.attach(home)


def starts(node: Node, record: Record) -> bool:
    """Tell whether ``boot`` has an environment run."""
    ours = record.stage is Stage.READY and record.wanted
    return ours and (record.autostart or lifecycle.state(node, record)[0] != "STOPPED")


def halt(node: Node, timeout: int = 20) -> None:
    """Stop all guests together before the machine goes down; which are wanted stays.

    Their volumes are detached.
    """
    volumes = pool.volumes(node)

    def down(record: Record) -> None:
        lifecycle.halt(node, record, timeout)
        volumes.detach(guest.home(node.settings, record.id))

    with ThreadPoolExecutor(max_workers=8) as workers:
        list(workers.map(down, node.records.all()))


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
        "over": weights.over(node),
        "damaged": node.records.damaged(),
    }

"""What there is of environments, as plain values: one, or all."""

from __future__ import annotations

from typing import Any

from corpus.node.context import Node
from corpus.node.environments import guest, room, snapshots
from corpus.node.environments.lifecycle import state
from corpus.node.records import Record, Stage
from corpus.node.storage import pool
from corpus.node.storage.volumes import Volumes


def listed(node: Node) -> list[dict[str, Any]]:
    """Return every environment of the node as ``inspect`` does, the oldest first."""
    volumes = pool.volumes(node)
    return [_describe(node, volumes, record) for record in node.records.all()]


def inspect(node: Node, id: str) -> dict[str, Any]:
    """Return one environment as plain values; raises NotFound. Sizes are in bytes."""
    return _describe(node, pool.volumes(node), node.records.get(id))


def _describe(node: Node, volumes: Volumes, record: Record) -> dict[str, Any]:
    status, pid = state(node, record)
    used = volumes.used(record.group)
    return {
        "id": record.id,
        "name": record.name,
        "platform": str(record.platform),
        "state": status.lower() if record.stage is Stage.READY else str(record.stage),
        "node": record.move.node if record.move else None,
        "wanted": record.wanted,
        "autostart": record.autostart,
        "order": record.order,
        "pid": pid,
        "address": record.address,
        "ssh_port": record.ssh_port,
        "image": record.image,
        "size": record.limits.size,
        "size_limit": room.limit(node, record),
        "used": used.used if used else None,
        "memory": record.limits.memory,
        "cpu": record.limits.cpu,
        "pids": record.limits.pids,
        "maintenance": record.maintenance,
        "role": str(record.role),
        "front": record.front,
        "ports": [vars(opening) for opening in record.openings],
        "projects": [vars(one) for one in record.projects],
        "routes": [vars(route) for route in record.routes],
        "share": {share.project: share.directory for share in record.shares},
        "pairs": [vars(pair) for pair in record.pairs],
        "snapshots": snapshots.names(node, record.id),
        "made": record.made,
        "rootfs": str(guest.rootfs(node.settings, record.id)),
        "srv": str(guest.srv(node.settings, record.id)),
    }

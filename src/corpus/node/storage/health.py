"""How the pool fares: errors, the last scrub, room for data and metadata, what is shared."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from corpus.commands import btrfs
from corpus.hosts import allocation, mounts, quota
from corpus.model.size import format_size
from corpus.node.context import Node
from corpus.node.storage import ground, pool

_LOW = 1 << 30  # bytes not given out yet below which metadata must have room of its own
_FULL = 0.9


def filesystems(node: Node) -> list[Path]:
    """Return the btrfs filesystems of the pool: its own, and the disks of environments."""
    settings = node.settings
    own = [] if ground.of(node).kind == "directory" else [settings.pool]
    if pool.volumes(node).kind != "image":
        return own
    homes = (settings.pool / "env" / record.id for record in node.records.all())
    return own + [home for home in homes if mounts.is_point(home)]


def health(node: Node) -> dict[str, Any]:
    """Return how the pool fares, as plain values; sizes in bytes."""
    lies = ground.of(node)
    size, free = pool.volumes(node).space()
    found: dict[str, Any] = {
        "storage": pool.volumes(node).kind,
        "ground": lies.kind,
        "source": str(lies.source),
        "size": size,
        "free": free,
        "beneath": ground.room(lies.source) if lies.kind == "file" else None,
        "shared": _shared(node),
        "filesystems": {str(path): _filesystem(node, path) for path in filesystems(node)},
    }
    found["warnings"] = [
        f"{path}: {warning}"
        for path, one in found["filesystems"].items()
        for warning in one.pop("warnings")
    ]
    if lies.kind == "file" and (more := ground.promised(lies.source)) > found["beneath"]:
        found["warnings"].append(
            f"{lies.source} may take {format_size(more)} more, and the disk beneath has "
            f"{format_size(found['beneath'])} for it: make room there, before it fails"
        )
    if (more := _promised(node)) > free:
        found["warnings"].append(
            f"the disks of environments may take {format_size(more)} more, and {format_size(free)} "
            "are free: their filesystems fail once nothing is; make room, or trim environments"
        )
    return found


def _promised(node: Node) -> int:
    """Return the bytes that the disks of the kind image, which are sparse, may still take."""
    disks = []
    for path in node.settings.pool.glob("disks/*.img"):
        with suppress(FileNotFoundError):  # removed just now
            disks.append(ground.promised(path))
    return sum(disks)


def _filesystem(node: Node, path: Path) -> dict[str, Any]:
    given, size = allocation.allocations(path), allocation.size(path)
    allocated = sum(one.given for one in given.values())
    errors = allocation.errors(path)
    status = node.host.run(btrfs.scrub_status(path), env={"LC_ALL": "C"}, check=False)
    scrub = btrfs.parse_scrub(status.out)
    found = {
        "size": size,
        "allocated": allocated,
        "unallocated": size - allocated,
        "given": {kind: vars(one) for kind, one in given.items()},
        "errors": errors,
        "scrub": scrub,
    }
    return {**found, "warnings": _warnings(found)}


def _warnings(found: dict[str, Any]) -> list[str]:
    warnings = []
    if bad := {name: count for name, count in found["errors"].items() if count}:
        told = ", ".join(f"{count} {name}" for name, count in bad.items())
        warnings.append(f"the device has errors: {told}")
    scrub = found["scrub"] or {}
    if wrong := sum(count for name, count in scrub.items() if name.endswith("_errors")):
        warnings.append(f"the last scrub found {wrong} errors")
    metadata = found["given"].get("metadata")
    if metadata and found["unallocated"] < _LOW and metadata["used"] > _FULL * metadata["size"]:
        warnings.append(
            f"metadata is nearly full ({format_size(metadata['used'])} of "
            f"{format_size(metadata['size'])}) and only {format_size(found['unallocated'])} are "
            "not given out: grow the pool"
        )
    return warnings


def _shared(node: Node) -> dict[str, int | None]:
    """Return what environments have of their own, and what they share: images above all.

    With simple quotas who wrote bytes first has them; whoever shares them has them for nothing.
    """
    volumes = pool.volumes(node)
    if volumes.kind != "quota":
        return {"environments": None, "shared": None}
    found = [volumes.used(record.group) for record in node.records.all()]
    own, place = sum(one.used for one in found if one), node.settings.pool
    ids = [int(one[2:]) for one in quota.groups(place) if one.startswith("0/")]
    every = sum(quota.written(place, ids).values()) if ids else 0
    return {"environments": own, "shared": max(0, every - own)}


def scrub(node: Node, *, test: bool = False) -> dict[str, Any]:
    """Begin to read and verify all that the pool holds, in the background.

    Where one runs already, that goes on. Return what changes.
    """
    changes = []
    for path in filesystems(node):
        status = node.host.run(btrfs.scrub_status(path), env={"LC_ALL": "C"}, check=False)
        if (btrfs.parse_scrub(status.out) or {}).get("status") == "running":
            continue
        changes.append(f"a scrub of {path} begins")
        if not test:
            node.host.run(btrfs.scrub_start(path))
    return {"test": test, "changes": changes}

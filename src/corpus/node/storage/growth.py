"""The pool grows while it is used."""

from __future__ import annotations

import os
from typing import Any

from corpus.commands import btrfs
from corpus.hosts import loops
from corpus.model.errors import Conflict, InvalidInput
from corpus.model.size import format_size, parse_size
from corpus.node.context import Node
from corpus.node.storage import ground, pool
from corpus.node.storage.ground import Ground


def grow(node: Node, size: str | int | None = None, *, test: bool = False) -> dict[str, Any]:
    """Let the pool's filesystem have ``size``, or all of the device that it lies on.

    A file grows to ``size``. Return what changes. Raises InvalidInput, Conflict.
    """
    wanted = None if size is None else parse_size(size)
    with node.lock():
        lies = ground.of(node)
        _check(lies, wanted)
        has = pool.volumes(node).space()[0]
        target = ground.size(lies) if wanted is None else wanted
        changes = []
        if target > has:
            changes.append(f"the pool grows from {format_size(has)} to {format_size(target)}")
        if changes and not test:
            if lies.kind == "file" and lies.device:
                os.truncate(lies.source, max(target, ground.size(lies)))
                loops.refresh(lies.device)
            node.host.run(btrfs.resize(node.settings.pool, None))
    return {"test": test, "changes": changes}


def _check(lies: Ground, wanted: int | None) -> None:
    if lies.kind == "directory":
        raise Conflict(
            "the pool is a directory of another filesystem",
            str(lies.source),
            "grow that filesystem: the pool has what it has",
        )
    if lies.kind != "file":
        if wanted is not None:
            raise InvalidInput(
                "a pool on a device is as large as the device",
                str(lies.source),
                "grow the partition, then call pool_grow without a size",
            )
        return
    if wanted is None:
        raise InvalidInput("a pool in a file grows to a size", mend="say which, such as 50G")
    has = ground.size(lies)
    if wanted < has:
        raise InvalidInput(
            f"the pool has {format_size(has)} and does not shrink",
            str(lies.source),
            "ask for more than that",
        )
    free, needed = ground.room(lies.source), ground.promised(lies.source) + wanted - has
    if needed > free:
        raise Conflict(
            f"the disk beneath has {format_size(free)} for the pool, beyond the "
            f"{format_size(ground.RESERVE)} that it keeps: less than {format_size(needed)} more",
            str(lies.source),
            "free some space there, or ask for less",
        )

"""Other limits for an environment, at once when it runs."""

from __future__ import annotations

from dataclasses import replace

from corpus.model.errors import StillUsed
from corpus.node.context import Node
from corpus.node.environments import controls, lifecycle, prunable, room
from corpus.node.environments import limits as bounds
from corpus.node.environments.room import Resized
from corpus.node.records import Limits, Record


def limit(
    node: Node,
    id: str,
    *,
    size: str | int | None = None,
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | str | None = None,
    size_limit: str | int | None = None,
    test: bool = False,
) -> Resized:
    """Change limits; what is None stays, ``none`` takes one away (but ``size``).

    Raises NotFound, InvalidInput, Unsupported, and Conflict when more is used than it would have,
    or when the pool has too little.
    """
    id = node.records.resolve(id)
    given = {"size": size, "memory": memory, "cpu": cpu, "pids": pids, "size_limit": size_limit}
    with prunable.told(node, id), node.lock(id):
        record = lifecycle.ready(node, id)
        new = bounds.changed(record.limits, **given)
        has = room.room(
            node, record.changed(limits=replace(record.limits, size_limit=new.size_limit))
        )
        sized = size is not None
        if sized:
            has = room.weighed(node, record, has)
            room.check(node, record, has, new.size)
        found = controls.layout()
        controls.check(new, found)
        runs = lifecycle.state(node, record)[0] != "STOPPED"
        if runs:
            controls.check_memory(node, record, found, new)
        said = bounds.difference(record.name, record.limits, new)
        if test:
            return Resized(record, said)
        if runs:
            controls.apply(node, record, found, new)
        try:
            return Resized(_remember(node, record, has if sized else None, new), said)
        except StillUsed:
            if runs:
                controls.apply(node, record.changed(limits=new), found, record.limits)
            raise


def _remember(node: Node, record: Record, has: room.Room | None, new: Limits) -> Record:
    def changed(now: Record) -> Record:
        return now.changed(limits=new)

    if has is None:
        return node.change(record.id, changed)
    return room.settle(node, record, has, new.size, changed)

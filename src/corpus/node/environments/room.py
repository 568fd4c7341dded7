"""How much room an environment has, and more of it: asked by itself or by an admin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from corpus.model.errors import Conflict, InvalidInput, Unsupported
from corpus.model.size import format_size, parse_size
from corpus.node.context import Node
from corpus.node.environments.lifecycle import ready
from corpus.node.records import Record
from corpus.node.storage import pool

STEP = 5 << 30  # bytes that an environment grows by


@dataclass(frozen=True)
class Room:
    """Bytes: the environment's ``size``, what of it is ``used``, and its ``limit``.

    ``limit`` is what the size may be raised to. ``used`` is None where the node has no
    quotas: nothing enforces the size there.
    """

    size: int
    used: int | None
    limit: int


def room(node: Node, record: Record) -> Room:
    """Return the room of an environment, without walking its files."""
    found = pool.volumes(node).used(record.group)
    size = (found and found.limit) or record.limits.size
    return Room(size, found.used if found else None, limit(node, record))


def limit(node: Node, record: Record) -> int:
    """Return the bytes that an environment may grow to: its own limit, or the node's."""
    own = record.limits.size_limit
    most = parse_size(node.settings.size_limit) if own is None else own
    return max(most, record.limits.size)


def enlarge(node: Node, id: str, size: str | int | None = None) -> Record:
    """Raise an environment's size to ``size``, by default by one step; it may run.

    Raises NotFound, InvalidInput, Conflict (its limit, or the pool), Unsupported.
    """
    wanted = None if size is None else parse_size(size)
    return _change(node, id, lambda has: has.size + STEP if wanted is None else wanted)


def make_room(node: Node, id: str, needed: int) -> Record:
    """Raise an environment's size by whole steps until ``needed`` bytes of it are free.

    What is free already is counted, so that asking twice enlarges once. Raises as ``enlarge``.
    """
    return _change(node, id, lambda has: _stepped(has, needed))


def _stepped(has: Room, needed: int) -> int:
    lacking = needed - (has.size - (has.used or 0))
    if lacking <= 0:
        return has.size
    steps = -(-lacking // STEP)
    # Up to the limit where a whole step would pass it.
    return max(has.size + lacking, min(has.size + steps * STEP, has.limit))


def _change(node: Node, id: str, wanted: Callable[[Room], int]) -> Record:
    id = node.records.resolve(id)
    with node.lock(id):
        record = ready(node, id)
        has = room(node, record)
        if has.used is None:
            raise Unsupported(
                f"sizes are not enforced on this node: {pool.support(node).quota_why}",
                mend="nothing is to be enlarged: what the pool has free can be written",
            )
        size = wanted(has)
        _check(node, record, has, size)
        new = node.change(id, lambda now: now.changed(limits=replace(now.limits, size=size)))
        # After the record: what a crash leaves between the two, the next call puts right.
        pool.volumes(node).limit(record.group, size)
    return new


def _check(node: Node, record: Record, has: Room, size: int) -> None:
    if size < has.size:
        raise InvalidInput(
            f"the environment has {format_size(has.size)}, that would be less",
            mend="use corpus_node.limit to take size away",
        )
    if size > has.limit:
        raise Conflict(
            f"{format_size(size)} are needed and this environment may have "
            f"{format_size(has.limit)} at the most",
            mend=f"on the node: corpus_node.limit {record.id} size_limit={format_size(size)}; "
            "or lower retention",
        )
    free = pool.volumes(node).space()[1]
    kept = parse_size(node.settings.minimum_free)
    if size > has.size and free - (size - (has.used or 0)) < kept:
        raise Conflict(
            f"the node's disk has {format_size(free)} free and keeps {format_size(kept)}: "
            f"too little to let this environment have {format_size(size)}",
            mend="destroy environments of the node, enlarge its pool, or lower retention",
        )

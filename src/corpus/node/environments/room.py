"""How much room an environment and its projects have, and more or less of it.

Whoever asks, an admin by whichever function or the environment itself, gets it here, with the
same checks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from corpus.model.errors import Conflict, InvalidInput, NotFound, StillUsed, Unsupported
from corpus.model.names import project_name
from corpus.model.size import format_size, parse_size
from corpus.node.context import Node
from corpus.node.environments import prunable
from corpus.node.environments.lifecycle import ready
from corpus.node.environments.limits import LEAST_SIZE, difference, given_size
from corpus.node.records import Allotment, Record
from corpus.node.storage import pool, weights

STEP = 5 << 30  # bytes that an environment or a project grows and shrinks by
RESERVE = 32 << 20  # bytes that a smaller size leaves, so that the guest can still write


@dataclass(frozen=True)
class Room:
    """Bytes: the ``size`` of an environment or project, what of it is ``used``, its ``limit``.

    ``limit`` is what the size may be raised to. ``used`` is None where the node has no
    quotas: nothing enforces the size there. Not ``whole``: more than that is used. A project
    without a size of its own has its environment's.
    """

    size: int
    used: int | None
    limit: int
    whole: bool = True

    @property
    def free(self) -> int:
        """What may still be written."""
        return max(0, self.size - (self.used or 0))


@dataclass(frozen=True)
class Resized:
    """The record after a change, or as it is where only ``changes`` were asked for."""

    record: Record
    changes: list[str]


def room(node: Node, record: Record, project: str = "") -> Room:
    """Return the room of an environment, or of one of its projects, without walking its files.

    Raises NotFound where a project is not accounted by itself.
    """
    volumes = pool.volumes(node)
    if project:
        own = _allotment(record, project)
        found = volumes.used(record.project_group(project))
        whole = room(node, record)
        size = (found and found.limit) or own.size or whole.size
        most = whole.limit if own.size_limit is None else own.size_limit
        return Room(size, found.used if found else None, max(most, own.size or 0))
    found = volumes.used(record.group)
    size = (found and found.limit) or record.limits.size
    return Room(size, found.used if found else None, limit(node, record))


def _allotment(record: Record, project: str) -> Allotment:
    found = record.allotment(project_name(project))
    if found is None:
        raise NotFound(
            f"no project {project} of {record.name} is accounted by itself",
            mend="its directory is a plain one: made before the node had quotas, or never; "
            "remove and initialise the project anew, with its data put aside",
        )
    return found


def tighter(node: Node, record: Record, project: str) -> Room:
    """Return the room that ends a project's writes first: its own, or its environment's.

    One that is not accounted by itself, or unknown, has its environment's.
    """
    whole = room(node, record)
    own = record.allotment(project_name(project))
    if own is None or own.size is None:
        return whole
    return min(room(node, record, project), whole, key=lambda one: one.free)


def limit(node: Node, record: Record) -> int:
    """Return the bytes that an environment may grow to: its own limit, or the node's."""
    own = record.limits.size_limit
    most = parse_size(node.settings.size_limit) if own is None else own
    return max(most, record.limits.size)


def enlarge(
    node: Node, id: str, size: str | int | None = None, project: str = "", *, test: bool = False
) -> Resized:
    """Raise the size of an environment or a project to ``size``, by default by one step.

    It may run. Raises NotFound, InvalidInput, Conflict (its limit, or the pool), Unsupported.
    """
    wanted = None if size is None else parse_size(size)

    def larger(has: Room) -> int:
        found = has.size + STEP if wanted is None else wanted
        if found < has.size:
            raise InvalidInput(
                f"it has {format_size(has.size)}, that would be less",
                mend="use corpus_node.trim to take size away",
            )
        return found

    return _change(node, id, larger, project, test=test)


def trim(
    node: Node, id: str, size: str | int | None = None, project: str = "", *, test: bool = False
) -> Resized:
    """Lower the size of an environment or a project to ``size``, by default by one step.

    It may run. Raises NotFound, InvalidInput, Unsupported, and Conflict when more than that,
    with the reserve, is used: the error tells the figures and what could be pruned.
    """
    wanted = None if size is None else parse_size(size)

    def smaller(has: Room) -> int:
        found = has.size - STEP if wanted is None else wanted
        if found > has.size:
            raise InvalidInput(
                f"it has {format_size(has.size)}, that would be more",
                mend="use corpus_node.enlarge to give it more",
            )
        if found < LEAST_SIZE:
            raise InvalidInput(
                f"of {format_size(has.size)} less than {format_size(LEAST_SIZE)} would be left",
                mend=f"name a size of {format_size(LEAST_SIZE)} or more",
            )
        return found

    return _change(node, id, smaller, project, test=test)


def make_room(node: Node, id: str, needed: int, project: str = "") -> Room:
    """Raise sizes by whole steps until ``needed`` bytes are free; return the tighter room then.

    What is free already is counted, so that asking twice enlarges once. Raises as ``enlarge``, and
    Unsupported where nothing enforces sizes: what was used at some time does not tell what is free.
    """
    if weights.kept(node):
        raise _unenforced(node)
    record = _change(node, id, lambda has: _stepped(has, needed)).record
    if not project:
        return room(node, record)
    own = record.allotment(project_name(project))
    if own is not None and own.size is not None:
        record = _change(node, id, lambda has: _stepped(has, needed), project).record
    return tighter(node, record, project)


def _stepped(has: Room, needed: int) -> int:
    lacking = needed - (has.size - (has.used or 0))
    if lacking <= 0:
        return has.size
    steps = -(-lacking // STEP)
    # Up to the limit where a whole step would pass it.
    return max(has.size + lacking, min(has.size + steps * STEP, has.limit))


def allot(
    node: Node,
    id: str,
    project: str,
    size: str | int | None = None,
    size_limit: str | int | None = None,
    *,
    test: bool = False,
) -> Resized:
    """Give a project a size, and what a deployment may raise it to; ``none`` takes either away.

    What is None stays. Raises NotFound, InvalidInput, Conflict, Unsupported.
    """
    id = node.records.resolve(id)
    with prunable.told(node, id, project), node.lock(id):
        record = ready(node, id)
        old = _allotment(record, project)
        new = replace(
            old, size=given_size(size, old.size), size_limit=given_size(size_limit, old.size_limit)
        )
        has = weighed(node, record, room(node, record, project))
        if new.size is not None:
            if new.size_limit is not None and new.size_limit < new.size:
                raise InvalidInput(
                    f"the size {format_size(new.size)} is above the size_limit "
                    f"{format_size(new.size_limit)}",
                    mend="give a larger size_limit too, or a smaller size",
                )
            most = limit(node, record) if new.size_limit is None else new.size_limit
            check(node, record, replace(has, limit=most), new.size, project)
        said = difference(project, old, new)
        if test:
            return Resized(record, said)
        if new.size is None:
            pool.volumes(node).unlimit(record.project_group(project))
            return Resized(node.change(id, lambda now: now.allotted(new)), said)
        changed = settle(node, record, has, new.size, lambda now: now.allotted(new), project)
        return Resized(changed, said)


def _change(
    node: Node, id: str, wanted: Callable[[Room], int], project: str = "", *, test: bool = False
) -> Resized:
    id = node.records.resolve(id)
    with prunable.told(node, id, project), node.lock(id):
        record = ready(node, id)
        own = _allotment(record, project) if project else None
        if own is not None and own.size is None:
            raise InvalidInput(
                f"{project} has no size of its own",
                mend=f"corpus_node.project_limit {record.id} {project} size=… gives it one",
            )
        has = weighed(node, record, room(node, record, project))
        size = wanted(has)
        check(node, record, has, size, project)

        def resized(now: Record) -> Record:
            if own is not None:
                return now.allotted(replace(own, size=size))
            return now.changed(limits=replace(now.limits, size=size))

        what = project or record.name
        said = [f"{what}: size {format_size(has.size)} becomes {format_size(size)}"]
        said = said if size != has.size or resized(record) != record else []
        if test:
            return Resized(record, said)
        return Resized(settle(node, record, has, size, resized, project), said)


def weighed(node: Node, record: Record, has: Room) -> Room:
    """Return the same room, with what was found last where nothing accounts what is used.

    Raises Unsupported where sizes shall be enforced and are not.
    """
    if has.used is not None:
        return has
    if not weights.kept(node):
        raise _unenforced(node)
    if weight := weights.last(node, record.id):
        return replace(has, used=weight.used, whole=weight.complete)
    return replace(has, used=0)


def _unenforced(node: Node) -> Unsupported:
    return Unsupported(
        f"sizes are not enforced on this node: {pool.support(node).quota_why}",
        mend="nothing is to be changed: what the pool has free can be written",
    )


def check(node: Node, record: Record, has: Room, size: int, project: str = "") -> None:
    """Raise StillUsed or Conflict when what has this room cannot have ``size`` instead.

    ``has.limit`` is what it may be raised to.
    """
    if has.used is None or size == has.size:
        return
    if size < has.size:
        _check_used(has, size)
        return
    what, asked = "environment", f"corpus_node.limit {record.id}"
    if project:
        what, asked = "project", f"corpus_node.project_limit {record.id} {project}"
    if size > has.limit:
        raise Conflict(
            f"{format_size(size)} are needed and this {what} may have "
            f"{format_size(has.limit)} at the most",
            mend=f"on the node: {asked} size_limit={format_size(size)}; or lower retention",
        )
    free = pool.volumes(node).space()[1]
    kept = parse_size(node.settings.minimum_free)
    if not project and free - (size - has.used) < kept:
        raise Conflict(
            f"the node's disk has {format_size(free)} free and keeps {format_size(kept)}: "
            f"too little to let this environment have {format_size(size)}",
            mend="destroy environments of the node, enlarge its pool, or lower retention",
        )


def _check_used(has: Room, size: int) -> None:
    used = has.used or 0
    if size < used + RESERVE:
        raise StillUsed(
            f"{format_size(used)} are used already, and {format_size(RESERVE)} are kept free so "
            f"that it can still write: {format_size(size)} are too little",
            mend=f"ask for {-(-(used + RESERVE) >> 20)}M or more, or free space first",
        )
    if not has.whole:
        raise StillUsed(
            f"{format_size(used)} are used and more that could not be counted in time: it is not "
            f"known whether {format_size(size)} are enough",
            mend="have it remove files, then corpus_node.weigh",
        )


def settle(
    node: Node,
    record: Record,
    has: Room,
    size: int,
    how: Callable[[Record], Record],
    project: str = "",
) -> Record:
    """Have the kernel enforce ``size``, which was checked, and remember it; return the record.

    More is remembered first, less is enforced first: what a crash leaves between the two, the
    next call puts right, and until then the smaller one holds. A guest may have written since
    the check: then it has its former size again, and StillUsed is raised.
    """
    volumes = pool.volumes(node)
    group = record.project_group(project) if project else record.group
    if size >= has.size:
        changed = node.change(record.id, how)
        volumes.limit(group, size)
        return changed
    volumes.limit(group, size)
    found = volumes.used(group)
    try:
        _check_used(replace(has, used=found.used if found else None), size)
    except StillUsed:
        own = record.allotment(project) if project else None
        if own is not None and own.size is None:
            volumes.unlimit(group)
        else:
            volumes.limit(group, has.size)
        raise
    return node.change(record.id, how)

"""What is checked of an environment that is to come here, as of any that is to be made."""

from __future__ import annotations

import json
from typing import Any

from corpus.hosts.files import undamaged
from corpus.model.errors import Conflict, InvalidInput
from corpus.model.names import environment_id
from corpus.model.size import format_size
from corpus.node.context import Node
from corpus.node.environments import lifecycle, lost, projects
from corpus.node.environments import limits as bounds
from corpus.node.environments.making import Wanted
from corpus.node.network import addresses, ports
from corpus.node.proxy import routes
from corpus.node.records import Opening, Record, Role, Stage, of
from corpus.node.storage import images, pool

_MORE = 1 << 30  # bytes for what is received twice, at the least


def record_of(asked: dict[str, Any]) -> Record:
    """Return the record that the other node sent, of which nothing is checked yet."""
    with undamaged("the record of the environment", "what the other node sent"):
        return of(json.loads(str(asked.get("record"))))


def room(size: int) -> int:
    """Return the limit of an environment that arrives: of what changes, two versions are here."""
    return 2 * size + _MORE


def wanted(node: Node, asked: dict[str, Any], peer: str) -> tuple[str, Wanted]:
    """Return the id and what is to be made. Raises InvalidInput."""
    old = record_of(asked)
    limits = old.limits
    given = bounds.parse(limits.size, limits.memory, limits.cpu, limits.pids, limits.size_limit)
    led = tuple(routes.parse_route(**vars(route)) for route in old.routes)
    lifecycle.check_autostart(old.autostart, old.order)
    if old.shares or old.pairs or old.role is not Role.PROJECTS:
        raise InvalidInput("an environment with shares or pairs does not move, and no proxy")
    image = str(asked.get("image"))[:12]
    accounted = projects.checked(old) if pool.volumes(node).apart else ()
    return environment_id(old.id), Wanted(
        old.platform, image, given, routes=led, origin=peer, projects=accounted,
        maintenance=old.maintenance, openings=_openings(old),
    )  # fmt: skip


def _openings(old: Record) -> tuple[Opening, ...]:
    """Return its open ports. Raises InvalidInput."""
    found = tuple(
        ports.parse(one.port, one.protocol, one.sources, one.node_port) for one in old.openings
    )
    for numbers in (
        {(one.protocol, one.port) for one in found},
        {(one.protocol, one.node_port) for one in found},
    ):
        if len(numbers) != len(found):
            raise InvalidInput("a port is opened twice")
    return found


def remains(record: Record, peer: str) -> bool:
    """Tell whether what is here of an environment was left half-way, when ``peer`` sends it anew.

    It lives there then, whatever had arrived of it before.
    """
    return record.half_made or (record.stage is Stage.ARRIVED and record.origin == peer)


def check(node: Node, asked: dict[str, Any], peer: str) -> dict[str, Any]:
    """Raise InvalidInput or Conflict for what cannot come from ``peer``; tell by which ``method``
    it can.

    By rsync only onto the image that it was made from (NotFound): what is in that is not its own.
    """
    id, given = wanted(node, asked, peer)
    records, volumes = node.records.all(), pool.volumes(node)
    there = node.records.find(id)
    moved = there.move if there is not None and there.stage is Stage.MOVED else None
    if moved is not None and moved.node != peer:
        raise Conflict(
            f"environment {id} has moved from here to {moved.node}, and not to {peer}",
            mend=f"destroy this node's part of it first: corpus_node.destroy {id}",
        )
    if there is not None and not (moved or remains(there, peer)):
        raise Conflict(
            f"environment {id} is here ({there.stage})",
            mend="destroy it, or end its migration: corpus_node.migration_recover",
        )
    lost.check_new(node, id)
    routes.check_free(records, given.routes, id)
    others = [record for record in records if record.id != id]
    ports.check_free(node, others, given.openings)
    if there is None:
        addresses.free_address(node, records, None)
        addresses.free_port(node, records, None)
    size, free = volumes.space()
    if given.limits.size > size:
        raise InvalidInput("its size is larger than the whole pool", mend="enlarge the pool")
    if int(asked.get("bytes") or 0) > free:
        raise Conflict(
            f"it takes {format_size(int(asked['bytes']))}, and {format_size(free)} are free",
            mend="make room, or enlarge the pool",
        )
    both = {volumes.kind, asked.get("kind")}
    if both == {"quota"}:
        return {"method": "send"}
    images.find(node, given.image)
    return {"method": "rsync"}

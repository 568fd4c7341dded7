"""Environments are made.

``create`` may be called again: it goes on from what the record says, and what a crash left
half-way is removed by the next one or at boot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from corpus.model.errors import Conflict, CorpusError, InvalidInput
from corpus.model.mode import Platform, parse_platform
from corpus.model.names import environment_id
from corpus.model.size import format_size
from corpus.node.context import Node
from corpus.node.environments import (
    controls,
    guest,
    lifecycle,
    listing,
    lost,
    plans,
    removal,
    rootfs,
    shares,
    snapshots,
)
from corpus.node.environments import limits as bounds
from corpus.node.environments.lifecycle import bring_up, follow, wait_for_ssh
from corpus.node.network import addresses, firewall, ports
from corpus.node.proxy import replica, routes, service
from corpus.node.records import (
    Allotment,
    Limits,
    Opening,
    Pair,
    Record,
    Role,
    Route,
    Share,
    Stage,
    group_of,
)
from corpus.node.storage import images, pool


def create(
    node: Node,
    *,
    id: str | None = None,
    platform: str = "staging",
    size: str | int = "5G",
    memory: str | int | None = None,
    cpu: float | str | None = None,
    pids: int | str | None = None,
    size_limit: str | int | None = None,
    image: str | None = None,
    hosts: Sequence[str] = (),
    keys: Sequence[str] = (),
    address: str | None = None,
    ssh_port: int | None = None,
    share: Mapping[str, str] | None = None,
    role: str = "projects",
    wait: float = 10.0,
    test: bool = False,
) -> dict[str, Any]:
    """Make and start an environment; return what ``inspect`` returns.

    With the ``id`` of one that is there, that one is started and returned (Conflict when
    another platform, address, port or share is asked). ``hosts`` are led to its port 80, ``keys``
    are SSH public keys of its root. ``share`` names for a project the directory of this machine
    that its ``project/`` is (type ``dev`` alone). ``role``: ``projects``, or ``proxy`` for one that
    can be the node's front. ``wait`` seconds for its SSH server to answer.
    On a failure everything made is removed again. With ``test`` what it would change is returned.
    Raises InvalidInput, Conflict, NotFound, Unsupported, CommandFailed.
    """
    id = str(uuid4()) if id is None else environment_id(id)
    layout = controls.layout()
    memory, pids = bounds.defaults(node.settings, layout, memory, pids)
    given = bounds.parse(size, memory, cpu, pids, size_limit)
    controls.check(given, layout)
    led = routes.parse_routes(hosts)
    public = rootfs.public_keys(keys)
    shared = shares.parse(node.settings, platform, share or {})
    kind = check_role(role, led)
    with removal.alone(node, id):
        there = node.records.find(id)
        if there and (there.move or there.stage is Stage.ARRIVED):
            lifecycle.ready(node, id)
        if there and not there.half_made:
            _same(there, platform, address, ssh_port, shared, kind)
            if test:
                return {"test": True, "changes": plans.awake(node, there)}
            _complete(node, there)
        else:
            wanted = Wanted(
                parse_platform(platform), images.find(node, image).id, given, address, ssh_port,
                led, shares=shared, role=kind,
            )  # fmt: skip
            if test:
                return {"test": True, "changes": _foreseen(node, id, wanted)}
            if there:
                removal.remove(node, there)
            with allocated(node, id, wanted) as record:
                finish(node, record, lambda: _fill(node, record, public))
    if wait:
        wait_for_ssh(node, id, wait)
    return listing.inspect(node, id)


def _complete(node: Node, there: Record) -> None:
    """Start what is made already, and do what a crash may have kept from being done."""
    if there.stage is Stage.RESTORING:
        there = snapshots.finish(node, there)
    bring_up(node, there)
    follow(node, there)
    with replica.following(node):
        firewall.apply(node)
        service.apply(node)


def _foreseen(node: Node, id: str, wanted: Wanted) -> list[str]:
    """Tell what making an environment would change, with the address and port that are free now."""
    there = node.records.find(id)
    with node.lock():
        record = _chosen(node, id, wanted)
    return [
        *([f"remove {there.name}, which was left {there.stage}"] if there else []),
        f"make {record.name} of image {record.image}, {format_size(record.limits.size)}, "
        f"with address {record.address} and SSH port {record.ssh_port}",
        *(f"lead {route.host} to its port {route.port}" for route in record.routes),
        *(f"share {share.directory} as {share.project}" for share in record.shares),
        f"start {record.name}",
    ]


def check_role(role: str, led: Sequence[Route]) -> Role:
    """Return the role of an environment that host names are led to. Raises InvalidInput."""
    if role not in tuple(Role):
        raise InvalidInput(f"not a role: {role!r:.20}", mend=f"use {' or '.join(Role)}")
    if led and role == Role.PROXY:
        raise InvalidInput("no host name leads to a proxy", mend="leave hosts out")
    return Role(role)


def _same(
    record: Record,
    platform: str,
    address: str | None,
    ssh_port: int | None,
    shared: tuple[Share, ...],
    role: Role,
) -> None:
    asked = {
        "platform": parse_platform(platform),
        "role": role,
        "address": address,
        "ssh_port": ssh_port,
        "shares": shared or None,
    }
    for name, value in asked.items():
        if value is not None and value != getattr(record, name):
            raise Conflict(
                f"environment {record.id} is there with {name} {getattr(record, name)}",
                mend="destroy it first, or leave that out",
            )


@dataclass(frozen=True)
class Wanted:
    """What an environment that is to be made shall be; address and port None: the lowest free.

    Of the ``openings`` those are made whose port of the node nobody has.
    """

    platform: Platform
    image: str
    limits: Limits
    address: str | None = None
    ssh_port: int | None = None
    routes: tuple[Route, ...] = ()
    pairs: tuple[Pair, ...] = ()
    shares: tuple[Share, ...] = ()
    openings: tuple[Opening, ...] = ()
    role: Role = Role.PROJECTS
    maintenance: bool = False
    projects: tuple[Allotment, ...] = ()
    origin: str = ""


@contextmanager
def allocated(node: Node, id: str, wanted: Wanted) -> Iterator[Record]:
    """Write the record of an environment that is made within the block; hold its lock.

    From here on address, port and user ids are its own. An error in the block removes all of it.
    """
    record = allocate(node, id, wanted)
    try:
        yield record
    except BaseException:
        _undo(node, record)
        raise


def allocate(node: Node, id: str, wanted: Wanted) -> Record:
    """Write the record of an environment that is being made. Raises Conflict, InvalidInput.

    One that has moved to another node has its places here still, to come back to.
    """
    with node.lock():
        record = _chosen(node, id, wanted)
        node.records.save(record)
    return record


def _chosen(node: Node, id: str, wanted: Wanted) -> Record:
    """Return the record of an environment that is to be made. Hold its lock and the node's.

    Raises InvalidInput, and Conflict where something is taken.
    """
    lost.check_new(node, id)
    if wanted.limits.size > pool.volumes(node).space()[0]:
        raise InvalidInput("the size is larger than the whole pool", mend="ask for less")
    for problem in node.records.damaged().values():
        raise Conflict(f"nothing is made while it is unknown what is taken: {problem}")
    others = [record for record in node.records.all() if record.id != id]
    there = node.records.find(id)
    away = there if there and there.move else None
    if twin := next((other for other in others if other.group == group_of(id)), None):
        raise Conflict(
            f"its id begins as that of environment {twin.id}: they would share one quota group",
            mend="give another id",
        )
    routes.check_free(others, wanted.routes, id)
    return Record(
        id=id,
        platform=wanted.platform,
        image=wanted.image,
        address=away.address if away else addresses.free_address(node, others, wanted.address),
        ssh_port=away.ssh_port if away else addresses.free_port(node, others, wanted.ssh_port),
        slot=away.slot if away else _free_slot(node, others),
        move=away.move if away else None,
        origin=wanted.origin,
        limits=wanted.limits,
        routes=wanted.routes,
        pairs=wanted.pairs,
        shares=wanted.shares,
        openings=ports.free(node, others, wanted.openings),
        role=wanted.role,
        maintenance=wanted.maintenance,
        projects=wanted.projects,
        stage=Stage.CREATING,
        made=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )


def _free_slot(node: Node, records: Sequence[Record]) -> int:
    taken = {record.slot for record in records}
    slot = next((n for n in range(node.settings.idmap_slots) if n not in taken), None)
    if slot is None:
        raise Conflict(
            f"the node has no room for more than {len(taken)} environments",
            mend="destroy one, or raise idmap_slots in /etc/corpus/node.toml",
        )
    return slot


def _fill(node: Node, record: Record, keys: Sequence[str]) -> None:
    settings = node.settings
    source = images.volume(node, images.find(node, record.image))
    home = guest.home(settings, record.id)
    pool.volumes(node).make(home, record.group, record.limits.size, source)
    guest.srv(settings, record.id).chmod(0o755)
    rootfs.write(guest.rootfs(settings, record.id), rootfs.files(node, record, keys))


def finish(
    node: Node, record: Record, fill: Callable[[], None] = lambda: None, *, start: bool = True
) -> None:
    """Let an environment begin its life whose volumes are made, or are by ``fill``."""
    with ThreadPoolExecutor(max_workers=1) as beside:  # neither needs the other, and both wait
        led = beside.submit(_lead, node)
        fill()
        led.result()
    if start:
        bring_up(node, record)
    if record.routes or record.pairs or record.maintenance:
        with replica.following(node):
            service.apply(node)
    # The last: whoever dies before leaves what is made anew, and nothing that lacks its front.
    node.change(record.id, lambda now: now.changed(stage=Stage.READY, wanted=start))


def _lead(node: Node) -> None:
    with node.lock():
        firewall.apply(node)


def _undo(node: Node, record: Record) -> None:
    # The first error is what the caller must see; the record stays when this one fails too.
    with suppress(CorpusError, OSError):
        removal.remove(node, record)

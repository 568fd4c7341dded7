"""An environment from a file: the same one again, or a copy of it with another id.

The file may come from anybody. What it holds is made in places that are nobody's yet, within the
environment's own directory and ids; whatever is refused on the way is refused by removing all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from corpus.hosts import nested, subvolumes
from corpus.hosts.members import Unfit
from corpus.model.errors import CommandFailed, Conflict, CorpusError, InvalidInput, Unsupported
from corpus.model.names import environment_id, project_name
from corpus.model.size import format_size
from corpus.node.context import Node
from corpus.node.environments import (
    archives,
    controls,
    guest,
    lifecycle,
    listing,
    lost,
    making,
    projects,
    removal,
    renewing,
    rootfs,
)
from corpus.node.environments import limits as bounds
from corpus.node.environments.archives import Archive, Part
from corpus.node.environments.cloning import type_of_copy
from corpus.node.environments.exporting import Say, progress
from corpus.node.environments.making import Wanted
from corpus.node.network import addresses, ports
from corpus.node.proxy import routes
from corpus.node.records import Limits, Opening, Pair, Record
from corpus.node.storage import copies, packing, pool
from corpus.node.storage.volumes import ROOTFS, SRV

_MEMBER = 4096  # bytes that a member takes besides its content, at the most
NEW = "new"
"""Instead of an id: a random one."""


def plan(
    node: Node,
    file: str | Path,
    *,
    id: str | None = None,
    platform: str | None = None,
    size: str | int | None = None,
    hosts: Sequence[str] | None = None,
    digest: str | None = None,
) -> tuple[Archive, str, Wanted]:
    """Return what is read, the id, and what it is to be. Raises what ``import_`` raises."""
    archive = archives.read(Path(file))
    if digest is not None and digest != archive.digest:
        raise InvalidInput(
            f"the file's digest is {archive.digest}", str(file), "get the file that was exported"
        )
    try:
        chosen, wanted = _wanted(node, archive, id, platform, size, hosts)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(f"its record is damaged: {error}", str(file)) from None
    _check_room(node, archive, wanted.limits)
    return archive, chosen, wanted


def _wanted(
    node: Node,
    archive: Archive,
    id: str | None,
    platform: str | None,
    size: str | int | None,
    hosts: Sequence[str] | None,
) -> tuple[str, Wanted]:
    """Return the id and what is to be made: of the record, which may say anything."""
    old = archive.record
    own = environment_id(old.id)
    chosen = own if id is None else str(uuid4()) if id == NEW else environment_id(id)
    there = node.records.find(chosen)
    if there is not None and not there.half_made:
        raise Conflict(
            f"environment {chosen} is there",
            mend=f"destroy it first, or import a copy with id={NEW}",
        )
    lost.check_new(node, chosen)
    kind = type_of_copy(old.platform, platform)
    if chosen == own and kind is not old.platform:
        raise InvalidInput(
            f"the environment is a {old.platform} one, and only a copy of it can be {kind}",
            mend=f"import it with id={NEW}",
        )
    given = _limits(old.limits, size)
    controls.check(given, controls.layout())
    led = routes.parse_routes(hosts or ())
    pairs: tuple[Pair, ...] = ()
    openings: tuple[Opening, ...] = ()
    if chosen == own:
        if hosts is None:
            led = tuple(routes.parse_route(**vars(route)) for route in old.routes)
        pairs = _pairs(node, old)
        openings = ports.free(node, node.records.all(), [_opening(one) for one in old.openings])
    routes.check_free(node.records.all(), led, chosen)
    lifecycle.check_autostart(old.autostart, old.order)
    accounted = projects.checked(old) if pool.volumes(node).apart else ()
    maintained = chosen == own and old.maintenance is True
    return chosen, Wanted(
        kind, archive.image[:12], given, *_places(node, old), led, pairs, openings=openings,
        role=making.check_role(old.role, led), maintenance=maintained, projects=accounted,
    )  # fmt: skip


def _opening(old: Opening) -> Opening:
    return ports.parse(old.port, old.protocol, old.sources, old.node_port)


def _limits(old: Limits, size: str | int | None) -> Limits:
    most = old.size_limit
    if size is not None:
        most = None
    return bounds.parse(old.size if size is None else size, old.memory, old.cpu, old.pids, most)


def _pairs(node: Node, old: Record) -> tuple[Pair, ...]:
    """Return the pairs with environments that are here."""
    found = [Pair(project_name(p.project), environment_id(p.staging)) for p in old.pairs]
    return tuple(pair for pair in found if node.records.find(pair.staging))


def _places(node: Node, old: Record) -> tuple[str | None, int | None]:
    """Return the address and the port that it had, where they are free here."""
    records = node.records.all()
    address: str | None = None
    port: int | None = None
    with suppress(CorpusError):
        address = addresses.free_address(node, records, str(old.address))
    with suppress(CorpusError, TypeError):
        port = addresses.free_port(node, records, old.ssh_port)
    return address, port


def _check_room(node: Node, archive: Archive, given: Limits) -> None:
    volumes = pool.volumes(node)
    needed, free = archive.size + archive.files * _MEMBER, volumes.space()[1]
    if needed > free:
        raise Conflict(
            f"the environment unpacks to {format_size(needed)} at the most, and the pool has "
            f"{format_size(free)} free",
            mend="enlarge the pool, or destroy what is not needed",
        )
    data = archive.parts[-1].packed.size
    if volumes.enforced and data > given.size:
        raise InvalidInput(
            f"its /srv alone takes {format_size(data)}, and its size is {format_size(given.size)}",
            mend="give a larger size",
        )


def changes(node: Node, file: str | Path, **given: Any) -> list[str]:
    """Tell what ``import_`` would do. Raises what it would raise."""
    archive, chosen, wanted = plan(node, file, **given)
    return [
        f"make a {wanted.platform} environment {chosen} of {format_size(archive.size)} from {file}",
        *(f"lead {route.host} to it" for route in wanted.routes),
        *(f"pair it with {pair.staging} for {pair.project}" for pair in wanted.pairs),
        *(
            f"open {one.protocol} port {one.node_port} of the node, to its port {one.port} for "
            f"{', '.join(one.sources)}"
            for one in wanted.openings
        ),
        *(["show its maintenance page"] if wanted.maintenance else []),
    ]


def import_(
    node: Node,
    file: str | Path,
    *,
    keys: Sequence[str] = (),
    start: bool = True,
    wait: float = 10.0,
    say: Say = lambda line: None,
    **given: Any,
) -> dict[str, Any]:
    """Make an environment from an exported file; return what ``inspect`` returns.

    ``given`` is what ``plan`` takes. Without ``id`` it is the same environment again, with its
    keys, role, routes, maintenance, and pairs with what is here; with another id it is a copy as
    ``clone`` makes one. Address, port and opened ports are the old ones where these
    are free. Refused, with nothing left, for a file that is cut off, damaged or hostile, and where
    there is too little room. Raises InvalidInput, Conflict, CorpusError, CommandFailed.
    """
    public = rootfs.public_keys(keys)
    archive, chosen, _ = plan(node, file, **given)
    given["id"] = chosen
    with removal.alone(node, chosen):
        left = node.records.find(chosen)
        if left is not None and left.half_made:
            removal.remove(node, left)
        archive, chosen, wanted = plan(node, file, **given)
        with making.allocated(node, chosen, wanted) as record:
            try:
                _fill(node, archive, record, say)
                if chosen == archive.record.id:
                    found = rootfs.files(node, record, public)
                    rootfs.write(guest.rootfs(node.settings, chosen), found)
                else:
                    renewing.renew(node, record, public)
            except OSError as error:
                raise CorpusError(
                    f"the environment cannot be unpacked: {error.strerror or error}", str(file)
                ) from None
            old = archive.record
            lasting = lifecycle.check_autostart(old.autostart, old.order)
            node.change(chosen, lambda now: now.changed(**lasting))
            making.finish(node, record, start=start)
    if start and wait:
        lifecycle.wait_for_ssh(node, chosen, wait)
    return listing.inspect(node, chosen)


def _fill(node: Node, archive: Archive, record: Record, say: Say) -> None:
    """Unpack both volumes: the root as an image of its own, which the size is beyond."""
    home = guest.home(node.settings, record.id)
    parts = {part.name: part for part in archive.parts}
    image = guest.staged(node.settings, record.id)
    image.parent.mkdir(exist_ok=True, mode=0o700)
    try:
        subvolumes.create(image)
    except Unsupported:
        image.mkdir()
    _unpack(archive, parts[ROOTFS], image, say)
    copies.begin(node, image, home, record)
    pool.volumes(node).delete(image)
    _unpack(archive, parts[SRV], home / SRV, say, copies.groups(node, record))
    copies.settle(node, record)


def _unpack(
    archive: Archive,
    part: Part,
    volume: Path,
    say: Say,
    apart: Mapping[bytes, str] = nested.NONE,
) -> None:
    try:
        found = packing.unpack(
            archives.pieces(archive, part),
            volume,
            part.packed,
            progress(say, part.name, part.packed.size),
            apart,
        )
    except (Unfit, CommandFailed) as error:
        raise _refused(archive, str(error)) from None
    if found != part.digest:
        raise _refused(archive, f"{part.name} is not what the manifest says it is")


def _refused(archive: Archive, why: str) -> InvalidInput:
    return InvalidInput(
        f"the file is refused: {why}",
        str(archive.path),
        "bring over all of the file again; ask who made it",
    )

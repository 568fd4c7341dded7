"""Checks of the storage: the pool, each environment's place and size, what is of nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from corpus.commands import loop
from corpus.commands.btrfs import Usage
from corpus.hosts import idmap, loops, mounts
from corpus.images import store
from corpus.model.errors import Conflict, CorpusError
from corpus.model.finding import Finding, State
from corpus.model.size import format_size, parse_size
from corpus.node.context import Node
from corpus.node.doctor.looking import busy, entries, is_id, known_ids, of_nobody, whole
from corpus.node.environments import guest, lost
from corpus.node.environments.lifecycle import ready
from corpus.node.records import Record, group_of
from corpus.node.storage import claiming, ground, health, kinds, pool, weights
from corpus.node.storage import images as stored

_DISK = ".img"
_WEIGHING = "see systemctl status corpus-weigh.timer; corpus_node.weigh does it now"


def kind(node: Node) -> Iterator[Finding]:
    """The pool is of the kind that it remembers, and that the setting allows."""
    try:
        kinds.chosen(node)
    except CorpusError as error:
        yield Finding("storage", State.BAD, error.what, error.where or "", error.mend or "")


def pool_health(node: Node) -> Iterator[Finding]:
    """The pool has room, and its devices no errors."""
    if ground.failed(node):
        what = "its filesystem failed: it is read-only now"
        yield Finding("pool", State.BAD, what, str(node.settings.pool), ground.ANEW)
    size, free = pool.volumes(node).space()
    least = parse_size(node.settings.minimum_free)
    if free < least:
        what = f"{format_size(free)} of {format_size(size)} are free, {format_size(least)} shall be"
        mend = "corpus_node.pool_grow, or destroy environments"
        yield Finding("pool", State.WARN, what, str(node.settings.pool), mend)
    for warning in health.health(node)["warnings"]:
        mend = "see corpus_node.pool_health"
        yield Finding("pool", State.WARN, warning, str(node.settings.pool), mend)


def places(node: Node) -> Iterator[Finding]:
    """Each environment has its place; what has no record is told of and left: it is data."""
    folder = node.settings.pool / "env"
    there = entries(folder)
    for path in there:
        if not is_id(path.name):
            what = "not the node's: it is never removed"
            yield Finding("places", State.WARN, what, str(path), "move it away")
    disks = [path for path in entries(node.settings.pool / "disks") if path.suffix == _DISK]
    stray = [path for path in disks if is_id(path.stem) and path.stem not in known_ids(node)]
    for path in [*of_nobody(node, [*there, *entries(node.settings.pool / "import")]), *stray]:
        yield Finding(
            "places", State.WARN, "data of an environment without a record", str(path),
            lost.mend(node, path),
        )  # fmt: skip
    yield from _without_place(node)


def _without_place(node: Node) -> Iterator[Finding]:
    volumes = pool.volumes(node)
    for record in whole(node):
        home = guest.home(node.settings, record.id)
        if guest.rootfs(node.settings, record.id).is_dir():
            continue
        disk = guest.disk(node.settings, record.id)
        if volumes.kind == "image" and disk.exists():
            repair = partial(_attach, node, record.id)
            what = "its disk is not attached"
            yield Finding("places", State.BAD, what, str(disk), "it is attached", repair)
        else:
            mend = f"bring it back from a backup, or corpus_node.destroy {record.id}"
            yield Finding("places", State.BAD, "its files are gone", str(home), mend)


def _attach(node: Node, id: str) -> None:
    with node.lock(id):
        pool.volumes(node).attach(guest.home(node.settings, ready(node, id).id))


def images(node: Node) -> Iterator[Finding]:
    """Each image can be read and has its files; none was left half unpacked."""
    folder = node.settings.images
    for path in sorted(folder.glob("*.json")):
        try:
            image = stored.read(path)
        except CorpusError as error:
            yield Finding("images", State.BAD, error.what, str(path), error.mend or "")
            continue
        if image and not (folder / image.volume).is_dir():
            mend = "import the image again"
            yield Finding("images", State.BAD, "its files are gone", image.id, mend)
    if busy(node, "images"):
        return
    for path in folder.glob(".*.partial"):
        yield Finding(
            "images", State.WARN, "left half unpacked", str(path), "it is removed",
            partial(_discard, node, path),
        )  # fmt: skip


def _discard(node: Node, path: Path) -> None:
    with node.lock("images"):
        store.remove(path)


def groups(node: Node) -> Iterator[Finding]:
    """The node knows those of its environments, and none of the node's is of one that is gone."""
    volumes = pool.volumes(node)
    for group in claiming.unclaimed(node):
        yield Finding(
            "quota_groups", State.BAD, "the node has no note that it is its own", group,
            "it is noted", partial(_claim, node),
        )  # fmt: skip
    found = volumes.strays(_kept(node))
    if found:  # or of one whose record has been written since those were read
        found = [group for group in volumes.strays(_kept(node)) if group in found]
    for group in found:
        yield Finding(
            "quota_groups", State.WARN, "it belongs to no environment", group,
            "it is removed", partial(_prune, node, group),
        )  # fmt: skip


def _claim(node: Node) -> None:
    with node.lock():
        claiming.claim(node)


def _kept(node: Node) -> set[str]:
    """Return the groups of all records, and of places whose record is lost."""
    names = {path.name for path in entries(node.settings.pool / "env") if is_id(path.name)}
    return {group_of(id) for id in known_ids(node) | names}


def _prune(node: Node, group: str) -> None:
    volumes = pool.volumes(node)
    with node.lock():
        volumes.prune(_kept(node))
    if group in volumes.strays(_kept(node)):
        raise Conflict("the kernel still cleans up its data: it is removed later")


def sizes(node: Node) -> Iterator[Finding]:
    """What an environment and its projects may store is what their record says; in any kind."""
    volumes = pool.volumes(node)
    if weights.kept(node):
        yield from _weighed(node)
    if volumes.kind != "quota":  # the disk of the kind image is rounded, and is its own size
        return
    for record in whole(node):
        found = volumes.used(record.group)
        yield from _size(node, record, record.group, record.id, found, record.limits.size)
        for one in record.projects:
            group = record.project_group(one.project)
            if found := volumes.used(group):  # that of a project that is gone is gone too
                where = f"{record.id}: {one.project}"
                yield from _size(node, record, group, where, found, one.size)


def _weighed(node: Node) -> Iterator[Finding]:
    for record in whole(node):
        weight = weights.last(node, record.id)
        size = format_size(record.limits.size)
        if weight is None and (age := _age(record)) > weights.OLD:
            what = f"it was never weighed since it was made {age / 3600:.0f} hours ago"
            yield Finding("sizes", State.WARN, what, record.id, _WEIGHING)
        if weight and not weight.complete:
            yield Finding(
                "sizes", State.WARN,
                f"it takes {format_size(weight.used)} and more that could not be counted in time: "
                f"it is not known whether its size, {size}, holds that",
                record.id, "have it remove files, or give it a node whose kernel accounts sizes",
            )  # fmt: skip
        if weight and weight.used > record.limits.size:
            yield Finding(
                "sizes", State.WARN,
                f"it takes {format_size(weight.used)}, its size is {size}, and nothing holds it",
                record.id, "have it free space, or corpus_node.enlarge",
            )  # fmt: skip
        if weight and weight.age > weights.OLD:
            yield Finding(
                "sizes", State.WARN, f"it was weighed {weight.age / 3600:.0f} hours ago",
                record.id, _WEIGHING,
            )  # fmt: skip


def _age(record: Record) -> float:
    """Return the seconds since an environment was made; very many where nobody knows."""
    try:
        return time.time() - datetime.fromisoformat(record.made).timestamp()
    except ValueError:
        return time.time()


def _size(
    node: Node, record: Record, group: str, where: str, found: Usage | None, size: int | None
) -> Iterator[Finding]:
    held = (found.limit or None) if found else None
    if held == size:
        return
    told, said = (format_size(one) if one else "no limit" for one in (held, size))
    what = f"it has {told}, and its record says {said}"
    if found and size and found.used > size:
        mend = f"it uses {format_size(found.used)}: free space in it, or corpus_node.enlarge"
        yield Finding("sizes", State.BAD, what, where, mend)
    else:
        repair = partial(_resize, node, record.id, group)
        yield Finding("sizes", State.BAD, what, where, "it is set anew", repair)


def _resize(node: Node, id: str, group: str) -> None:
    with node.lock(id):
        record, volumes = ready(node, id), pool.volumes(node)
        own = {record.project_group(one.project): one.size for one in record.projects}
        size = {**own, record.group: record.limits.size}.get(group)
        if size is None:
            volumes.unlimit(group)
        else:
            volumes.limit(group, size)


def loop_devices(node: Node) -> Iterator[Finding]:
    """No loop device holds a file of the node's without being mounted."""
    for device, path in _unused(node):
        yield Finding(
            "loop_devices", State.WARN, f"it holds {path}, and nothing has it mounted",
            str(device), "it is let go", partial(_detach, node, device),
        )  # fmt: skip


def _unused(node: Node) -> list[tuple[Path, Path]]:
    settings = node.settings
    places = (settings.prefix, settings.pool / "disks")
    files = [one for place in places for end in ("img", "part") for one in place.glob(f"*.{end}")]
    mounted = {mount.source for mount in loop.parse_mounts(mounts.text())}
    held = [(loops.of(path), path) for path in files if path.is_file()]
    return [(device, path) for device, path in held if device and str(device) not in mounted]


def _detach(node: Node, device: Path) -> None:
    with node.lock():
        if device in [one for one, _ in _unused(node)]:
            node.host.run(loop.detach_loop(str(device)))


def stale_mounts(node: Node) -> Iterator[Finding]:
    """No user namespace of a shared directory is held for an environment that has it no more."""
    held = [path for path in mounts.below(node.settings.lxcpath) if is_id(path.parent.name)]
    for path in held:
        if path not in _shared(node) and not busy(node, path.parent.name):
            yield Finding(
                "mounts", State.WARN, "it is mounted for nobody", str(path), "it is unmounted",
                partial(_unpin, node, path),
            )  # fmt: skip


def _shared(node: Node) -> set[Path]:
    records, lxcpath = node.records.all(), node.settings.lxcpath.resolve()
    names = {record.id: [f"ids-{share.project}" for share in record.shares] for record in records}
    return {lxcpath / id / name for id, found in names.items() for name in found}


def _unpin(node: Node, path: Path) -> None:
    with node.lock(path.parent.name):
        if path not in _shared(node):
            idmap.unpin(path)

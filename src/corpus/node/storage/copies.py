"""Whole copies of an environment's volumes: with every subvolume that its root has made within.

Where the storage can, nothing is read and nothing copied, and the time grows with the number of
subvolumes alone. The source may be written to meanwhile: each subvolume of the copy is as at one
moment, all of them as at the same one where the environment is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from corpus.hosts import nested
from corpus.model.errors import CorpusError
from corpus.node.context import Node
from corpus.node.records import Record
from corpus.node.storage import pool
from corpus.node.storage.volumes import ROOTFS, SRV

_LITTLE = 256 << 20  # bytes
PARTS = (ROOTFS, SRV)
"""The volumes of an environment, below its place."""


def copy(
    node: Node, source: Path, target: Path, group: str, apart: Mapping[bytes, str] = nested.NONE
) -> None:
    """Make the volume ``target`` a copy of ``source``, accounted to ``group``.

    ``apart``: what of the volumes within is accounted to other groups, by paths. Raises
    CommandFailed, Conflict, CorpusError; the caller removes what there is of it then.
    """
    try:
        pool.volumes(node).clone(source, target, group, apart)
    except OSError as error:
        raise _failed(source, error) from None
    except RecursionError:
        raise CorpusError(
            "a volume cannot be copied: subvolumes lie too deep within one another",
            str(source),
            "have the environment remove them: btrfs subvolume list -o",
        ) from None


def put_aside(node: Node, source: Path, target: Path, record: Record) -> None:
    """Copy both volumes of the environment at ``source`` to a place where nothing changes."""
    for part in PARTS:
        copy(node, source / part, target / part, record.group)


def bring_back(node: Node, source: Path, target: Path, record: Record) -> None:
    """Copy both volumes that were put aside to a place where the environment can use them.

    Its projects are accounted, and held to their sizes, as before.
    """
    copy(node, source / ROOTFS, target / ROOTFS, record.group)
    copy(node, source / SRV, target / SRV, record.group, groups(node, record))


def make(node: Node, source: Path, place: Path, record: Record) -> None:
    """Make the place of an environment that is a copy of the one at ``source``.

    Its size is what it may store beyond what it begins with. Raises as ``copy``.
    """
    begin(node, source / ROOTFS, place, record)
    pool.volumes(node).delete(place / SRV)
    copy(node, source / SRV, place / SRV, record.group, groups(node, record))
    for group, size in _sizes(record).items():
        pool.volumes(node).limit(group, size)


def begin(node: Node, root: Path, place: Path, record: Record) -> None:
    """Make the place of an environment whose root is a copy of the volume ``root``, as ``make``.

    What it has at /srv is empty.
    """
    try:
        pool.volumes(node).make(place, record.group, record.limits.size, root)
    except OSError as error:
        raise _failed(root, error) from None


def groups(node: Node, record: Record) -> dict[bytes, str]:
    """Have the quota groups of an environment's projects; return them by paths in its srv."""
    volumes, found = pool.volumes(node), {}
    for one in record.projects if volumes.apart else ():
        group = record.project_group(one.project)
        with node.lock():  # a prune would take a group away that is not in another yet
            volumes.join(group, record.group)
        found[f"projects/{one.project}".encode()] = group
    return found


def _sizes(record: Record) -> dict[str, int]:
    """Return the sizes that the quota groups of an environment's projects have."""
    own = {record.project_group(one.project): one.size for one in record.projects}
    return {group: size for group, size in own.items() if size is not None}


@contextmanager
def room(node: Node, record: Record) -> Iterator[None]:
    """Let an environment and its projects have a little more than their sizes within the block.

    In a full quota group no subvolume can be made, and none removed either.
    """
    volumes = pool.volumes(node)
    if volumes.kind != "quota":  # elsewhere there is room enough for that
        yield
        return
    _limit(node, record, _LITTLE)
    try:
        yield
    finally:
        _limit(node, record)


def settle(node: Node, record: Record) -> None:
    """Hold an environment and its projects to their sizes, where a crash left them with more."""
    if pool.volumes(node).kind == "quota":
        _limit(node, record)


def _limit(node: Node, record: Record, more: int = 0) -> None:
    for group, size in {record.group: record.limits.size, **_sizes(record)}.items():
        pool.volumes(node).limit(group, size + more)


def delete(node: Node, folder: Path) -> None:
    """Remove a directory that holds volumes, and them; fine when it is absent."""
    pool.volumes(node).delete(folder)


def _failed(source: Path, error: OSError) -> CorpusError:
    return CorpusError(
        f"a volume cannot be copied: {error.strerror or error}",
        str(source),
        "where it is full, enlarge the environment first",
    )

"""Whole copies of an environment's volumes: with every subvolume that its root has made within.

Where the storage can, nothing is read and nothing copied, and the time grows with the number of
subvolumes alone. The source may be written to meanwhile: each subvolume of the copy is as at one
moment, all of them as at the same one where the environment is frozen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpus.hosts import nested, subvolumes
from corpus.model.errors import CorpusError
from corpus.node.context import Node
from corpus.node.storage import pool
from corpus.node.storage.volumes import ROOTFS, SRV

_LITTLE = 256 << 20  # bytes
PARTS = (ROOTFS, SRV)
"""The volumes of an environment, below its place."""


def copy(node: Node, source: Path, target: Path, group: str) -> None:
    """Make the volume ``target`` a copy of ``source``, accounted to ``group``.

    Raises CommandFailed, Conflict, CorpusError; the caller removes what there is of it then.
    """
    try:
        pool.volumes(node).clone(source, target, group)
        if subvolumes.is_subvolume(source) and subvolumes.is_subvolume(target):
            nested.fill(source, target)
    except OSError as error:
        raise _failed(source, error) from None


def copy_parts(node: Node, source: Path, target: Path, group: str) -> None:
    """Copy both volumes of the environment whose place, or snapshot, is ``source``."""
    for part in PARTS:
        copy(node, source / part, target / part, group)


def make(node: Node, source: Path, place: Path, group: str, size: int) -> None:
    """Make the place of an environment that is a copy of the one at ``source``.

    ``size`` in bytes is what it may store beyond what it begins with. Raises as ``copy``.
    """
    begin(node, source / ROOTFS, place, group, size)
    pool.volumes(node).delete(place / SRV)
    copy(node, source / SRV, place / SRV, group)


def begin(node: Node, root: Path, place: Path, group: str, size: int) -> None:
    """Make the place of an environment whose root is a copy of the volume ``root``, as ``make``.

    What it has at /srv is empty.
    """
    try:
        pool.volumes(node).make(place, group, size, root)
        if subvolumes.is_subvolume(root) and subvolumes.is_subvolume(place / ROOTFS):
            nested.fill(root, place / ROOTFS)
    except OSError as error:
        raise _failed(root, error) from None


@contextmanager
def room(node: Node, group: str, size: int) -> Iterator[None]:
    """Let an environment of ``size`` bytes have a little more within the block.

    In a full quota group no subvolume can be made, and none removed either.
    """
    volumes = pool.volumes(node)
    if volumes.kind != "quota":  # elsewhere there is room enough for that
        yield
        return
    volumes.limit(group, size + _LITTLE)
    try:
        yield
    finally:
        volumes.limit(group, size)


def delete(node: Node, folder: Path) -> None:
    """Remove a directory that holds volumes, and them; fine when it is absent."""
    pool.volumes(node).delete(folder)


def _failed(source: Path, error: OSError) -> CorpusError:
    return CorpusError(
        f"a volume cannot be copied: {error.strerror or error}",
        str(source),
        "where it is full, enlarge the environment first",
    )

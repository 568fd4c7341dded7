"""Disks that hold an image already: what the disks of new environments begin as.

``pool/templates/IMAGE.img``, and ``IMAGE.mixed.img`` for small ones, are made when the first
environment needs them; the image is compressed in them. A copy takes the bytes that are in it, or
at first none where the filesystem beneath can share them (btrfs, XFS).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from corpus.commands import btrfs, copying, loop
from corpus.hosts import kernel, loops, mounts
from corpus.node.context import Node

LEAST = 256 << 20  # the kernel's least size of a btrfs that is to shrink
SMALL = 4 << 30  # up to here data and metadata share their room: none of it is lost to either
_FREE = 64 << 20  # bytes that are free in a template: what writing the image takes for itself
_SECTOR = 4096


def rounded(size: int) -> int:
    """Return the size in bytes that a disk can have which shall have ``size``."""
    return max(LEAST, -(-size // _SECTOR) * _SECTOR)


def copy(
    node: Node, image: Path, target: Path, fill: Callable[[Path], None], *, small: bool
) -> None:
    """Make the file ``target`` a disk that holds ``image``: a filesystem with an id of its own.

    ``fill`` puts the image into an empty one that is mounted at the path which it is given.
    """
    source = _have(node, image, fill, small=small)
    loops.make_file(target, 0)
    node.host.run(copying.sparse_file(source, target))
    node.host.run(loop.own_id(target))  # the kernel takes two of one id for one


def _have(node: Node, image: Path, fill: Callable[[Path], None], *, small: bool) -> Path:
    folder = node.settings.pool / "templates"
    found = folder / f"{image.name}{'.mixed' if small else ''}.img"
    with node.lock("templates"):
        if not found.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
            _tidy(node, folder)
            _make(node, image, found, fill, small=small)
    return found


def _tidy(node: Node, folder: Path) -> None:
    """Remove what a crash left, and what was made of images that are gone."""
    mounted = folder / "mounted"
    if mounts.is_point(mounted):
        kernel.unmount(mounted)
    for path in [*folder.glob("*.img"), *folder.glob("*.part")]:
        image = path.name.removesuffix(path.suffix).removesuffix(".mixed")
        if path.suffix == ".part" or not (node.settings.images / image).exists():
            path.unlink()


def _make(
    node: Node, image: Path, target: Path, fill: Callable[[Path], None], *, small: bool
) -> None:
    part, mounted = target.with_suffix(".part"), target.with_name("mounted")
    room = int(node.host.run(copying.weigh(image)).out.split()[0])
    size = rounded(room + room // 8 + _FREE)
    loops.make_file(part, size if small else max(SMALL, size))
    node.host.run(loop.make_btrfs(part, image.name, mixed=small))
    mounted.mkdir(mode=0o700, exist_ok=True)
    with loops.attached(part) as device:
        node.host.run(btrfs.mount(device, mounted, compress=True))
    try:
        fill(mounted)
    finally:
        node.host.run(loop.unmount(mounted))
    part.rename(target)

"""What the pool lies on: a file of the node, a partition, a btrfs that is mounted there already."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from corpus.commands import btrfs, loop
from corpus.hosts import loops, mounts, subvolumes
from corpus.model.errors import CommandFailed, Conflict, InvalidInput, NotFound, Unsupported
from corpus.model.size import parse_size
from corpus.node.context import Node
from corpus.node.settings import Settings
from corpus.node.storage import kinds

_SECTOR = 512


@dataclass(frozen=True)
class Ground:
    """``kind`` is ``file``, ``device``, ``btrfs`` (given by the machine) or ``directory``.

    ``source`` is the file, the device, or the directory.
    """

    kind: str
    source: Path
    device: Path | None = None


def file(settings: Settings) -> Path:
    """Return the file that holds the pool, if one does."""
    return settings.prefix / "pool.img"


def attach(node: Node) -> None:
    """Mount what the pool lies on, making the filesystem of an empty device; fine when it is.

    Raises InvalidInput, Unsupported, Conflict, CommandFailed (the device holds something else).
    """
    settings = node.settings
    if mounts.is_point(settings.pool):
        return
    if settings.pool_device:
        device = Path(settings.pool_device)
        if not device.exists() or not stat.S_ISBLK(device.stat().st_mode):
            raise InvalidInput(
                f"pool_device is no block device: {device}", mend="name a partition or a disk"
            )
        if node.host.run(btrfs.probe(device), check=False).out.strip() != "btrfs":
            _check_new(node)
            node.host.run(btrfs.make(device))  # refuses where anything is on it
        node.host.run(btrfs.mount(device, settings.pool))
    elif file(settings).exists():
        _mount_file(node)


def make_file(node: Node) -> None:
    """Make a file with a btrfs in it and mount that at the pool. Raises Unsupported, Conflict."""
    image = file(node.settings)
    try:
        if not image.exists():
            _check_new(node)
            part = image.with_suffix(".part")
            loops.make_file(part, parse_size(node.settings.pool_size))
            node.host.run(btrfs.make(part))
            part.rename(image)
        _mount_file(node)
    except (OSError, CommandFailed, Unsupported) as error:
        raise Unsupported(
            f"no btrfs pool can be made in a file: {error}",
            str(image),
            "mount a btrfs filesystem at the pool, name a partition (pool_device), or set "
            'storage = "plain" in /etc/corpus/node.toml (copies instead of snapshots, sizes not '
            "enforced)",
        ) from None


def check(node: Node, kind: str) -> None:
    """Raise Conflict where ``attach`` and a pool of this kind would take a pool's place."""
    pool = node.settings.pool
    if mounts.is_point(pool) or not (node.settings.pool_device or file(node.settings).exists()):
        check_there(node)
        if kind == "quota" and not mounts.is_point(pool):
            _check_new(node)


def check_there(node: Node) -> None:
    """Raise Conflict where there are environments, and at the pool is not what they lie in."""
    if not kinds.is_empty(node) and not (node.settings.pool / "env").is_dir():
        raise _absent(node)


def _check_new(node: Node) -> None:
    """Raise Conflict where a new filesystem would be made though there is a pool, or hide one."""
    if not kinds.is_empty(node):
        raise _absent(node)
    pool = node.settings.pool
    if kinds.remembered(node) is None and pool.is_dir() and any(pool.iterdir()):
        raise Conflict(
            "a pool would be mounted over what is there already",
            str(pool),
            'move that away, or set storage = "plain" in /etc/corpus/node.toml',
        )


def _absent(node: Node) -> Conflict:
    return Conflict(
        "this node has environments, and what they lie in is not mounted at the pool",
        str(node.settings.pool),
        "mount it there (see /etc/fstab and the setting pool_device) and call this again; where it "
        "is gone for good, corpus_node.destroy each of them first",
    )


def _mount_file(node: Node) -> None:
    with loops.attached(file(node.settings)) as device:
        node.host.run(btrfs.mount(device, node.settings.pool))


def of(node: Node) -> Ground:
    """Return what the pool lies on. Raises NotFound where there is none yet."""
    pool, image = node.settings.pool, file(node.settings)
    if not pool.exists():
        raise NotFound("this node has no pool yet", str(pool), "call corpus_node.prepare")
    if not subvolumes.is_btrfs(pool):
        return Ground("directory", pool)
    above = [m for m in loop.parse_mounts(mounts.text()) if pool.resolve().is_relative_to(m.target)]
    device = Path(sorted(above, key=lambda mount: len(mount.target))[-1].source)
    if node.settings.pool_device:
        return Ground("device", Path(node.settings.pool_device), device)
    if image.exists() and loops.backing(device) == (image.stat().st_dev, image.stat().st_ino):
        return Ground("file", image, device)
    return Ground("btrfs", device, device)


def size(ground: Ground) -> int:
    """Return the bytes that there are for the filesystem: of the file, or of the device."""
    if ground.kind == "file":
        return ground.source.stat().st_size
    device = Path("/sys/class/block", ground.source.resolve().name, "size")
    return int(device.read_text()) * _SECTOR

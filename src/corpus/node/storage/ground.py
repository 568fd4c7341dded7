"""What the pool lies on: a file of the node, a partition, a btrfs that is mounted there already."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from corpus.commands import btrfs, loop
from corpus.hosts import guests, loops, mounts, subvolumes
from corpus.model.errors import CommandFailed, Conflict, InvalidInput, NotFound, Unsupported
from corpus.model.size import format_size, parse_size
from corpus.node.context import Node
from corpus.node.settings import Settings
from corpus.node.storage import kinds

RESERVE = 1 << 30  # bytes of the disk beneath that a pool in a file leaves
ANEW = (
    "make room on the disk beneath where that is full (the kernel's log says why), then: systemctl "
    "restart corpus-node.service, which stops all environments meanwhile"
)
"""How a filesystem that failed is mounted anew."""
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

    One that failed is mounted anew, where no guest runs. Raises InvalidInput, Unsupported,
    Conflict, CommandFailed (the device holds something else).
    """
    settings = node.settings
    if mounts.is_point(settings.pool):
        if not failed(node):
            return
        _let_go(node)
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
            _check_room(node)
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
            _check_room(node)


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


def _check_room(node: Node) -> None:
    """Raise Conflict where the disk beneath has not what a pool in a file may take."""
    size, free = parse_size(node.settings.pool_size), room(file(node.settings))
    if size > free:
        fits = f"{free >> 30}G" if free >> 30 else f"{free >> 20}M"
        raise Conflict(
            f"a pool of {format_size(size)} would fail once it fills: the disk beneath has "
            f"{format_size(free)} for it, and keeps {format_size(RESERVE)}",
            str(file(node.settings)),
            f'make room there, set pool_size = "{fits}" or less in /etc/corpus/node.toml, or name '
            "a partition (pool_device)",
        )


def room(image: Path) -> int:
    """Return the bytes that the disk beneath a file has for it."""
    return max(0, shutil.disk_usage(image.parent).free - RESERVE)


def promised(image: Path) -> int:
    """Return the bytes that a sparse file may still take."""
    status = image.stat()
    return max(0, status.st_size - status.st_blocks * _SECTOR)


def lacking(node: Node) -> int:
    """Return the bytes that a pool in a file may still take and the disk beneath does not have."""
    image = file(node.settings)
    if not image.exists() or of(node).kind != "file":
        return 0
    return max(0, promised(image) - room(image))


def failed(node: Node) -> bool:
    """Tell whether the node's own filesystem at the pool failed: the kernel lets nobody write."""
    read_only = os.statvfs(node.settings.pool).f_flag & os.ST_RDONLY
    return bool(read_only) and of(node).kind in ("file", "device")


def _let_go(node: Node) -> None:
    """Unmount a pool that failed. Raises Conflict where a guest runs, CommandFailed."""
    settings = node.settings
    states = {r.name: guests.state(node.host, settings.lxcpath, r.id) for r in node.records.all()}
    if running := [name for name, found in states.items() if found[0] != "STOPPED"]:
        raise Conflict(
            "the filesystem of the pool failed: it is read-only now",
            str(settings.pool),
            f"{ANEW}; these run: {', '.join(running)}",
        )
    node.host.run(loop.unmount(settings.pool))
    loops.wait(file(settings))  # else the failed one is what is mounted again


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

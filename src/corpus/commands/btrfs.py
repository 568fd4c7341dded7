"""Btrfs: filesystems, subvolumes with the quota group that accounts them, streams, scrubs.

Paths of subvolumes are those of the pool; a quota group is written ``LEVEL/NUMBER``
(btrfs-qgroup(8)).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

MOUNT_OPTIONS = "noatime,user_subvol_rm_allowed,discard=async"


@dataclass(frozen=True)
class Usage:
    """Bytes accounted to a quota group, and its limit (None: no limit)."""

    used: int
    limit: int | None


def make(image: PurePath) -> list[str]:
    """Return the command that makes a filesystem in the file ``image``."""
    return ["mkfs.btrfs", "--quiet", "--label", "corpus", str(image)]


def probe(device: PurePath) -> list[str]:
    """Return the command that prints the type of what is on a block device, if anything is."""
    return ["blkid", "--probe", "--match-tag=TYPE", "--output=value", str(device)]


def mount(
    source: PurePath, target: PurePath, *, file: bool = False, compress: bool = False
) -> list[str]:
    """Return the command that mounts a block device, or the ``file`` of a pool.

    With ``compress`` what is written while it is mounted so is smaller, and stays it.
    """
    options = ("loop," if file else "") + MOUNT_OPTIONS + (",compress=zstd" if compress else "")
    return ["mount", "-t", "btrfs", "-o", options, str(source), str(target)]


def create(path: PurePath, group: str | None = None) -> list[str]:
    """Return the command that makes an empty subvolume, accounted to ``group``."""
    return ["btrfs", "subvolume", "create", *(["-i", group] if group else []), str(path)]


def resize(target: PurePath, size: int | None) -> list[str]:
    """Return the command that resizes a mounted btrfs to ``size`` bytes; None: its device's."""
    wanted = "max" if size is None else str(size)
    return ["btrfs", "filesystem", "resize", wanted, str(target)]


def send(snapshot: PurePath, parent: PurePath | None = None) -> list[str]:
    """Return the command that prints a read-only subvolume as a stream: all of it, or what
    ``parent``, which the other side has too, lacks of it."""
    return ["btrfs", "--quiet", "send", *(["-p", str(parent)] if parent else []), str(snapshot)]


def receive(folder: PurePath) -> list[str]:
    """Return the command that makes the subvolume of a stream within ``folder``."""
    return ["btrfs", "--quiet", "receive", str(folder)]


def scrub_start(target: PurePath) -> list[str]:
    """Return the command that begins to read and verify all of a btrfs, in the background."""
    return ["btrfs", "scrub", "start", str(target)]


def scrub_status(target: PurePath) -> list[str]:
    """Return the command that tells of the last scrub, or the one that runs."""
    return ["btrfs", "scrub", "status", "-R", str(target)]


def parse_scrub(text: str) -> dict[str, str | int] | None:
    """Return status, start and error counters that it printed; None where there was none."""
    found: dict[str, str | int] = {}
    for line in text.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "Status":
            found["status"] = value
        elif name == "Scrub started":
            found["started"] = value
        elif name.endswith("_errors"):
            found[name] = int(value)
    return found if "status" in found else None


def space(pool: PurePath) -> list[str]:
    """Return the command that prints the pool's size and free space in bytes."""
    return ["df", "--block-size=1", "--output=size,avail", str(pool)]


def parse_space(text: str) -> tuple[int, int]:
    """Return (size, free) in bytes from the output of ``space``."""
    size, free = text.splitlines()[-1].split()
    return int(size), int(free)

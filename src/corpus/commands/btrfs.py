"""Btrfs: subvolumes with the quota group that accounts them, limits, and what is used.

Paths of subvolumes are those of the pool; a quota group is written ``LEVEL/NUMBER``
(btrfs-qgroup(8)). Limits are set by the group's id on the pool's root: by path the command
fails with EDQUOT when the subvolume is full.
"""

from __future__ import annotations

import re
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


def mount(image: PurePath, target: PurePath) -> list[str]:
    """Return the command that mounts the pool file ``image``."""
    return ["mount", "-t", "btrfs", "-o", f"loop,{MOUNT_OPTIONS}", str(image), str(target)]


def create(path: PurePath, group: str | None = None) -> list[str]:
    """Return the command that makes an empty subvolume, accounted to ``group``."""
    return ["btrfs", "subvolume", "create", *(["-i", group] if group else []), str(path)]


def snapshot(source: PurePath, target: PurePath, group: str | None = None) -> list[str]:
    """Return the command that clones ``source``, accounted to ``group``."""
    inherit = ["-i", group] if group else []
    return ["btrfs", "subvolume", "snapshot", *inherit, str(source), str(target)]


def group_create(pool: PurePath, group: str) -> list[str]:
    """Return the command that makes a quota group."""
    return ["btrfs", "qgroup", "create", group, str(pool)]


def group_limit(pool: PurePath, group: str, size: int | None) -> list[str]:
    """Return the command that limits a quota group to ``size`` bytes; None: no limit."""
    return ["btrfs", "qgroup", "limit", "none" if size is None else str(size), group, str(pool)]


def group_destroy(pool: PurePath, group: str) -> list[str]:
    """Return the command that removes a quota group; it fails while the group has members."""
    return ["btrfs", "qgroup", "destroy", group, str(pool)]


def groups(pool: PurePath) -> list[str]:
    """Return the command that prints all quota groups in bytes."""
    return ["btrfs", "qgroup", "show", "--raw", "-r", str(pool)]


def parse_groups(text: str) -> dict[str, Usage]:
    """Return the quota groups that ``btrfs qgroup show --raw -r`` printed."""
    found: dict[str, Usage] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4 and re.fullmatch(r"\d+/\d+", fields[0]):
            limit = None if fields[3] == "none" else int(fields[3])
            found[fields[0]] = Usage(int(fields[1]), limit)
    return found


def space(pool: PurePath) -> list[str]:
    """Return the command that prints the pool's size and free space in bytes."""
    return ["df", "--block-size=1", "--output=size,avail", str(pool)]


def parse_space(text: str) -> tuple[int, int]:
    """Return (size, free) in bytes from the output of ``space``."""
    size, free = text.splitlines()[-1].split()
    return int(size), int(free)

"""What a btrfs quota group uses at this moment, as the kernel tells it in /sys/fs/btrfs.

Unlike ``btrfs qgroup show`` this reads one group, takes no process, and counts data that is
written and not yet on the disk. Source: the kernel's fs/btrfs/sysfs.c; BTRFS_IOC_FS_INFO
(0x8400941f) in include/uapi/linux/btrfs.h.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from corpus.commands.btrfs import Usage

_FS_INFO = 0x8400941F


def filesystem(path: Path) -> str:
    """Return the id of the btrfs filesystem at ``path``. Raises OSError where it is none."""
    argument = bytearray(1024)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _FS_INFO, argument)
    finally:
        os.close(handle)
    return str(UUID(bytes=bytes(argument[16:32])))


def mode(pool: Path, sysfs: Path = Path("/sys/fs/btrfs")) -> str:
    """Return ``squota``, or ``qgroup`` where quotas are the classic ones; empty where off."""
    try:
        return (sysfs / filesystem(pool) / "qgroups/mode").read_text().strip()
    except OSError:
        return ""


def usage(pool: Path, group: str, sysfs: Path = Path("/sys/fs/btrfs")) -> Usage | None:
    """Return bytes used and limit of a group such as ``2/77``; None where there is no such."""
    try:
        folder = sysfs / filesystem(pool) / "qgroups" / group.replace("/", "_")
        # What is reserved for metadata is left out: a guess far too high, given back when needed.
        used = _number(folder / "referenced") + _number(folder / "rsv_data")
        limited = _number(folder / "limit_flags") & 1
        return Usage(used, _number(folder / "max_referenced") if limited else None)
    except OSError:
        return None


def exists(pool: Path, group: str, sysfs: Path = Path("/sys/fs/btrfs")) -> bool:
    """Tell whether there is such a group. Raises OSError where ``pool`` is no btrfs."""
    return (sysfs / filesystem(pool) / "qgroups" / group.replace("/", "_")).is_dir()


def written(pool: Path, ids: Iterable[int], sysfs: Path = Path("/sys/fs/btrfs")) -> dict[int, int]:
    """Return the bytes that each of these subvolumes has written, where they are still held.

    Held by itself or by a copy of it; those that have no group are left out. Raises OSError
    where ``pool`` is no btrfs.
    """
    folder, found = sysfs / filesystem(pool) / "qgroups", {}
    for id in ids:
        with suppress(OSError):
            place = folder / f"0_{id}"
            found[id] = _number(place / "referenced") + _number(place / "rsv_data")
    return found


def _number(path: Path) -> int:
    return int(path.read_text(), 0)

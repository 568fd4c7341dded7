"""What a btrfs quota group uses at this moment, as the kernel tells it in /sys/fs/btrfs.

Unlike ``btrfs qgroup show`` this takes no process, counts data that is written and not yet on the
disk, and knows no names: a guest's root can give its subvolumes such as look like lines of that.
Source: the kernel's fs/btrfs/sysfs.c; BTRFS_IOC_FS_INFO (0x8400941f) in include/uapi/linux/btrfs.h.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from corpus.commands.btrfs import Usage

_FS_INFO = 0x8400941F
_GROUP = re.compile(r"(\d+)_(\d+)")


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
        folder = f"{sysfs}/{filesystem(pool)}/qgroups/{group.replace('/', '_')}"
        limited = _number(f"{folder}/limit_flags") & 1
        return Usage(_used(folder), _number(f"{folder}/max_referenced") if limited else None)
    except OSError:
        return None


def groups(pool: Path, sysfs: Path = Path("/sys/fs/btrfs")) -> list[str]:
    """Return all groups that there are; none where there are no quotas."""
    try:
        names = [path.name for path in (sysfs / filesystem(pool) / "qgroups").iterdir()]
    except OSError:
        return []
    return [f"{found[1]}/{found[2]}" for name in names if (found := _GROUP.fullmatch(name))]


def exists(pool: Path, group: str, sysfs: Path = Path("/sys/fs/btrfs")) -> bool:
    """Tell whether there is such a group. Raises OSError where ``pool`` is no btrfs."""
    return (sysfs / filesystem(pool) / "qgroups" / group.replace("/", "_")).is_dir()


def written(pool: Path, ids: Iterable[int], sysfs: Path = Path("/sys/fs/btrfs")) -> dict[int, int]:
    """Return the bytes that each of these subvolumes has written, where they are still held.

    Held by itself or by a copy of it; those that have no group are left out. Raises OSError
    where ``pool`` is no btrfs.
    """
    folder, found = f"{sysfs}/{filesystem(pool)}/qgroups", {}
    for id in ids:
        with suppress(OSError):
            found[id] = _used(f"{folder}/0_{id}")
    return found


def _used(folder: str) -> int:
    # What is reserved for metadata is left out: a guess far too high, given back when needed.
    return _number(f"{folder}/referenced") + _number(f"{folder}/rsv_data")


def _number(path: str) -> int:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # there are thousands: no file object
    try:
        return int(os.read(handle, 64), 0)
    finally:
        os.close(handle)

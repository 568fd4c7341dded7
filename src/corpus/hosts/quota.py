"""Quota groups of a btrfs, written ``LEVEL/NUMBER``: what they use, and changes of them.

Unlike ``btrfs qgroup show``, reading /sys/fs/btrfs counts data that is written and not yet on the
disk, and knows no names: a guest's root can give its subvolumes such as look like lines of that.
No process is taken: there may be thousands. Source: the kernel's fs/btrfs/sysfs.c, and
include/uapi/linux/btrfs.h (FS_INFO 0x8400941f, QGROUP_ASSIGN 0x40189429, QGROUP_CREATE 0x4010942a,
QGROUP_LIMIT 0x8030942b).
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from corpus.commands.btrfs import Usage
from corpus.hosts import subvolumes
from corpus.hosts.subvolumes import group_number

_FS_INFO = 0x8400941F
_ASSIGN, _CREATE, _LIMIT = 0x40189429, 0x4010942A, 0x8030942B
_REFERENCED = 1  # which limit it is
_NO_LIMIT = (1 << 64) - 1
_GROUP = re.compile(r"(\d+)_(\d+)")


def make(pool: Path, group: str) -> None:
    """Make a group. Raises OSError, FileExistsError where there is one."""
    subvolumes.call(pool, _CREATE, bytearray(struct.pack("<2Q", 1, group_number(group))))


def remove(pool: Path, group: str) -> None:
    """Remove a group. Raises OSError: it has members, or the kernel cleans up its data."""
    subvolumes.call(pool, _CREATE, bytearray(struct.pack("<2Q", 0, group_number(group))))


def assign(pool: Path, group: str, parent: str) -> None:
    """Put a group into another one of a higher level. Raises OSError.

    Simple quotas count from then on: the group must be empty.
    """
    subvolumes.call(
        pool, _ASSIGN, bytearray(struct.pack("<3Q", 1, group_number(group), group_number(parent)))
    )


def limit(pool: Path, group: str, size: int | None) -> None:
    """Limit a group to ``size`` bytes; None: no limit. Raises OSError.

    It is asked of the pool's root: in a full subvolume it would fail.
    """
    most = _NO_LIMIT if size is None else size
    argument = struct.pack("<6Q", group_number(group), _REFERENCED, most, 0, 0, 0)
    subvolumes.call(pool, _LIMIT, bytearray(argument))


def filesystem(path: Path) -> str:
    """Return the id of the btrfs filesystem at ``path``. Raises OSError where it is none."""
    argument = bytearray(1024)
    subvolumes.call(path, _FS_INFO, argument)
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

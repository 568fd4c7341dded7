"""Btrfs subvolumes by ioctl, so that a guest needs no btrfs-progs.

Source: the kernel's include/uapi/linux/btrfs.h (BTRFS_IOC_SNAP_CREATE 0x50009401,
SUBVOL_CREATE 0x5000940e, SNAP_DESTROY 0x5000940f, SNAP_CREATE_V2 0x50009417,
SUBVOL_CREATE_V2 0x50009418, QUOTA_CTL 0xc0109428, GET_SUBVOL_ROOTREF 0xd000943d,
SUBVOL_GETFLAGS 0x80089419, SUBVOL_SETFLAGS 0x4008941a).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from corpus.model.errors import Unsupported

_SNAP_CREATE = 0x50009401
_SUBVOL_CREATE = 0x5000940E
_SUBVOL_CREATE_V2 = 0x50009418
_SNAP_DESTROY = 0x5000940F
_SNAP_CREATE_V2 = 0x50009417
_GET_SUBVOL_ROOTREF = 0xD000943D
_QUOTA_CTL = 0xC0109428
_QUOTA_ENABLE_SIMPLE = 4
_SUBVOL_GETFLAGS = 0x80089419
_SUBVOL_SETFLAGS = 0x4008941A
_READ_ONLY, _INHERIT = 2, 4  # flags of a subvolume, and of the calls that name quota groups
_SUBVOLUME_INODE = 256


def is_btrfs(path: Path) -> bool:
    """Tell whether ``path`` lies on btrfs, by what its mount says."""
    device = path.stat().st_dev
    best = ("", "")
    resolved = str(path.resolve())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split(" ")
        point, kind = fields[4].replace("\\040", " "), fields[fields.index("-") + 1]
        inside = resolved == point or resolved.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, kind)
    return device != 0 and best[1] == "btrfs"


def is_subvolume(path: Path) -> bool:
    """Tell whether ``path`` is the root of a btrfs subvolume."""
    return (
        path.is_dir()
        and not path.is_symlink()
        and path.stat().st_ino == _SUBVOLUME_INODE
        and is_btrfs(path)
    )


def is_root(handle: int) -> bool:
    """Tell the same of an open directory that is known to lie on btrfs."""
    return os.fstat(handle).st_ino == _SUBVOLUME_INODE


def call(folder: Path, request: int, argument: bytearray) -> None:
    """Ask btrfs for something of a directory, in place in ``argument``. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, request, argument)
    finally:
        os.close(handle)


def create(path: Path) -> None:
    """Make an empty subvolume at ``path``. Raises Unsupported where it is no btrfs."""
    name = os.fsencode(path.name)
    try:
        call(path.parent, _SUBVOL_CREATE, bytearray(struct.pack("<q4088s", 0, name)))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP):
            raise Unsupported(f"no btrfs at {path.parent}", mend="use the plain way") from None
        raise


def group_number(group: str) -> int:
    """Return a quota group, written ``LEVEL/NUMBER``, as the kernel numbers it."""
    level, _, number = group.partition("/")
    return int(level) << 48 | int(number)


@contextmanager
def _inheriting(source: int, name: str, group: str) -> Iterator[bytearray]:
    """Yield the argument of the calls that name a quota group; it points to memory kept so long."""
    # struct btrfs_qgroup_inherit: one group, no limits
    inherit = struct.pack("<10Q", 0, 1, *[0] * 7, group_number(group))
    buffer = ctypes.create_string_buffer(inherit, len(inherit))
    place = ctypes.addressof(buffer)
    argument = (source, 0, _INHERIT, len(inherit), place, os.fsencode(name))
    yield bytearray(struct.pack("<qQQQQ16x4040s", *argument))


def create_in(folder: int, name: str, group: str) -> None:
    """Make an empty subvolume in the open directory ``folder``, accounted to ``group`` alone."""
    with _inheriting(0, name, group) as argument:
        fcntl.ioctl(folder, _SUBVOL_CREATE_V2, argument)


def snapshot(source: Path, target: Path, group: str | None = None) -> None:
    """Make ``target`` a writable snapshot of the subvolume ``source``: no bytes are copied.

    It is accounted to the quota group ``group``, such as ``2/77``, by default as its place is: by
    the older of two calls, since guests may not make the newer one (corpus.commands.seccomp).
    """
    handle = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if group is None:
            argument = struct.pack("<q4088s", handle, os.fsencode(target.name))
            call(target.parent, _SNAP_CREATE, bytearray(argument))
            return
        with _inheriting(handle, target.name, group) as naming:
            call(target.parent, _SNAP_CREATE_V2, naming)
    finally:
        os.close(handle)


def set_read_only(path: Path, wanted: bool) -> None:
    """Let nobody change what is in a subvolume, root neither; or let them again."""
    flags = bytearray(8)
    call(path, _SUBVOL_GETFLAGS, flags)
    old = int.from_bytes(flags, "little")
    new = old | _READ_ONLY if wanted else old & ~_READ_ONLY
    if new != old:
        call(path, _SUBVOL_SETFLAGS, bytearray(new.to_bytes(8, "little")))


def delete(path: Path) -> None:
    """Remove the subvolume ``path`` with all that it holds, without walking it when it can.

    Only where the kernel says that other subvolumes lie within are those sought and removed.
    """
    waiting, emptied = [path], set[Path]()
    while waiting:  # and not by calling itself: they may lie in one another a thousand times
        one = waiting[-1]
        argument = struct.pack("<q4088s", 0, os.fsencode(one.name))
        try:
            call(one.parent, _SNAP_DESTROY, bytearray(argument))
            waiting.pop()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EROFS) or one in emptied:
                raise
            emptied.add(one)
            set_read_only(one, False)
            waiting += nested(one)


def destroy(folder: int, name: bytes) -> bool:
    """Remove the subvolume ``name`` of the open directory ``folder``, with all its files.

    False where other subvolumes lie within it, or where it or its place is read-only.
    """
    try:
        fcntl.ioctl(folder, _SNAP_DESTROY, bytearray(struct.pack("<q4088s", 0, name)))
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EROFS):
            raise
        return False
    return True


def children(path: Path) -> int:
    """Return how many subvolumes lie within the subvolume ``path`` (255 at the most).

    A snapshot does not hold them: it has empty directories in their place.
    """
    argument = bytearray(4096)
    try:
        call(path, _GET_SUBVOL_ROOTREF, argument)
    except OSError as error:
        if error.errno != errno.EOVERFLOW:  # more than fit
            raise
    return argument[8 + 255 * 16]


def nested(path: Path) -> list[Path]:
    """Return the subvolumes right within the directory ``path``, by walking it."""
    found: list[Path] = []
    waiting = [os.fspath(path)]
    while waiting:  # os.walk() calls itself for each level, of which there may be thousands
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    continue
                # What scandir read is the inode of the directory that is beneath, for a subvolume.
                if entry.stat(follow_symlinks=False).st_ino == _SUBVOLUME_INODE:
                    found.append(Path(entry.path))
                else:
                    waiting.append(entry.path)
    return found


def enable_simple_quotas(pool: Path) -> None:
    """Turn simple quotas on for the pool (kernel 6.7); raises Unsupported on an older one."""
    try:
        call(pool, _QUOTA_CTL, bytearray(struct.pack("<QQ", _QUOTA_ENABLE_SIMPLE, 0)))
    except OSError as error:
        if error.errno == errno.EEXIST:
            return
        raise Unsupported(
            f"this kernel ({os.uname().release}) has no btrfs simple quotas: {error.strerror}",
            where=str(pool),
            mend="boot a kernel of 6.7 or later; until then sizes are not enforced (soft limits)",
        ) from None

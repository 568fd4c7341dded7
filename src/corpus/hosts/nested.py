"""Subvolumes within subvolumes: a snapshot leaves them out, a whole copy must not.

They are found by the kernel's own references and not by walking. Source: the kernel's
include/uapi/linux/btrfs.h (INO_LOOKUP 0xd0009412, SUBVOL_GETFLAGS 0x80089419, GET_SUBVOL_ROOTREF
0xd000943d, INO_LOOKUP_USER 0xd000943e).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from uuid import uuid4

from corpus.hosts import beneath, subvolume_names, subvolumes
from corpus.model.errors import Conflict

_INO_LOOKUP = 0xD0009412
_GET_FLAGS = 0x80089419
_GET_SUBVOL_ROOTREF = 0xD000943D
_INO_LOOKUP_USER = 0xD000943E
_READ_ONLY = 2
_TOP = 256  # the inode of a subvolume's root directory
_PLACEHOLDER = 2  # the inode of the empty directory that a snapshot has in place of a subvolume
_MOST = 255  # references that one call returns
_NAME = 256  # bytes of a name, with its end
NONE: Mapping[bytes, str] = MappingProxyType({})


class Inner(NamedTuple):
    """A subvolume within another one: its number, and where it lies there."""

    id: int
    path: bytes


def inner(subvolume: int) -> list[Inner]:
    """Return the subvolumes that lie directly within one (a descriptor). Raises OSError."""
    found: list[Inner] = []
    least = 0
    while True:
        argument = bytearray(4096)
        struct.pack_into("<Q", argument, 0, least)
        more = False
        try:
            fcntl.ioctl(subvolume, _GET_SUBVOL_ROOTREF, argument)
        except OSError as error:
            if error.errno != errno.EOVERFLOW:
                raise
            more = True
        count = argument[8 + _MOST * 16]
        for number in range(count):
            id, folder = struct.unpack_from("<QQ", argument, 8 + number * 16)
            path = _path(subvolume, id, folder)
            if path is not None:
                found.append(Inner(id, path))
            least = id + 1
        if not more:
            return sorted(found, key=lambda one: one.path)


def _path(subvolume: int, id: int, folder: int) -> bytes | None:
    argument = bytearray(4096)
    struct.pack_into("<QQ", argument, 0, folder, id)
    try:
        fcntl.ioctl(subvolume, _INO_LOOKUP_USER, argument)
    except FileNotFoundError:  # removed just now
        return None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # its path has no room in the answer
            raise
        return _long_path(subvolume, id, folder)
    name = bytes(argument[16 : 16 + _NAME]).partition(b"\0")[0]
    place = bytes(argument[16 + _NAME :]).partition(b"\0")[0]
    return place + name


def _long_path(subvolume: int, id: int, folder: int) -> bytes | None:
    own = subvolume_names.number(subvolume)
    name = subvolume_names.name(subvolume, own, id)
    place = subvolume_names.place(subvolume, own, folder)
    return None if name is None or place is None else place + name


def is_read_only(subvolume: int) -> bool:
    """Tell whether a subvolume (a descriptor) is read-only."""
    argument = bytearray(8)
    fcntl.ioctl(subvolume, _GET_FLAGS, argument)
    return bool(struct.unpack("<Q", argument)[0] & _READ_ONLY)


def everything(top: Path) -> dict[bytes, bool]:
    """Return every subvolume within ``top``, at any depth, and whether it is read-only.

    Paths are relative to ``top``; an outer one comes before those within it.
    """
    found: dict[bytes, bool] = {}
    with beneath.opened(top) as handle:
        _collect(handle, b"", found)
    return found


def _collect(subvolume: int, below: bytes, found: dict[bytes, bool]) -> None:
    for one in inner(subvolume):
        with beneath.opened(one.path, subvolume) as handle:
            found[below + one.path] = is_read_only(handle)
            _collect(handle, below + one.path + b"/", found)


def fill(
    source: Path, target: Path, group: str | None = None, apart: Mapping[bytes, str] = NONE
) -> None:
    """Give a fresh copy ``target`` of the subvolume ``source`` all subvolumes within, in place.

    Those that are missing become snapshots; read-only ones are read-only there too. ``group`` is
    the quota group of all but those that ``apart`` has another for, by their paths, which is that
    of what lies in them too. Raises Conflict when they are moved about meanwhile, OSError.
    """
    with beneath.opened(source) as old, beneath.opened(target) as new:
        _fill(old, new, b"", group, apart)


def _fill(
    source: int, target: int, below: bytes, group: str | None, apart: Mapping[bytes, str]
) -> None:
    for one in inner(source):
        own = apart.get(below + one.path, group)
        place, _, name = one.path.rpartition(b"/")
        try:
            with beneath.opened(one.path, source) as old, beneath.opened(place, target) as folder:
                if _number(old) != one.id:
                    raise FileNotFoundError
                if _inode(folder, name) == _PLACEHOLDER:
                    os.rmdir(name, dir_fd=folder)
                    shown = _shown(folder) / os.fsdecode(name)
                    subvolumes.snapshot(_shown(old), shown, own)
                with beneath.opened(name, folder) as new:
                    if not subvolumes.is_root(new):
                        raise FileNotFoundError
                    _fill(old, new, below + one.path + b"/", own, apart)
                    if is_read_only(old):
                        subvolumes.set_read_only(_shown(new), True)
        except (FileNotFoundError, NotADirectoryError):
            raise Conflict(
                f"what is to be copied changes too fast: {os.fsdecode(one.path)!r:.200} was moved",
                mend="freeze the environment for the instant of the copy",
            ) from None


def remove(path: Path) -> None:
    """Remove the subvolume ``path`` with all subvolumes within, whatever their depth; walk no file.

    Those that hold others are moved beside ``path`` first, under names that begin with a dot.
    """
    with beneath.opened(path.parent) as folder:
        waiting = [os.fsencode(path.name)]
        while waiting:
            name = waiting.pop()
            if subvolumes.destroy(folder, name):
                continue
            with beneath.opened(name, folder) as top:
                waiting += _emptied(top, folder)
            if not subvolumes.destroy(folder, name):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), os.fsdecode(name))


def _emptied(top: int, aside: int) -> list[bytes]:
    """Have no subvolume in another one; return the names of those that are put ``aside``."""
    found: list[bytes] = []
    subvolumes.set_read_only(_shown(top), False)
    for one in inner(top):
        place, _, name = one.path.rpartition(b"/")
        with beneath.opened(place, top) as folder:
            if not subvolumes.destroy(folder, name):
                with beneath.opened(name, folder) as held:  # else it cannot be moved
                    subvolumes.set_read_only(_shown(held), False)
                found.append(f".{uuid4().hex}".encode())
                os.rename(name, found[-1], src_dir_fd=folder, dst_dir_fd=aside)
    return found


def _shown(handle: int) -> Path:
    """Return a path of an open directory that no rename and no link leads elsewhere."""
    return Path(f"/proc/self/fd/{handle}")


def _number(subvolume: int) -> int:
    argument = bytearray(4096)
    struct.pack_into("<QQ", argument, 0, 0, _TOP)
    fcntl.ioctl(subvolume, _INO_LOOKUP, argument)
    return int(struct.unpack_from("<Q", argument)[0])


def _inode(folder: int, name: bytes) -> int:
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino

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
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from uuid import uuid4

from corpus.hosts import beneath, subvolume_names, subvolumes
from corpus.hosts.subvolume_names import Paths
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
_FAR = 1000  # names of a path to what is removed
NONE: Mapping[bytes, str] = MappingProxyType({})


class Inner(NamedTuple):
    """A subvolume within another one: its number, and where it lies there."""

    id: int
    path: bytes


class _Names:
    """Finds out where the subvolumes within one (a descriptor) lie, a long way of several once."""

    def __init__(self, subvolume: int, paths: Paths | None = None) -> None:
        self._subvolume, self._paths = subvolume, paths
        self._places: dict[int, bytes | None] = {}

    def path(self, id: int, folder: int) -> bytes | None:
        """Return the path of a subvolume; None: it was removed just now."""
        argument = bytearray(4096)
        struct.pack_into("<QQ", argument, 0, folder, id)
        try:
            fcntl.ioctl(self._subvolume, _INO_LOOKUP_USER, argument)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # its path has no room in the answer
                raise
            return self._long_path(id, folder)
        name = bytes(argument[16 : 16 + _NAME]).partition(b"\0")[0]
        place = bytes(argument[16 + _NAME :]).partition(b"\0")[0]
        return place + name

    def _long_path(self, id: int, folder: int) -> bytes | None:
        own = subvolume_names.number(self._subvolume)
        name = subvolume_names.name(self._subvolume, own, id)
        if folder not in self._places:
            found = subvolume_names.place(self._subvolume, own, folder, self._paths)
            self._places[folder] = found
        place = self._places[folder]
        return None if name is None or place is None else place + name


def inner(subvolume: int, paths: Paths | None = None, below: bytes = b"") -> list[Inner]:
    """Return the subvolumes that lie directly within one (a descriptor).

    With what is ``below`` before their paths, these are counted to ``paths``, by default to those
    of this listing alone. Raises OSError, and Conflict where they are too much.
    """
    paths = paths or Paths()
    found, names = [], _Names(subvolume, paths)
    for some in _references(subvolume):
        for id, folder in some:
            path = names.path(id, folder)
            if path is not None:
                paths.take(len(below) + len(path), path.count(b"/"))
                found.append(Inner(id, path))
    return sorted(found, key=lambda one: one.path)


def _references(subvolume: int) -> Iterator[list[tuple[int, int]]]:
    """Yield ids of the subvolumes within one, and the inodes of their directories, some at a time.

    Whoever removes them meanwhile is told of the others all the same.
    """
    least, more = 0, True
    while more:
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
        found = [struct.unpack_from("<QQ", argument, 8 + one * 16) for one in range(count)]
        least = found[-1][0] + 1 if found else least
        yield [(id, folder) for id, folder in found]


def is_read_only(subvolume: int) -> bool:
    """Tell whether a subvolume (a descriptor) is read-only."""
    argument = bytearray(8)
    fcntl.ioctl(subvolume, _GET_FLAGS, argument)
    return bool(struct.unpack("<Q", argument)[0] & _READ_ONLY)


def everything(top: Path) -> dict[bytes, bool]:
    """Return every subvolume within ``top``, at any depth, and whether it is read-only.

    Paths are relative to ``top``; an outer one comes before those within it. Raises OSError, and
    Conflict where they are too much.
    """
    found: dict[bytes, bool] = {}
    with beneath.opened(top) as handle:
        _collect(handle, b"", found, Paths())
    return found


def _collect(subvolume: int, below: bytes, found: dict[bytes, bool], paths: Paths) -> None:
    for one in inner(subvolume, paths, below):
        with beneath.opened(one.path, subvolume) as handle:
            found[below + one.path] = is_read_only(handle)
            _collect(handle, below + one.path + b"/", found, paths)


def fill(
    source: Path, target: Path, group: str | None = None, apart: Mapping[bytes, str] = NONE
) -> None:
    """Give a fresh copy ``target`` of the subvolume ``source`` all subvolumes within, in place.

    Those that are missing become snapshots; read-only ones are read-only there too. ``group`` is
    the quota group of all but those that ``apart`` has another for, by their paths, which is that
    of what lies in them too. Raises Conflict when they are moved about meanwhile, or when their
    paths are too much; OSError.
    """
    with beneath.opened(source) as old, beneath.opened(target) as new:
        _fill(old, new, b"", group, apart, Paths())


def _fill(
    source: int,
    target: int,
    below: bytes,
    group: str | None,
    apart: Mapping[bytes, str],
    paths: Paths,
) -> None:
    for one in inner(source, paths, below):
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
                    _fill(old, new, below + one.path + b"/", own, apart, paths)
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
    """Have no subvolume in another one; return the names of those that are put ``aside``.

    One path is held at a time, and a long one once: what lies very deep is moved up first.
    """
    found: list[bytes] = []
    subvolumes.set_read_only(_shown(top), False)
    for some in _references(top):
        for id, folder in some:
            path = _Names(top).path(id, folder)
            if path is None:
                continue
            place, _, name = path.rpartition(b"/")
            with beneath.opened(_raised(top, place), top) as within:
                if not subvolumes.destroy(within, name):
                    with beneath.opened(name, within) as held:  # else it cannot be moved
                        subvolumes.set_read_only(_shown(held), False)
                    found.append(f".{uuid4().hex}".encode())
                    os.rename(name, found[-1], src_dir_fd=within, dst_dir_fd=aside)
    return found


def _raised(top: int, place: bytes) -> bytes:
    """Move what lies deep up to ``top``, part by part; return the place of the last one then.

    So the way to whatever lies in them is short from then on.
    """
    names = place.split(b"/")
    start = 0  # of the part that lies in ``top``
    while len(names) - start > _FAR:
        above = b"/".join(names[start : start + _FAR - 1])
        new, start = f".{uuid4().hex}".encode(), start + _FAR - 1
        with beneath.opened(above, top) as folder:
            os.rename(names[start], new, src_dir_fd=folder, dst_dir_fd=top)
        names[start] = new
    return b"/".join(names[start:])


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

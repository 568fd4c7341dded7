"""Which subvolumes a btrfs has, where they lie and which quota groups they belong to.

Asked of the filesystem's own trees, so that no file is looked at: the time grows with the number of
subvolumes alone. Source: the kernel's include/uapi/linux/btrfs.h and btrfs_tree.h (TREE_SEARCH
0xd0009411, INO_LOOKUP 0xd0009412); both need CAP_SYS_ADMIN.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from corpus.model.errors import Conflict

_TREE_SEARCH = 0xD0009411
_INO_LOOKUP = 0xD0009412
_ROOT_TREE, _QUOTA_TREE = 1, 8
_INODE_REF, _ROOT_ITEM, _ROOT_REF, _QGROUP_RELATION = 12, 132, 156, 246
_FIRST_INODE = 256
_MOST = (1 << 64) - 1
_KEY = struct.Struct("<7Q4I4Q")
_HEADER = struct.Struct("<3Q2I")
_REFERENCE = struct.Struct("<QQH")
_ARGUMENT = 4096  # bytes
_COUNT = 64  # where in it the number of items is
_NAME = struct.Struct("<QH")  # before the name in an inode's reference
_DEEPEST = 1_000_000  # directories within one another; more is a tree that changes meanwhile
_ROOM = 64 << 20  # bytes that the paths of one listing take at the most
_STEP = 128  # bytes that a name counts beside its own: for the call that finds it, and opens it


def _search(
    handle: int, tree: int, object: int, kind: int, first: int = 0
) -> Iterator[tuple[int, bytes]]:
    """Yield offset and content of an object's items of one kind, in their order."""
    while True:
        argument = bytearray(_ARGUMENT)
        key = (tree, object, object, first, _MOST, 0, _MOST, kind, kind, 1 << 16, 0, 0, 0, 0, 0)
        _KEY.pack_into(argument, 0, *key)
        fcntl.ioctl(handle, _TREE_SEARCH, argument)
        count, place = struct.unpack_from("<I", argument, _COUNT)[0], _KEY.size
        for _ in range(count):
            _, _, first, _, size = _HEADER.unpack_from(argument, place)
            place += _HEADER.size
            yield first, bytes(argument[place : place + size])
            place += size
        if not count:
            return
        first += 1  # from the one after the last


def number(handle: int) -> int:
    """Return the id of the subvolume that the open directory ``handle`` lies in."""
    argument = bytearray(_ARGUMENT)
    struct.pack_into("<QQ", argument, 0, 0, _FIRST_INODE)
    fcntl.ioctl(handle, _INO_LOOKUP, argument)
    return int(struct.unpack_from("<Q", argument)[0])


def exists(handle: int, id: int) -> bool:
    """Tell whether there is a subvolume of that id, if only until the kernel has cleaned it up."""
    return any(True for _ in _search(handle, _ROOT_TREE, id, _ROOT_ITEM))


def name(handle: int, within: int, id: int) -> bytes | None:
    """Return the last name of a subvolume that lies in the one ``within``; None: it is gone."""
    for found, item in _search(handle, _ROOT_TREE, within, _ROOT_REF, id):
        if found == id:
            return item[_REFERENCE.size : _REFERENCE.size + _REFERENCE.unpack_from(item)[2]]
        break
    return None


def groups_of(handle: int, id: int) -> set[str]:
    """Return the quota groups that a subvolume is a member of; none where there are no quotas."""
    try:
        items = list(_search(handle, _QUOTA_TREE, id, _QGROUP_RELATION, 1 << 48))
    except FileNotFoundError:  # no such tree
        return set()
    return {f"{group >> 48}/{group & ((1 << 48) - 1)}" for group, _ in items}


class Paths:
    """What the paths of one listing may still take, whatever somebody hostile has made there."""

    def __init__(self) -> None:
        self._left = _ROOM

    def take(self, length: int, names: int) -> None:
        """Count a path of so many bytes and names. Raises Conflict when they are too many."""
        self._left -= length + _STEP * names
        if self._left < 0:
            raise Conflict(
                f"subvolumes lie too deep: their paths take more than {_ROOM >> 20} MiB",
                mend="have the environment remove them, or the directories above them: "
                "btrfs subvolume list -o",
            )


def below(top: Path) -> dict[str, int]:
    """Return the ids of the subvolumes within ``top``, by their paths in it; ``""`` is its own.

    One whose directory goes while this looks is left out. Raises OSError where it is no btrfs,
    and Conflict as ``Paths``.
    """
    paths = Paths()
    handle = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = {"": number(handle)}
        waiting = [("", found[""])]
        while waiting:
            path, id = waiting.pop()
            places: dict[int, str | None] = {}
            for child, item in _search(handle, _ROOT_TREE, id, _ROOT_REF):
                directory, _, length = _REFERENCE.unpack_from(item)
                if directory not in places:
                    places[directory] = _directory(handle, id, directory, paths)
                place = places[directory]
                if place is None:
                    continue
                name = os.fsdecode(item[_REFERENCE.size : _REFERENCE.size + length])
                one = f"{path}{place}{name}"
                paths.take(len(one), place.count("/"))
                found[one] = child
                waiting.append((f"{one}/", child))
    finally:
        os.close(handle)
    return found


def _directory(handle: int, tree: int, inode: int, paths: Paths) -> str | None:
    """Return a directory's path in its subvolume, with a slash at its end; None: it is gone."""
    if inode == _FIRST_INODE:
        return ""
    argument = bytearray(_ARGUMENT)
    struct.pack_into("<QQ", argument, 0, tree, inode)
    try:
        fcntl.ioctl(handle, _INO_LOOKUP, argument)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        found = place(handle, tree, inode, paths)
        return None if found is None else os.fsdecode(found)
    return os.fsdecode(bytes(argument[16:]).split(b"\0", 1)[0])


def place(handle: int, tree: int, inode: int, paths: Paths | None = None) -> bytes | None:
    """Return the same however long it is, by one name after the other, which ``paths`` count.

    Raises OSError, and Conflict as ``Paths``.
    """
    names: list[bytes] = []
    while inode != _FIRST_INODE:
        found = next(_search(handle, tree, inode, _INODE_REF), None)
        if found is None:
            return None
        if len(names) > _DEEPEST:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        inode, item = found
        length = _NAME.unpack_from(item)[1]
        names.append(item[_NAME.size : _NAME.size + length])
        if paths is not None:
            paths.take(length, 1)
    return b"".join(name + b"/" for name in reversed(names))

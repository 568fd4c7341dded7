"""Which subvolume of another machine one is the same as: what btrfs-send(8) tells only the rest of.

Source: the kernel's include/uapi/linux/btrfs.h (GET_SUBVOL_INFO 0x81f8943c, SET_RECEIVED_SUBVOL
0xc0c89425).
"""

from __future__ import annotations

import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

_GET_SUBVOL_INFO = 0x81F8943C
_SET_RECEIVED_SUBVOL = 0xC0C89425
_SIZE, _RECEIVED_SIZE = 504, 200
_UUID = 8 + 256 + 4 * 8  # what is before: number, name, parent, folder, generation, flags
_CHANGED = _UUID + 3 * 16


@dataclass(frozen=True)
class Lineage:
    """A subvolume's UUID, that of what it is a snapshot of, and its last change's transaction."""

    uuid: bytes
    parent: bytes
    changed: int


def of(path: Path) -> Lineage:
    """Return where a subvolume comes from. Raises OSError."""
    argument = bytearray(_SIZE)
    _call(path, _GET_SUBVOL_INFO, argument)
    (changed,) = struct.unpack_from("<Q", argument, _CHANGED)
    return Lineage(
        bytes(argument[_UUID : _UUID + 16]), bytes(argument[_UUID + 16 : _UUID + 32]), changed
    )


def equate(path: Path, uuid: bytes, changed: int) -> None:
    """Have a writable subvolume count as that one of another machine, which holds the same.

    Raises OSError.
    """
    argument = bytearray(_RECEIVED_SIZE)
    struct.pack_into("<16sQ", argument, 0, uuid, changed)
    _call(path, _SET_RECEIVED_SUBVOL, argument)


def _call(path: Path, request: int, argument: bytearray) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, request, argument)
    finally:
        os.close(handle)

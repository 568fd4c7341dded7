"""Which subvolume of another machine one is the same as: what btrfs-send(8) tells only the rest of.

Sources: the kernel's include/uapi/linux/btrfs.h (GET_SUBVOL_INFO 0x81f8943c, SET_RECEIVED_SUBVOL
0xc0c89425), statx(2).
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from corpus.hosts.subvolumes import call

_GET_SUBVOL_INFO = 0x81F8943C
_SET_RECEIVED_SUBVOL = 0xC0C89425
_SIZE, _RECEIVED_SIZE = 504, 200
_UUID = 8 + 256 + 4 * 8  # what is before: number, name, parent, folder, generation, flags
_PARENT = _UUID + 16
_CHANGED = _UUID + 3 * 16
_AT_FDCWD, _BIRTH = -100, 0x800
_BORN = 80  # where a birth's seconds and nanoseconds lie
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Lineage:
    """A subvolume's UUID, and the transaction that changed it last."""

    uuid: bytes
    changed: int


def of(path: Path) -> Lineage:
    """Return what another machine knows a subvolume by. Raises OSError."""
    argument = bytearray(_SIZE)
    call(path, _GET_SUBVOL_INFO, argument)
    (changed,) = struct.unpack_from("<Q", argument, _CHANGED)
    return Lineage(bytes(argument[_UUID : _UUID + 16]), changed)


def origin(path: Path) -> bytes:
    """Return the UUID of what a snapshot was made of; zeros for no snapshot. Raises OSError."""
    argument = bytearray(_SIZE)
    call(path, _GET_SUBVOL_INFO, argument)
    return bytes(argument[_PARENT : _PARENT + 16])


def related(one: Path, other: Path) -> bool:
    """Tell whether two subvolumes came from one by snapshots, however many. Raises OSError.

    A snapshot's directory was born when that of the first one was, and nobody can change that.
    """
    return _born(one) == _born(other)


def _born(path: Path) -> bytes:
    found = ctypes.create_string_buffer(256)
    if _libc.statx(_AT_FDCWD, os.fsencode(path), 0, _BIRTH, found):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return found.raw[_BORN : _BORN + 12]


def equate(path: Path, uuid: bytes, changed: int) -> None:
    """Have a writable subvolume count as that one of another machine, which holds the same.

    Raises OSError.
    """
    argument = bytearray(_RECEIVED_SIZE)
    struct.pack_into("<16sQ", argument, 0, uuid, changed)
    call(path, _SET_RECEIVED_SUBVOL, argument)

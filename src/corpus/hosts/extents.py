"""Where a file's bytes lie on the disk, so that shared ones can be told from its own.

Source: the kernel's Documentation/filesystems/fiemap.rst (FS_IOC_FIEMAP 0xc020660b).
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from pathlib import Path

_FIEMAP = 0xC020660B
_LAST, _UNKNOWN, _DELALLOC, _INLINE = 0x1, 0x2, 0x4, 0x200
_SHARED = 0x2000
_MOST = 128  # extents a call
_HEAD = struct.Struct("=QQIIII")
_EXTENT = struct.Struct("=QQQQQIIII")
_NONE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL)


class Extents:
    """Ask about one file after another; the buffer is made once."""

    def __init__(self) -> None:
        self._buffer = bytearray(_HEAD.size + _MOST * _EXTENT.size)

    def of(self, path: Path | str) -> list[tuple[int, int, bool]] | None:
        """Return the place, the length and whether it is shared of each extent of a file.

        What is not on the disk yet, or lies within the file system's own records, is left
        out. None where the file system does not tell. Raises OSError.
        """
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return self._all(handle)
        except OSError as error:
            if error.errno in _NONE:
                return None
            raise
        finally:
            os.close(handle)

    def _all(self, handle: int) -> list[tuple[int, int, bool]]:
        found = []
        start = 0
        while True:
            _HEAD.pack_into(self._buffer, 0, start, (1 << 64) - 1 - start, 0, 0, _MOST, 0)
            fcntl.ioctl(handle, _FIEMAP, self._buffer)
            count = _HEAD.unpack_from(self._buffer)[3]
            flags = _LAST
            for number in range(count):
                extent = _EXTENT.unpack_from(self._buffer, _HEAD.size + number * _EXTENT.size)
                logical, physical, length, _, _, flags = extent[:6]
                start = logical + length
                if not flags & (_UNKNOWN | _DELALLOC | _INLINE):
                    found.append((physical, length, bool(flags & _SHARED)))
            if flags & _LAST:
                return found

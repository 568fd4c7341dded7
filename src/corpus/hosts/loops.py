"""Loop devices: a file as a block device, as long as something has it mounted or open.

Source: loop(4), the kernel's include/uapi/linux/loop.h (LOOP_CONFIGURE of kernel 5.8),
ioctl_iflags(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from corpus.model.errors import Unsupported

_GET_STATUS64 = 0x4C05
_SET_CAPACITY = 0x4C07
_CONFIGURE = 0x4C0A
_GET_FREE = 0x4C82
_SET_FLAGS, _NO_COPY_ON_WRITE = 0x40086602, 0x00800000
_MAJOR = 7
_AUTOCLEAR, _DIRECT_IO = 4, 16  # it goes with its last user; its pages are not cached twice
_BLOCK = 4096
_TRIES = 100
_ELSEWHERE = 20.0  # seconds


def make_file(path: Path, size: int) -> None:
    """Make an empty, sparse file of ``size`` bytes to be a disk; what was there is gone.

    On btrfs its bytes are overwritten in place: the filesystem within has its own checksums,
    and each write would tear the file into one piece more.
    """
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with suppress(OSError):  # not on btrfs
            fcntl.ioctl(handle, _SET_FLAGS, struct.pack("@l", _NO_COPY_ON_WRITE))
        os.truncate(handle, size)
    finally:
        os.close(handle)


@contextmanager
def attached(file: Path, devices: Path = Path("/dev")) -> Iterator[Path]:
    """Yield a block device that is ``file``; past the block it stays while it is mounted.

    One that is there already, in a mount of a guest's that goes on, is taken: two would be two
    caches of the same bytes. Raises Unsupported where there are no loop devices, OSError.
    """
    found = of(file, devices)
    if found:
        device, handle = found, os.open(found, os.O_RDWR | os.O_CLOEXEC)
    else:
        taken = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        try:
            device, handle = _configured(taken, devices)
        finally:
            os.close(taken)
    try:
        yield device
    finally:
        os.close(handle)


def _configured(backing: int, devices: Path) -> tuple[Path, int]:
    for _ in range(_TRIES):
        device = _free(devices)
        handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        # struct loop_config with its loop_info64: no offset, no limit of size, flags
        info = struct.pack("<5Q4I176x", *[0] * 8, _AUTOCLEAR | _DIRECT_IO)
        try:
            config = struct.pack("<II", backing, _BLOCK) + info + bytes(64)
            fcntl.ioctl(handle, _CONFIGURE, bytearray(config))
        except OSError as error:
            os.close(handle)
            if error.errno != errno.EBUSY:  # else another has taken it just now
                raise
        else:
            return device, handle
    raise OSError(errno.EBUSY, "no loop device stays free for a moment")


def _free(devices: Path) -> Path:
    try:
        control = os.open(devices / "loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Unsupported(
            f"this machine has no loop devices: {error.strerror}",
            str(devices / "loop-control"),
            "load the kernel's module «loop»; in a container, let its host pass the device in",
        ) from None
    try:
        number = fcntl.ioctl(control, _GET_FREE)
    finally:
        os.close(control)
    device = devices / f"loop{number}"
    if not device.exists():  # in a container nobody else makes it
        with suppress(FileExistsError):
            os.mknod(device, 0o660 | stat.S_IFBLK, os.makedev(_MAJOR, number))
    return device


def of(file: Path, devices: Path = Path("/dev")) -> Path | None:
    """Return the loop device that a file is behind; None where there is none."""
    status = file.stat()
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        device = devices / entry.parts[-3]
        if backing(device) == (status.st_dev, status.st_ino):
            return device
    return None


def wait(file: Path) -> None:
    """Wait until a file that was unmounted is so in whatever other namespaces had a copy too."""
    deadline = time.monotonic() + _ELSEWHERE
    while file.exists() and of(file) and time.monotonic() < deadline:
        time.sleep(0.05)


def backing(device: Path) -> tuple[int, int] | None:
    """Return device and inode number of the file behind a loop device; None where it is none."""
    try:
        handle = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = bytearray(232)
        fcntl.ioctl(handle, _GET_STATUS64, info)
    except OSError:
        return None
    finally:
        os.close(handle)
    found = struct.unpack_from("<2Q", info)
    return (int(found[0]), int(found[1]))


def refresh(device: Path) -> None:
    """Have a loop device see that its file has another size now."""
    handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(handle, _SET_CAPACITY)
    finally:
        os.close(handle)

"""System calls that Python has no function for: atomic exchange, mounts, namespaces.

Sources: renameat2(2), mount(2), unshare(2), setns(2), prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18
_MS_SLAVE = 1 << 19
_MS_NOSUID_NODEV = 2 | 4
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _check(code: int, what: str, path: Path | None = None) -> None:
    if code != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}", str(path) if path else None)


def exchange(one: Path, other: Path) -> None:
    """Swap two files or directories atomically: at no moment is either name absent."""
    code = _libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    _check(code, "renameat2", one)


def sync(path: Path) -> None:
    """Wait until all that was written to the file system of ``path`` is on its disk (syncfs(2))."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.syncfs(handle), "syncfs", path)
    finally:
        os.close(handle)


def bind_mount(source: Path, target: Path) -> None:
    """Mount ``source`` over ``target`` as well, within this process's mount namespace."""
    _check(
        _libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND, None),
        "mount",
        target,
    )


def unmount(target: Path) -> None:
    """Take the topmost mount off ``target``, even when something still uses it."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), "umount2", target)


@contextmanager
def private_bind(source: Path, target: Path) -> Iterator[None]:
    """Show ``source`` at ``target`` to this process and its children alone.

    The calling process must have one thread (setns(2)). Mounts made by others go on
    appearing here; the ones made here end with the block.
    """
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    folder = Path.cwd()
    try:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
        try:
            _check(_libc.mount(None, b"/", None, _MS_REC | _MS_SLAVE, None), "mount", Path("/"))
            bind_mount(source, target)
            yield
        finally:
            _check(_libc.setns(home, _CLONE_NEWNS), "setns")
            os.chdir(folder)
    finally:
        os.close(home)


def make_coverable(folder: Path) -> None:
    """Make ``folder`` a mount point whose later covers stay within the process that makes them."""
    if folder.is_mount():
        unmount(folder)
    _mount_tmpfs(folder)
    _check(_libc.mount(None, os.fsencode(folder), None, _MS_PRIVATE, None), "mount", folder)


def cover(folder: Path) -> None:
    """Lay an empty file system in memory over ``folder``, for this process and its children.

    All other mounts, present and future, stay shared with everybody.
    """
    _check(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount_tmpfs(folder)


def _mount_tmpfs(folder: Path) -> None:
    code = _libc.mount(b"corpus", os.fsencode(folder), b"tmpfs", _MS_NOSUID_NODEV, b"mode=0700")
    _check(code, "mount", folder)


def become_subreaper() -> None:
    """Make this process the parent of its orphaned descendants, so that it can end them."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")

"""Which account of one machine owns what, seen from another: ids of a mount, made and kept.

A user namespace that no process is in, held by a file, is what an idmapped mount takes its ids
from. Sources: user_namespaces(7), mount_setattr(2), namespaces(7).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.hosts import kernel, mounts
from corpus.model.errors import Unsupported

_CLONE_NEWUSER = 0x10000000

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Range:
    """``count`` ids from ``disk`` on are seen as those from ``seen`` on."""

    disk: int
    seen: int
    count: int = 1


def pin(path: Path, users: Sequence[Range], groups: Sequence[Range]) -> None:
    """Make ``path`` name a user namespace with these ids, until ``unpin`` or a reboot.

    Raises Unsupported where the kernel does not allow it.
    """
    unpin(path)
    path.touch(mode=0o600)
    ready_read, ready_write = os.pipe2(os.O_CLOEXEC)
    end_read, end_write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _wait_within(ready_write, end_read, end_write)
    os.close(ready_write)
    try:
        if os.read(ready_read, 1) != b"+":
            raise Unsupported("no user namespace can be made", mend="run as root of the machine")
        for name, ranges in (("uid_map", users), ("gid_map", groups)):
            Path(f"/proc/{pid}/{name}").write_text(text(ranges))
        kernel.bind_mount(Path(f"/proc/{pid}/ns/user"), path)
    except OSError as error:
        raise Unsupported(f"user ids cannot be mapped: {error}", where=str(path)) from None
    finally:
        for handle in (ready_read, end_read, end_write):
            os.close(handle)
        os.waitpid(pid, 0)


def _wait_within(ready: int, end: int, other: int) -> None:
    """Be in a new user namespace until the parent has seen it, or is dead."""
    try:
        os.close(other)
        os.write(ready, b"+" if _libc.unshare(_CLONE_NEWUSER) == 0 else b"-")
        os.read(end, 1)
    finally:
        os._exit(0)


def text(ranges: Sequence[Range]) -> str:
    """Return the ranges as the kernel reads them."""
    return "".join(f"{one.disk} {one.seen} {one.count}\n" for one in ranges)


def unpin(path: Path) -> None:
    """Let go of the namespace that ``path`` names; fine when it names none."""
    while mounts.is_point(path):
        kernel.unmount(path)
    path.unlink(missing_ok=True)

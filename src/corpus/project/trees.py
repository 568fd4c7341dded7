"""Copies of whole directories by the cheapest way that the filesystem has.

On btrfs a snapshot: no bytes move and the time does not grow with the size. Where files
can share extents (reflink), that; else rsync, whose unchanged files are hard links to the
previous *copy*, never to the live files, which the application writes in place.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path

from corpus.commands import copying
from corpus.hosts import kernel, mounts, subvolumes
from corpus.hosts.base import Host
from corpus.model.errors import Conflict

_LABEL = "user.corpus.label"
_GONE = ".gone"


class Way(StrEnum):
    """How a directory is copied."""

    SNAPSHOT = "snapshot"
    REFLINK = "reflink"
    HARDLINK = "hardlink"


def way_of(path: Path, host: Host) -> Way:
    """Return the cheapest way to copy directories that lie in ``path``."""
    if subvolumes.is_btrfs(path):
        return Way.SNAPSHOT
    # Files without a name: who dies leaves none, who asks at the same time finds none.
    with tempfile.TemporaryFile(dir=path) as probe, tempfile.TemporaryFile(dir=path) as twin:
        probe.write(b"x" * 4096)
        probe.flush()
        names = [Path(f"/proc/{os.getpid()}/fd/{file.fileno()}") for file in (probe, twin)]
        shared = host.run(copying.reflink_file(*names), check=False).code == 0
    return Way.REFLINK if shared else Way.HARDLINK


def make(path: Path, mode: int = 0o755) -> None:
    """Make an empty directory that can be copied cheaply later; its parent exists."""
    if subvolumes.is_btrfs(path.parent):
        subvolumes.create(path)
    else:
        path.mkdir()
    path.chmod(mode)


def copy(source: Path, target: Path, way: Way, host: Host, reference: Path | None = None) -> None:
    """Make ``target``, absent so far, a copy of ``source``, whole or not at all.

    ``reference`` is an earlier copy, which rsync shares unchanged files with.
    """
    if way is Way.SNAPSHOT and subvolumes.is_subvolume(source):
        try:
            subvolumes.snapshot(source, target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:  # a developer's directory, from another file system
                raise
    partial = target.with_name(f"{target.name}.partial")
    remove(partial)
    make(partial)
    if way is Way.HARDLINK:
        host.run(copying.rsync(source, partial, link_dest=reference))
    else:
        host.run(copying.reflink_tree(source, partial))
    kernel.sync(partial)  # what was copied is relied on from here on, also after a power cut
    partial.rename(target)


def remove_copy(path: Path) -> None:
    """Remove what ``copy`` made, whole or half."""
    remove(path.with_name(f"{path.name}.partial"))
    remove(path)


def discard(path: Path) -> None:
    """Remove what others find by its name: whoever dies in the middle leaves none of that name.

    What he leaves, ``is_discarded`` knows.
    """
    gone = path.with_name(f".{path.name}{_GONE}")
    remove(gone)
    if path.exists():
        _refuse_mounts(path)
        path.rename(gone)
        remove(gone)


def is_discarded(path: Path) -> bool:
    """Tell whether that is the rest of what ``discard`` was removing."""
    return path.name.startswith(".") and path.name.endswith(_GONE)


def hides_something(path: Path) -> bool:
    """Tell whether a snapshot of ``path`` would lack a part of it: subvolumes within."""
    return subvolumes.is_subvolume(path) and subvolumes.children(path) > 0


def remove(path: Path) -> None:
    """Remove a file, directory or subvolume; nothing happens when it is absent.

    Raises Conflict, and removes nothing, while something is mounted within.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        _refuse_mounts(path)
        _remove_folder(path)


def _refuse_mounts(path: Path) -> None:
    """Raise Conflict where removing would empty a disk, or a directory of somebody's."""
    for point in mounts.below(path):
        raise Conflict(
            "something is mounted here, and would be emptied", where=str(point), mend="umount it"
        )


def _remove_folder(path: Path) -> None:
    if subvolumes.is_subvolume(path):
        _forget(path)
    else:
        _remove_plain(path)


def _forget(path: Path) -> None:
    try:
        subvolumes.delete(path)
    except OSError as error:
        # Without user_subvol_rm_allowed only an empty subvolume may go, by rmdir; and at
        # the quota's limit none may, until unlinked files were committed as free.
        if error.errno not in (errno.EPERM, errno.EDQUOT, errno.ENOSPC):
            raise
        _empty(path)
        os.sync()
        path.rmdir()


def _remove_plain(path: Path) -> None:
    _empty(path)
    path.rmdir()


def empty(path: Path) -> None:
    """Remove all that a directory holds. Raises Conflict as ``remove`` does."""
    _refuse_mounts(path)
    _empty(path)


def _empty(path: Path) -> None:
    for entry in os.scandir(path):
        inner = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            _remove_folder(inner)
        else:
            inner.unlink()


def clear(path: Path) -> None:
    """Remove a directory tree of any kind and make it anew, empty."""
    remove(path)
    make(path)


def size_of(path: Path) -> tuple[int, int]:
    """Return the bytes and the number of the regular files below ``path``."""
    size = count = 0
    for folder, _names, files in os.walk(path):
        for name in files:
            try:
                found = os.lstat(Path(folder, name))
            except FileNotFoundError:  # the application goes on
                continue
            size += found.st_size
            count += 1
    return size, count


def label(path: Path) -> str:
    """Return the label of a directory, empty when it has none or is absent."""
    try:
        return os.getxattr(path, _LABEL).decode()
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOENT):
            return ""
        raise


def set_label(path: Path, text: str) -> None:
    """Write ``text`` on the directory itself, to know it again after a crash or a reboot."""
    os.setxattr(path, _LABEL, text.encode())


def free_bytes(path: Path) -> int:
    """Return what may still be written below ``path`` as the filesystem tells it."""
    return shutil.disk_usage(path).free

"""Whole trees of files, subvolumes among them: copied and removed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from corpus.commands import copying
from corpus.hosts import subvolumes
from corpus.hosts.base import Host
from corpus.model.errors import CorpusError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy(host: Host, source: Path, target: Path) -> None:
    """Make ``target``, which may be there and empty, hold what ``source`` holds.

    Bytes are shared where both lie on one filesystem that can. Nobody may change ``source``
    meanwhile.
    """
    host.run(copying.reflink_tree(source, target))


def snapshot(source: Path, target: Path, group: str | None) -> None:
    """Make ``target`` a snapshot of the subvolume ``source`` and of all subvolumes within it.

    A guest may change ``source`` meanwhile: whatever it does, nothing else is snapshot.
    """
    with ExitStack() as opened:
        handle = os.open(source, _FOLDER)
        opened.callback(os.close, handle)
        _snapshot(handle, target, group)


def _snapshot(source: int, target: Path, group: str | None) -> None:
    shown = Path(f"/proc/self/fd/{source}")
    subvolumes.snapshot(shown, target, group)
    if not subvolumes.children(shown):
        return
    for hole in list(_holes(target)):
        with ExitStack() as opened, suppress(FileNotFoundError, NotADirectoryError):
            folder = source
            for part in hole.relative_to(target).parts:
                folder = os.open(part, _FOLDER, dir_fd=folder)
                opened.callback(os.close, folder)
            if subvolumes.is_root(folder):
                hole.rmdir()
                _snapshot(folder, hole, group)


def _holes(root: Path) -> Iterator[Path]:
    for folder, names, _files in os.walk(root):
        found = [name for name in names if subvolumes.is_hole(Path(folder, name))]
        yield from (Path(folder, name) for name in found)


def outline(source: Path, target: Path) -> None:
    """Make ``target`` a subvolume with empty ones in it where ``source`` has such."""
    subvolumes.create(target)
    if subvolumes.is_btrfs(source):
        for inner in subvolumes.nested(source):
            place = target / inner.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            outline(inner, place)


def set_read_only(path: Path) -> None:
    """Let nobody change what is in a subvolume and those within it."""
    if subvolumes.children(path):
        for inner in subvolumes.nested(path):
            set_read_only(inner)
    subvolumes.set_read_only(path, True)


def remove(path: Path) -> None:
    """Remove a directory or a subvolume with all that it holds; fine when it is absent."""
    if not path.exists():
        return
    try:
        if subvolumes.is_subvolume(path):
            subvolumes.delete(path)
            return
        if subvolumes.is_btrfs(path):
            for inner in subvolumes.nested(path):
                subvolumes.delete(inner)
        shutil.rmtree(path)
    except OSError as error:
        raise CorpusError(f"cannot remove a volume: {error}", str(path)) from None

"""Whole trees of files, subvolumes among them: copied and removed."""

from __future__ import annotations

import shutil
from pathlib import Path

from corpus.commands import copying
from corpus.hosts import subvolumes
from corpus.hosts.base import Host
from corpus.model.errors import CorpusError


def copy(host: Host, source: Path, target: Path) -> None:
    """Make ``target``, which may be there and empty, hold what ``source`` holds.

    Bytes are shared where both lie on one filesystem that can; subvolumes within become
    directories.
    """
    host.run(copying.reflink_tree(source, target))


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

"""Whole trees of files, subvolumes among them: copied and removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corpus.commands import copying
from corpus.hosts import beneath, nested, subvolumes
from corpus.hosts.base import Host
from corpus.model.errors import CorpusError


def copy(host: Host, source: Path, target: Path) -> None:
    """Make ``target``, which may be there and empty, hold what ``source`` holds.

    Bytes are shared where both lie on one filesystem that can. Nobody may change ``source``
    meanwhile: a link that is put in the way is followed.
    """
    host.run(copying.reflink_tree(source, target))


def snapshot(
    source: Path, target: Path, group: str | None, apart: Mapping[bytes, str] = nested.NONE
) -> None:
    """Make ``target`` a snapshot of the subvolume ``source`` and of all subvolumes within it.

    Their groups are ``group`` and what ``apart`` says, by paths. No file is looked at, since the
    guest may be frozen meanwhile. Raises OSError, and Conflict as ``nested.fill``.
    """
    subvolumes.snapshot(source, target, group)
    nested.fill(source, target, group, apart)


def outline(source: Path, target: Path) -> None:
    """Make ``target`` a subvolume with empty ones in it where ``source`` has such."""
    subvolumes.create(target)
    if subvolumes.is_btrfs(source):
        for inner in subvolumes.nested(source):
            place = target / inner.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            outline(inner, place)


def remove(path: Path) -> None:
    """Remove a directory or a subvolume with all that it holds; fine when it is absent."""
    if not path.exists():
        return
    try:
        if subvolumes.is_subvolume(path):
            nested.remove(path)
            return
        if subvolumes.is_btrfs(path):
            for inner in subvolumes.nested(path):
                nested.remove(inner)
        with beneath.opened(path.parent) as folder:
            beneath.remove(folder, path.name)
    except OSError as error:
        raise CorpusError(f"cannot remove a volume: {error}", str(path)) from None

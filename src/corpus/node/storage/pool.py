"""The storage pool: btrfs with simple quotas, or, said in the facts, something weaker."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from corpus.commands import btrfs
from corpus.hosts import quota, subvolumes
from corpus.hosts.base import Host
from corpus.model.errors import CommandFailed, CorpusError, Unsupported
from corpus.model.size import parse_size
from corpus.node.context import Node
from corpus.node.settings import Settings


@dataclass(frozen=True)
class Support:
    """What the pool can do. ``quota``: ``enforced`` or ``soft``; ``why`` not more."""

    storage: str
    quota: str
    why: str = ""


def support(node: Node) -> Support:
    """Return what the pool can do, switching simple quotas on where the kernel has them."""
    settings = node.settings
    if settings.storage == "plain":
        return Support("plain", "soft", "the setting storage is plain")
    try:
        subvolumes.enable_simple_quotas(settings.pool)
    except Unsupported as error:
        return Support("btrfs", "soft", error.what)
    return Support("btrfs", "enforced")


def prepare(node: Node) -> Support:
    """Make the pool when it is absent, mount it when it is not mounted; tell what it can do.

    Raises Unsupported when there can be no btrfs here; it names the setting to change.
    """
    settings = node.settings
    settings.pool.mkdir(parents=True, exist_ok=True)
    if settings.storage == "btrfs" and not subvolumes.is_btrfs(settings.pool):
        _make_file(node.host, settings)
    found = support(node)
    for folder in (settings.images, settings.pool / "env"):
        folder.mkdir(exist_ok=True, mode=0o711)
    return found


def _make_file(host: Host, settings: Settings) -> None:
    image = settings.prefix / "pool.img"
    try:
        if not image.exists():
            part = image.with_suffix(".part")
            with part.open("wb") as file:
                file.truncate(parse_size(settings.pool_size))
            host.run(btrfs.make(part))
            part.rename(image)
        host.run(btrfs.mount(image, settings.pool))
    except (OSError, CommandFailed) as error:
        raise Unsupported(
            f"no btrfs pool can be made in a file: {error}",
            str(image),
            'mount a btrfs filesystem there, or set storage = "plain" in /etc/corpus/node.toml '
            "(copies instead of snapshots, sizes not enforced)",
        ) from None


class Volumes:
    """The pool's directories for images and environments, as subvolumes where it can."""

    def __init__(self, node: Node) -> None:
        self._host = node.host
        self._pool = node.settings.pool
        self._btrfs = node.settings.storage == "btrfs"

    def create(self, path: Path, group: str | None = None) -> None:
        """Make an empty volume, accounted to ``group``."""
        if self._btrfs:
            self._host.run(btrfs.create(path, group))
        else:
            path.mkdir()

    def clone(self, source: Path, target: Path, group: str | None = None) -> None:
        """Make ``target`` a copy of the volume ``source``: without copying bytes on btrfs."""
        if self._btrfs:
            self._host.run(btrfs.snapshot(source, target, group))
        else:
            self._host.run(["cp", "--archive", "--reflink=auto", str(source), str(target)])

    def delete(self, path: Path) -> None:
        """Remove a volume with all that it holds; fine when it is absent."""
        if not path.exists():
            return
        try:
            if subvolumes.is_subvolume(path):
                subvolumes.delete(path)
            else:
                shutil.rmtree(path)
        except OSError as error:
            raise CorpusError(f"cannot remove a volume: {error}", str(path)) from None

    def limit(self, group: str, size: int) -> None:
        """Limit a quota group, making it when it is absent."""
        if not self._btrfs:
            return
        if self._host.run(btrfs.group_limit(self._pool, group, size), check=False).code:
            if self._host.run(btrfs.group_create(self._pool, group), check=False).code:
                return  # no quotas here: support() says so
            self._host.run(btrfs.group_limit(self._pool, group, size))

    def unlimit(self, group: str) -> None:
        """Take the limit off: in a full group even removing a volume fails with EDQUOT."""
        if self._btrfs:
            self._host.run(btrfs.group_limit(self._pool, group, None), check=False)

    def usage(self) -> dict[str, btrfs.Usage]:
        """Return what each quota group uses; empty where there are no quotas."""
        if not self._btrfs:
            return {}
        result = self._host.run(btrfs.groups(self._pool), check=False)
        return btrfs.parse_groups(result.out)

    def used(self, group: str) -> btrfs.Usage | None:
        """Return what one group uses, at once; None where there are no quotas."""
        return quota.usage(self._pool, group) if self._btrfs else None

    def prune(self, kept: set[str]) -> None:
        """Remove the quota groups of environments that are gone.

        The kernel refuses while it still cleans up their data: the next call does it then.
        """
        for group in self.usage():
            if group.startswith("2/") and group not in kept:
                self._host.run(btrfs.group_destroy(self._pool, group), check=False)

    def space(self) -> tuple[int, int]:
        """Return the pool's size and free space in bytes."""
        return btrfs.parse_space(self._host.run(btrfs.space(self._pool)).out)

"""The kind ``quota``: one btrfs with simple quotas; a volume is a subvolume of it."""

from __future__ import annotations

from pathlib import Path

from corpus.commands import btrfs
from corpus.commands.btrfs import Usage
from corpus.hosts import quota, subvolumes
from corpus.node.storage import trees
from corpus.node.storage.volumes import ROOTFS, SRV, Volumes


class QuotaVolumes(Volumes):
    """Subvolumes of the pool, accounted to one quota group an environment."""

    kind = "quota"
    enforced = True
    copying = ""

    def make(self, home: Path, group: str, size: int, image: Path) -> None:
        """Snapshot the image; no bytes are copied."""
        home.mkdir(mode=0o700)
        self.limit(group, size)
        self.clone(image, home / ROOTFS, group)
        self.create(home / SRV, group)

    def attach(self, home: Path) -> None:
        """Do nothing: the pool holds the volumes themselves."""

    def detach(self, home: Path) -> None:
        """Do nothing."""

    def remove(self, home: Path, group: str) -> None:
        """Remove the volumes. The limit goes first: else, in a full group, that fails (EDQUOT)."""
        self._host.run(btrfs.group_limit(self._pool, group, None), check=False)
        trees.remove(home)

    def create(self, path: Path, group: str) -> None:
        """Make an empty subvolume."""
        self._host.run(btrfs.create(path, group))

    def clone(self, source: Path, target: Path, group: str | None = None) -> None:
        """Make snapshots of the volume and of those within it.

        An image that was imported while the pool had another kind is a directory: its files are
        copied by sharing their bytes.
        """
        if subvolumes.is_subvolume(source):
            trees.snapshot(source, target, group)
        else:
            self._host.run(btrfs.create(target, group))
            trees.copy(self._host, source, target)

    def limit(self, group: str, size: int) -> None:
        """Limit the quota group, making it when it is absent."""
        limited = btrfs.group_limit(self._pool, group, size)
        if self._host.run(limited, check=False).code:
            self._host.run(btrfs.group_create(self._pool, group), check=False)
            self._host.run(limited)

    def used(self, group: str) -> Usage | None:
        """Read the group in /sys."""
        return quota.usage(self._pool, group)

    def usage(self) -> dict[str, Usage]:
        """List the quota groups of the pool."""
        return btrfs.parse_groups(self._host.run(btrfs.groups(self._pool), check=False).out)

    def prune(self, kept: set[str]) -> None:
        """Remove the quota groups of environments that are gone.

        The kernel refuses while it still cleans up their data: the next call does it then.
        """
        for group in self.usage():
            if group.startswith("2/") and group not in kept:
                self._host.run(btrfs.group_destroy(self._pool, group), check=False)

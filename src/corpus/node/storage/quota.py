"""The kind ``quota``: one btrfs with simple quotas; a volume is a subvolume of it.

The btrfs may be another's too: no quota group is changed or removed that this node has not made.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from corpus.commands import btrfs
from corpus.commands.btrfs import Usage
from corpus.hosts import nested, quota, subvolume_names, subvolumes
from corpus.model.errors import Conflict
from corpus.node.context import Node
from corpus.node.storage import trees
from corpus.node.storage.claims import Claims
from corpus.node.storage.volumes import ROOTFS, SRV, Volumes


class QuotaVolumes(Volumes):
    """Subvolumes of the pool, accounted to one quota group an environment."""

    kind = "quota"
    enforced = True
    copying = ""
    apart = True

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self._claims = Claims(self._pool)

    def make(self, home: Path, group: str, size: int, image: Path) -> None:
        """Snapshot the image; no bytes are copied."""
        home.mkdir(mode=0o700)
        self.limit(group, size)
        self.clone(image, home / ROOTFS, group)
        self.create(home / SRV, group)

    def attach(self, home: Path, *, stopped: bool = False) -> None:
        """Do nothing: the pool holds the volumes themselves."""

    def detach(self, home: Path) -> None:
        """Do nothing."""

    def remove(self, home: Path, group: str) -> None:
        """Remove the volumes. Limits go first: else, in a full group, that fails (EDQUOT)."""
        with self._opened() as pool:
            within = self._related(pool, group, 1) if pool is not None else set()
        for limited in (group, *within):
            self.unlimit(limited)
        trees.remove(home)

    def create(self, path: Path, group: str) -> None:
        """Make an empty subvolume."""
        self._host.run(btrfs.create(path, group))

    def clone(
        self,
        source: Path,
        target: Path,
        group: str | None = None,
        apart: Mapping[bytes, str] = nested.NONE,
    ) -> None:
        """Make snapshots of the volume and of those within it.

        An image that was imported while the pool had another kind is a directory: its files are
        copied by sharing their bytes.
        """
        if subvolumes.is_subvolume(source):
            trees.snapshot(source, target, group, apart)
        else:
            self._host.run(btrfs.create(target, group))
            trees.copy(self._host, source, target)
        if group is None:
            self.own(target)

    def limit(self, group: str, size: int) -> None:
        """Limit the quota group, making it when it is absent. Raises Conflict: it is another's."""
        if self._claims.has(group):
            with suppress(FileNotFoundError):
                quota.limit(self._pool, group, size)
                return
        self._have(group)
        quota.limit(self._pool, group, size)

    def _have(self, group: str) -> None:
        """Make the group where it is absent. Raises Conflict where it is not this node's."""
        if self._claims.has(group):  # a crash may have come before the group itself
            with suppress(FileExistsError):
                quota.make(self._pool, group)
            return
        if subvolumes.is_btrfs(self._pool) and quota.exists(self._pool, group):
            raise Conflict(
                f"the quota group {group} is there already, and this node has not made it",
                str(self._pool),
                "make the environment with another id; or, where nobody needs that group: "
                f"btrfs qgroup destroy {group} {self._pool}",
            )
        self._claims.add(group)
        try:
            quota.make(self._pool, group)
        except OSError:  # somebody else may have made it just now
            self._claims.forget(group)
            raise

    def used(self, group: str) -> Usage | None:
        """Read the group in /sys."""
        return quota.usage(self._pool, group)

    def strays(self, kept: set[str]) -> list[str]:
        """Return those of this node's groups that are there, not ``kept``, and in no such one."""
        with self._opened() as pool:
            if pool is None:
                return []
            return [
                group
                for group in self._claims.all()
                if group not in kept
                and not group.startswith("0/")  # those of volumes: see _left
                and not kept & self._related(pool, group, 2)
                and quota.exists(self._pool, group)
            ]

    def prune(self, kept: set[str]) -> None:
        """Remove the quota groups of environments that are gone, and those of removed volumes.

        The kernel leaves the group of a removed volume while a copy holds what it wrote, and
        refuses to remove one whose data it still cleans up: the next call does it then.
        """
        with self._opened() as pool:
            if pool is None:
                return
            left = [group for group in quota.groups(self._pool) if self._left(pool, group)]
            for group in [*left, *self.strays(kept)]:  # those within others go first
                with suppress(OSError):
                    quota.remove(self._pool, group)
            for group in self._claims.all():
                if group not in kept:
                    self._forgotten(group)

    def _forgotten(self, group: str) -> bool:
        """Forget a group that is no more; tell whether it is."""
        if gone := not quota.exists(self._pool, group):
            self._claims.forget(group)
        return gone

    def unclaimed(self, group: str, within: Iterable[str]) -> list[str]:
        """Ask which are there; a project's is in its environment's, else it is another's."""
        with self._opened() as pool:
            if pool is None:
                return []
            return [
                one
                for one in (group, *within)
                if not self._claims.has(one)
                and quota.exists(self._pool, one)
                and (one == group or group in self._related(pool, one, 2))
            ]

    def claim(self, group: str) -> None:
        """Write it down."""
        self._claims.add(group)

    def own(self, path: Path) -> None:
        """Write down the groups that the kernel gave them, which are in no other one."""
        for id in subvolume_names.below(path).values():
            self._claims.add(f"0/{id}")

    def _left(self, pool: int, group: str) -> bool:
        """Tell whether a group is that of a volume, of this node's, which is gone with its data."""
        if not group.startswith("0/") or subvolume_names.exists(
            pool, subvolumes.group_number(group)
        ):
            return False
        found = self.used(group)
        if found is None or found.used:
            return False
        if self._claims.has(group):
            return True
        above = subvolume_names.groups_of(pool, subvolumes.group_number(group))
        return bool(above) and all(self._claims.has(one) for one in above)

    def unlimit(self, group: str) -> None:
        """Take the limit off the group; fine when there is none, or it is another's."""
        if self._claims.has(group):
            with suppress(OSError):
                quota.limit(self._pool, group, None)

    def join(self, group: str, within: str) -> None:
        """Make the group, and a member of the other. Raises Conflict where it is another's."""
        with self._opened() as pool:
            if pool is not None and within in self._related(pool, group, 2):
                return
        self._have(group)
        quota.assign(self._pool, group, within)

    def drop(self, group: str) -> bool:
        """Remove it, and first those of the removed volumes that are in it."""
        with self._opened() as pool:
            if pool is None or not self._claims.has(group):
                return True
            left = [one for one in self._related(pool, group, 0) if self._left(pool, one)]
            for one in (*left, group):
                with suppress(OSError):
                    quota.remove(self._pool, one)
            return self._forgotten(group)

    def allot(self, folder: int, name: str, group: str, within: str) -> bool:
        """Make a subvolume in the open directory, so that nothing put in the way leads elsewhere.

        Whatever its guest makes within it becomes a member of its group by itself.
        """
        try:
            self.join(group, within)
        except Conflict:  # the number is another's
            return False
        with suppress(FileExistsError):
            subvolumes.create_in(folder, name, group)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(name, flags, dir_fd=folder)
        except OSError:  # something else of that name, or gone already
            return False
        try:
            mine = subvolume_names.groups_of(handle, subvolume_names.number(handle))
            return subvolumes.is_root(handle) and group in mine
        finally:
            os.close(handle)

    def parts(self, volume: Path) -> dict[str, int] | None:
        """Read the names in the filesystem's trees and the groups in /sys: no file is looked at."""
        try:
            found = subvolume_names.below(volume)
            used = quota.written(self._pool, found.values())
        except (OSError, Conflict):  # or too much to list
            return None
        return {path: used[id] for path, id in found.items() if id in used}

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        """Open the pool's root; None where it is no btrfs."""
        if not subvolumes.is_btrfs(self._pool):
            yield None
            return
        handle = os.open(self._pool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield handle
        finally:
            os.close(handle)

    def _related(self, pool: int, group: str, level: int) -> set[str]:
        """Return the groups of a level that a group is in, or that are in it."""
        found = subvolume_names.groups_of(pool, subvolumes.group_number(group))
        return {other for other in found if other.startswith(f"{level}/")}

"""The kind ``plain``: directories of any filesystem. Nothing holds an environment to its size.

What it takes is found by walking, now and then (``weights``), and told when it is more.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corpus.commands.btrfs import Usage
from corpus.hosts import nested
from corpus.node.storage import trees
from corpus.node.storage.volumes import ROOTFS, SRV, Volumes

WEIGHTS = "weights"  # the directory in the pool with what was found of each environment


class PlainVolumes(Volumes):
    """Directories, copied."""

    kind = "plain"
    enforced = False
    copying = "every clone copies; bytes are shared where the filesystem has reflinks"

    def make(self, home: Path, group: str, size: int, image: Path) -> None:
        """Copy the image."""
        home.mkdir(mode=0o700)
        self.clone(image, home / ROOTFS, group)
        self.create(home / SRV, group)

    def attach(self, home: Path, *, stopped: bool = False) -> None:
        """Do nothing: the pool holds the directories themselves."""

    def detach(self, home: Path) -> None:
        """Do nothing."""

    def remove(self, home: Path, group: str) -> None:
        """Remove the directory, and what was found of it."""
        trees.remove(home)
        (self._pool / WEIGHTS / f"{home.name}.json").unlink(missing_ok=True)

    def create(self, path: Path, group: str) -> None:
        """Make an empty directory."""
        path.mkdir()

    def clone(
        self,
        source: Path,
        target: Path,
        group: str | None = None,
        apart: Mapping[bytes, str] = nested.NONE,
    ) -> None:
        """Copy the directory with all that belongs to its files."""
        trees.copy(self._host, source, target)

    def reads(self, *, apart: bool) -> bool:
        """It does."""
        return True

    def limit(self, group: str, size: int) -> None:
        """Do nothing: the record alone knows the size."""

    def used(self, group: str) -> Usage | None:
        """Nothing is accounted."""
        return None

    def prune(self, kept: set[str]) -> None:
        """Do nothing: a place that is removed leaves nothing."""

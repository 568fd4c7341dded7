"""The interface of a storage kind: where environments lie, how large they may be.

An environment has a place, ``pool/env/ID``, with the volumes ``rootfs`` and ``srv`` in it. Its
quota group (``Record.group``) is its handle in every kind. The kinds are ``quota``, ``image``
and ``plain``, a module each beside this one; ``pool.volumes`` returns that of the node.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from corpus.commands import btrfs
from corpus.commands.btrfs import Usage
from corpus.hosts import nested
from corpus.model.errors import Unsupported
from corpus.node.context import Node
from corpus.node.storage import ground, trees

ROOTFS, SRV = "rootfs", "srv"


class Volumes(ABC):
    """What every kind of storage can do.

    ``enforced``: the kernel holds environments to their size. ``copying``: what of ``clone``
    copies bytes, in words for people; empty where nothing does.
    """

    kind: ClassVar[str]
    enforced: ClassVar[bool]
    copying: ClassVar[str]
    apart: ClassVar[bool] = False
    """Whether parts of an environment are accounted by themselves: ``allot``, ``parts``."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._host = node.host
        self._settings = node.settings
        self._pool = node.settings.pool

    # -- the place of an environment

    @abstractmethod
    def make(self, home: Path, group: str, size: int, image: Path) -> None:
        """Make an environment's place ``home``: a ``rootfs`` from ``image``, an empty ``srv``.

        ``size`` in bytes is what it may store beyond its image. What a crash leaves of it is
        removed by ``remove``.
        """

    @abstractmethod
    def attach(self, home: Path, *, stopped: bool = False) -> None:
        """Have the volumes of an environment at its place, as after a boot; fine when they are.

        Where its filesystem failed that takes it away from who uses it: ``stopped`` says that
        nobody does; else Conflict is raised.
        """

    @abstractmethod
    def detach(self, home: Path) -> None:
        """Undo ``attach``, for a machine that goes down. Nothing may use the volumes."""

    @abstractmethod
    def remove(self, home: Path, group: str) -> None:
        """Remove an environment's place with all volumes in it, whatever a crash left of it."""

    # -- volumes within places

    @abstractmethod
    def create(self, path: Path, group: str) -> None:
        """Make an empty volume, accounted to ``group``."""

    @abstractmethod
    def clone(
        self,
        source: Path,
        target: Path,
        group: str | None = None,
        apart: Mapping[bytes, str] = nested.NONE,
    ) -> None:
        """Make ``target`` a copy of the volume ``source``, those within it included.

        Where parts are accounted by themselves, ``apart`` has the groups of some, by paths.

        ``copying`` tells where that takes the time and the room of a copy. It is not of one
        moment unless nothing writes: freeze or stop the guest first.
        """

    def reads(self, *, apart: bool) -> bool:
        """Tell whether ``clone`` reads the files of an environment one by one.

        ``apart``: to the place of another one. Whoever can change the source meanwhile leads it to
        any file of the node's.
        """
        return False

    def delete(self, path: Path) -> None:
        """Remove a volume with all that it holds; fine when it is absent."""
        trees.remove(path)

    # -- sizes

    @abstractmethod
    def limit(self, group: str, size: int) -> None:
        """Let an environment store ``size`` bytes, now.

        The caller has checked that no more is used: where ``enforced``, less fails, or makes
        every write fail.
        """

    @abstractmethod
    def used(self, group: str) -> Usage | None:
        """Return what one environment uses and its limit, at once; None where not enforced."""

    def unlimit(self, group: str) -> None:
        """Take the limit off a project's group. Raises Unsupported where a kind has none."""
        raise Unsupported(f"the storage kind {self.kind} has no sizes of projects")

    def join(self, group: str, within: str) -> None:
        """Have a project's group that is itself in the group ``within``, also before a volume is.

        Hold the node's lock. Raises Unsupported where a kind accounts no parts.
        """
        raise Unsupported(f"the storage kind {self.kind} accounts no projects")

    def drop(self, group: str) -> bool:
        """Remove the group of a project that is gone; False: something still holds its data.

        Hold the node's lock.
        """
        return True

    def allot(self, folder: int, name: str, group: str, within: str) -> bool:
        """Have the directory ``name`` of the open directory ``folder`` be a volume of ``group``.

        That group is itself in the group ``within``. False, and nothing is made, where the kind
        accounts no parts of an environment, where something else of that name is there, or where
        somebody else has a group of that number.
        """
        return False

    def parts(self, volume: Path) -> dict[str, int] | None:
        """Return what a volume and those within have written and somebody still holds, in bytes.

        By their paths in it, ``""`` its own; what was written in one that is gone is in none of
        them. None where the kind does not tell.
        """
        return None

    def strays(self, kept: set[str]) -> list[str]:
        """Return the groups of this node that ``prune`` would remove: of no environment, no data.

        Others' groups on the same filesystem are none of them.
        """
        return []

    def unclaimed(self, group: str, within: Iterable[str]) -> list[str]:
        """Return those groups of an environment that are there, and not known to be this node's.

        Its own is ``group``; of those of its projects, ``within``, such as are in that one.
        """
        return []

    def claim(self, group: str) -> None:  # noqa: B027  most kinds have no groups
        """Know from now on that a group is this node's. Hold the node's lock."""

    def own(self, path: Path) -> None:  # noqa: B027
        """Know that of the volume ``path``, and of those within it, which were made without one."""

    @abstractmethod
    def prune(self, kept: set[str]) -> None:
        """Remove what ``remove`` had to leave, but for the groups ``kept``; it holds no data."""

    def space(self) -> tuple[int, int]:
        """Return the pool's size in bytes, and what is free: of it, and of the disk beneath it."""
        size, free = btrfs.parse_space(self._host.run(btrfs.space(self._pool)).out)
        return size, max(0, free - ground.lacking(self._node))

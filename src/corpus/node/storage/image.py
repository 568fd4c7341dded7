"""The kind ``image``: a btrfs in a file for each environment, mounted at its place.

For kernels without simple quotas, by loop devices. The size of the file is the enforced size:
what the environment may store and what its image takes, written down in the disk when it is
made. The files, ``pool/disks/ID.img``, are sparse: they take what is used, and begin as copies of a
template, one file and not each of the image's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from corpus.commands import btrfs, copying, loop
from corpus.commands.btrfs import Usage
from corpus.hosts import allocation, kernel, loops, mounts, nested, quota, subvolumes
from corpus.hosts.files import write_atomic
from corpus.model.errors import CommandFailed, Conflict, CorpusError, NotFound
from corpus.model.size import format_size
from corpus.node.records import group_of
from corpus.node.storage import templates, trees
from corpus.node.storage.templates import SMALL, rounded
from corpus.node.storage.volumes import ROOTFS, SRV, Volumes

_BASE = "base"  # the file in a disk that tells what its image takes, in bytes
_PATIENCE = 3.0  # seconds until the mounts of a guest that has just stopped are gone


class ImageVolumes(Volumes):
    """Subvolumes of one btrfs an environment."""

    kind = "image"
    enforced = True
    copying = "a clone from outside the environment copies all bytes; within it, none"

    @property
    def _disks(self) -> Path:
        return self._pool / "disks"

    def _disk(self, home: Path) -> Path:
        return self._disks / f"{home.name}.img"

    def make(self, home: Path, group: str, size: int, image: Path) -> None:
        """Make the disk with the image in it, let it have ``size`` beyond that."""
        disk = self._disk(home)
        part = disk.with_suffix(".part")
        self._disks.mkdir(exist_ok=True, mode=0o700)
        of_pool, small = image.parent == self._settings.images, size <= SMALL

        def fill(place: Path) -> None:
            self.create(place / SRV, group)
            self.clone(image, place / ROOTFS, group)
            kernel.sync(place)

        if of_pool:
            templates.copy(self._node, image, part, fill, small=small)
        else:
            room = int(self._host.run(copying.weigh(image)).out.split()[0])
            loops.make_file(part, rounded(size + room + room // 8))
            self._host.run(loop.make_btrfs(part, home.name[:8], mixed=small))
        part.rename(disk)
        home.mkdir(mode=0o700)
        self._mount(disk, home)
        if not of_pool:
            fill(home)
        total, free = _space(home)
        write_atomic(home / _BASE, b"%d\n" % (total - free), 0o600)
        self.limit(group, size)

    def attach(self, home: Path, *, stopped: bool = False) -> None:
        """Mount the disk, also anew where its filesystem failed. Raises NotFound, Conflict."""
        if mounts.is_point(home):
            if not os.statvfs(home).f_flag & os.ST_RDONLY:
                return
            if not stopped:
                raise Conflict(
                    f"the filesystem of environment {home.name} failed: it is read-only now",
                    str(home),
                    "stop it and start it: then it is mounted anew; see the kernel's log for why",
                )
            self.detach(home)  # the kernel lets nothing be written once the disk beneath was full
            loops.wait(self._disk(home))  # else the failed one is what is mounted again
        disk = self._disk(home)
        if not disk.exists():
            raise NotFound(
                f"the disk of environment {home.name} is not there",
                str(disk),
                "bring the file back, or destroy the environment",
            )
        home.mkdir(exist_ok=True, mode=0o700)
        self._mount(disk, home)

    def _mount(self, disk: Path, home: Path) -> None:
        try:
            with loops.attached(disk) as device:
                self._host.run(btrfs.mount(device, home))
        except OSError as error:
            raise CorpusError(f"cannot attach a disk: {error}", str(disk)) from None

    def detach(self, home: Path) -> None:
        """Unmount the disk; its loop device goes with the mount."""
        deadline = time.monotonic() + _PATIENCE
        while mounts.is_point(home):
            try:
                self._host.run(loop.unmount(home))
            except CommandFailed:
                if time.monotonic() > deadline:
                    kernel.unmount(home)
                time.sleep(0.05)

    def remove(self, home: Path, group: str) -> None:
        """Unmount the disk and remove its file."""
        self.detach(home)
        trees.remove(home)
        for path in (self._disk(home), self._disk(home).with_suffix(".part")):
            path.unlink(missing_ok=True)

    def create(self, path: Path, group: str) -> None:
        """Make an empty subvolume."""
        self._host.run(btrfs.create(path))

    def clone(
        self,
        source: Path,
        target: Path,
        group: str | None = None,
        apart: Mapping[bytes, str] = nested.NONE,
    ) -> None:
        """Make snapshots within one environment's disk; else copy the files."""
        if _filesystem(source) == _filesystem(target.parent) and subvolumes.is_subvolume(source):
            trees.snapshot(source, target, None)
            return
        if target.parent != self._settings.images:  # those are directories here
            trees.outline(source, target)
        trees.copy(self._host, source, target)
        if subvolumes.is_subvolume(source) and subvolumes.is_subvolume(target):
            nested.fill(source, target)  # what is read-only there

    def reads(self, *, apart: bool) -> bool:
        """It does from one disk to another."""
        return apart

    def limit(self, group: str, size: int) -> None:
        """Resize disk and filesystem while they are in use. Raises Conflict where it cannot be."""
        home = self._home(group)
        self.attach(home)
        disk, device, wanted = self._disk(home), _device(home), rounded(_base(home) + size)
        if wanted >= _space(home)[0]:
            if wanted > disk.stat().st_size:
                os.truncate(disk, wanted)
                loops.refresh(device)
            self._host.run(btrfs.resize(home, wanted))
        else:
            self._shrink(home, wanted)
            os.truncate(disk, wanted)
            loops.refresh(device)

    def _shrink(self, home: Path, wanted: int) -> None:
        kernel.sync(home)  # else what waits to be written would find no room any more
        total, free = _space(home)
        try:
            if total - free > wanted:
                raise CommandFailed([], 1, f"{format_size(total - free)} are used")
            self._host.run(btrfs.resize(home, wanted))
        except CommandFailed as error:
            raise Conflict(
                f"the disk of environment {home.name} cannot be made as small as "
                f"{format_size(wanted)}: {error.output.strip()}",
                str(self._disk(home)),
                "free space in it first, or ask for more",
            ) from None

    def _home(self, group: str) -> Path:
        for disk in self._disks.glob("*.img"):
            if group_of(disk.stem) == group:
                return self._pool / "env" / disk.stem
        raise NotFound(f"no disk in the pool belongs to the group {group}", str(self._disks))

    def used(self, group: str) -> Usage | None:
        """Ask the environment's own filesystem; None where it is not mounted."""
        with suppress(CorpusError, OSError, ValueError):
            home = self._home(group)
            if mounts.is_point(home):
                return _usage(home)
        return None

    def prune(self, kept: set[str]) -> None:
        """Do nothing: a disk is there no longer than a record that names it."""


def _space(home: Path) -> tuple[int, int]:
    """Return size and free room of a mounted disk in bytes; what waits to be written is used."""
    found = os.statvfs(home)
    free = found.f_bavail * found.f_frsize - allocation.reserved(home)
    return found.f_blocks * found.f_frsize, max(0, free)


def _base(home: Path) -> int:
    return int((home / _BASE).read_text())


def _usage(home: Path) -> Usage:
    total, free = _space(home)
    base = _base(home)
    return Usage(max(0, total - free - base), total - base)


def _device(home: Path) -> Path:
    found = [m.source for m in loop.parse_mounts(mounts.text()) if m.target == str(home.resolve())]
    if not found:
        raise CorpusError(
            f"the disk of environment {home.name} is not mounted",
            str(home),
            "start the environment, or run corpus_node.boot",
        )
    return Path(found[-1])


def _filesystem(path: Path) -> str:
    with suppress(OSError):
        return quota.filesystem(path)
    return ""

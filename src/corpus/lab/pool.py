"""The lab's filesystems: sparse files, mounted through loop devices.

One holds the nodes' roots; each node has one of its own for its pool.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from corpus.commands import btrfs, loop
from corpus.hosts import kernel, loops, subvolumes
from corpus.hosts.base import Host
from corpus.lab.paths import LabPaths
from corpus.lab.settings import FILESYSTEMS, Settings
from corpus.model.errors import CommandFailed, Conflict, Unsupported
from corpus.model.size import format_size

NEEDED = 4 << 30  # an unpacked node, an environment's image and some room, in bytes


@dataclass(frozen=True)
class Volume:
    """A filesystem of the kind ``kind`` in the file ``image``, mounted at ``target``."""

    image: Path
    target: Path
    kind: str


class Pool:
    """The filesystems of one lab: made, mounted, unmounted."""

    def __init__(self, host: Host, paths: LabPaths, settings: Settings) -> None:
        self._host = host
        self._paths = paths
        self._settings = settings

    @property
    def volumes(self) -> list[Volume]:
        """The filesystems: that of the roots, and each node's pool."""
        found = [Volume(self._paths.image, self._paths.roots, "btrfs")]
        for member in self._settings.members:
            node = self._paths.node(member.number)
            found.append(Volume(node.pool_image, node.pool, FILESYSTEMS[member.storage]))
        return found

    def mounts(self) -> list[str]:
        """Return what is mounted within the lab's directory, oldest first."""
        within = str(self._paths.root) + "/"
        text = Path("/proc/self/mountinfo").read_text()
        return [
            mount.target for mount in loop.parse_mounts(text) if mount.target.startswith(within)
        ]

    def loops(self) -> list[str]:
        """Return the loop devices whose file lies (or lay) in the lab's directory, or its nodes.

        What a node made of a file within it has a path of the node's own.
        """
        found = loop.parse_loops(self._host.run(loop.list_loops()).out)
        within = str(self._paths.root) + "/"
        inside = self._within_nodes()
        return [
            device
            for device, file in found.items()
            if file.startswith(within) or (loops.backing(Path(device)) or (0,))[0] in inside
        ]

    def _within_nodes(self) -> set[int]:
        """Return the device numbers of what the nodes may write files to."""
        mounted = self.mounts()
        found: set[int] = set()
        for member in self._settings.members:
            node = self._paths.node(member.number)
            if str(self._paths.roots) in mounted:
                own = (node.state, node.rootfs)
                found |= {path.stat().st_dev for path in own if path.exists()}
            if str(node.pool) in mounted:
                found.add(node.pool.stat().st_dev)
        return found

    def attach(self) -> None:
        """Make what is missing and mount it."""
        mounted = self.mounts()
        absent = [volume for volume in self.volumes if str(volume.target) not in mounted]
        if absent:
            self._free_loops()
        for volume in absent:
            self._make(volume)
            volume.target.mkdir(exist_ok=True)
            if volume.kind == "btrfs":
                self._host.run(btrfs.mount(volume.image, volume.target, file=True))
            else:
                self._host.run(loop.mount_ext4(volume.image, volume.target))
        for member in self._settings.members:
            state = self._paths.node(member.number).state
            if not state.exists():
                subvolumes.create(state)
        self._paths.store.mkdir(exist_ok=True)

    def detach(self) -> None:
        """Unmount everything within the lab's directory and free its loop devices."""
        for target in reversed(self.mounts()):
            self._unmount(Path(target))
        self._free_loops()

    def _make(self, volume: Volume) -> None:
        if volume.image.exists():
            return
        free = shutil.disk_usage(self._paths.root).free
        if free < NEEDED:
            raise Unsupported(
                f"{format_size(free)} free on the disk, a node needs {format_size(NEEDED)}",
                where=str(self._paths.root),
                mend="free some space, or put the lab elsewhere (--root)",
            )
        # Under another name until it is whole: a killed run leaves no half of a filesystem.
        new = volume.image.with_suffix(".new")
        new.unlink(missing_ok=True)
        with new.open("wb") as file:
            file.truncate(self._settings.pool_size)
        new.chmod(0o600)
        make = loop.make_btrfs if volume.kind == "btrfs" else loop.make_ext4
        self._host.run(make(new, f"{self._paths.name}-{volume.target.name}"))
        new.replace(volume.image)

    def _unmount(self, target: Path) -> None:
        # A container that was just killed holds its mounts some milliseconds longer.
        for _ in range(40):
            try:
                self._host.run(loop.unmount(target))
            except CommandFailed:
                time.sleep(0.05)
            else:
                return
        kernel.unmount(target)

    def _free_loops(self) -> None:
        """Free the loop devices that nothing uses; the others go with their last user."""
        for device in self.loops():
            with suppress(CommandFailed):
                self._host.run(loop.detach_loop(device))

    def wait_until_gone(self, waiting: Callable[[str], None], patience: float) -> None:
        """Wait until the kernel has let the loop devices go.

        A process that copied the mounts when it started (in a mount namespace of its own)
        holds them to its end; ``waiting`` is told which. Raises Conflict after ``patience``
        seconds.
        """
        deadline = time.monotonic() + patience
        told = False
        while devices := self.loops():
            self._free_loops()
            left = deadline - time.monotonic()
            users = ", ".join(self._users(set(devices))) or "the kernel"
            if left < 0:
                raise Conflict(
                    f"{', '.join(devices)} is still in use by {users}",
                    mend="end it, then run the command again; it goes by itself then",
                )
            if not told and left < patience - 2:
                waiting(f"waiting for {users}, which started while the pool was mounted")
                told = True
            time.sleep(0.05)

    @staticmethod
    def _users(devices: set[str]) -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit():
                    mounts = loop.parse_mounts((entry / "mountinfo").read_text())
                    if any(mount.source in devices for mount in mounts):
                        found.append(f"{(entry / 'comm').read_text().strip()} ({entry.name})")
        return found[:5]

    def usage(self, number: int) -> dict[str, int]:
        """Return in bytes of a node's pool: size, what is used of it, what the file takes."""
        node = self._paths.node(number)
        space = os.statvfs(node.pool)
        return {
            "size": space.f_blocks * space.f_frsize,
            "used": (space.f_blocks - space.f_bfree) * space.f_frsize,
            "on_disk": node.pool_image.stat().st_blocks * 512,
        }

"""The lab's btrfs: a sparse file, mounted through a loop device."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from corpus.commands import btrfs, loop
from corpus.hosts import kernel, subvolumes
from corpus.hosts.base import Host
from corpus.lab.paths import LabPaths
from corpus.model.errors import CommandFailed, Conflict, Unsupported
from corpus.model.size import format_size

NEEDED = 4 << 30  # an unpacked node, an environment's image and some room, in bytes


class Pool:
    """The pool of one lab: made, mounted, unmounted."""

    def __init__(self, host: Host, paths: LabPaths, size: int) -> None:
        self._host = host
        self._paths = paths
        self._size = size

    def mounts(self) -> list[str]:
        """Return what is mounted within the lab's directory, oldest first."""
        within = str(self._paths.root) + "/"
        text = Path("/proc/self/mountinfo").read_text()
        return [
            mount.target for mount in loop.parse_mounts(text) if mount.target.startswith(within)
        ]

    def loops(self) -> list[str]:
        """Return the loop devices whose file lies (or lay) in the lab's directory."""
        found = loop.parse_loops(self._host.run(loop.list_loops()).out)
        within = str(self._paths.root) + "/"
        return [device for device, file in found.items() if file.startswith(within)]

    def attach(self) -> list[str]:
        """Make what is missing of the pool and mount it. Returns warnings."""
        if str(self._paths.pool) not in self.mounts():
            self._free_loops()
            self._make()
            self._paths.pool.mkdir(exist_ok=True)
            self._host.run(btrfs.mount(self._paths.image, self._paths.pool))
        return self._furnish()

    def detach(self) -> None:
        """Unmount everything within the lab's directory and free its loop devices."""
        for target in reversed(self.mounts()):
            self._unmount(Path(target))
        self._free_loops()

    def _make(self) -> None:
        if self._paths.image.exists():
            return
        free = shutil.disk_usage(self._paths.root).free
        if free < NEEDED:
            raise Unsupported(
                f"{format_size(free)} free on the disk, a lab needs {format_size(NEEDED)}",
                where=str(self._paths.root),
                mend="free some space, or put the lab elsewhere (--root)",
            )
        # Under another name until it is whole: a killed run leaves no half of a filesystem.
        new = self._paths.image.with_suffix(".new")
        new.unlink(missing_ok=True)
        with new.open("wb") as file:
            file.truncate(self._size)
        new.chmod(0o600)
        self._host.run(loop.make_btrfs(new, self._paths.container))
        new.replace(self._paths.image)

    def _furnish(self) -> list[str]:
        """Make the pool's subvolumes; quotas come first, they count what is written later."""
        warnings = []
        if not self._paths.state.exists():
            try:
                subvolumes.enable_simple_quotas(self._paths.pool)
            except Unsupported as error:
                warnings.append(f"{error.what}; sizes of environments are not enforced")
        for path in (self._paths.guests, self._paths.state):
            if not path.exists():
                subvolumes.create(path)
        self._paths.store.mkdir(exist_ok=True)
        return warnings

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

    def usage(self) -> dict[str, int]:
        """Return in bytes: the pool's size and what is used of it, and what the file takes."""
        space = os.statvfs(self._paths.pool)
        blocks = self._paths.image.stat().st_blocks
        return {
            "size": space.f_blocks * space.f_frsize,
            "used": (space.f_blocks - space.f_bfree) * space.f_frsize,
            "on_disk": blocks * 512,
        }

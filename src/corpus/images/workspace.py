"""Where layers are made: in memory when there is enough, mounts seen by the build alone."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from corpus.commands import debian, layers
from corpus.hosts.base import Host, Result
from corpus.hosts.local import Local
from corpus.model.errors import CommandFailed, CorpusError, Unsupported

EPOCH = 1_767_225_600
"""The time stamp (1 January 2026) of whatever a build makes: when it ran leaves no trace."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": str(EPOCH),
    # What the host's own Python is told must not reach the one inside.
    "PYTHONPATH": "",
    "TMPDIR": "/tmp",  # noqa: S108 # of the tree, not of the host
}

_MEMORY_NEEDED = 3 << 20
"""KiB that must be free for the work to be done in memory."""
_MEMORY_SIZE = 2560


@dataclass
class Tree:
    """A root filesystem in the making: ``root`` is the whole, ``upper`` what the layer adds."""

    root: Path
    upper: Path
    host: Host
    started: float = field(default_factory=time.time)

    def run(self, *argv: str, environment: dict[str, str] | None = None) -> Result:
        """Run a command with the tree as its root directory."""
        return self.host.run(debian.inside(self.root, argv), env=ENVIRONMENT | (environment or {}))

    def write(self, path: str, data: str | bytes, mode: int = 0o644) -> None:
        """Write the file ``path`` of the tree, owned by root."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        target.chmod(mode)

    def remove(self, *patterns: str) -> None:
        """Remove what the patterns name."""
        for pattern in patterns:
            for path in self.root.glob(pattern):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def settle(self) -> None:
        """Give all that was made since the start the same time stamp.

        Older times stay: they come from the packages, and Debian's .pyc files record them.
        Raises CorpusError where the layer would have to delete: a layer only adds.
        """
        for folder, names, files in os.walk(self.upper):
            for name in [*names, *files, "."]:
                path = Path(folder, name)
                status = path.lstat()
                if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                    raise CorpusError(f"a layer removes /{path.relative_to(self.upper)}")
                if status.st_mtime >= self.started - 1:
                    os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


class Workspace:
    """Scratch space with the trees of layers; lives within `hosts.isolated.run`."""

    def __init__(self, root: Path, host: Host | None = None) -> None:
        self.root = root
        self.host = host or Local()
        root.mkdir(parents=True)
        if _available_memory() >= _MEMORY_NEEDED:
            self.host.run(layers.mount_memory(root, _MEMORY_SIZE))

    def folder(self, name: str) -> Path:
        """Make and return an empty directory."""
        path = self.root / name
        path.mkdir(parents=True)
        return path

    def plain(self, name: str) -> Tree:
        """Return an empty tree that stands on nothing."""
        root = self.folder(f"{name}/upper")
        return Tree(root, root, self.host)

    def unpack(self, name: str, archive: Path) -> None:
        """Make the tree ``name`` hold a layer that was made earlier."""
        self.host.run(layers.unpack(archive, self.folder(f"{name}/upper")))

    @contextmanager
    def above(self, name: str, lower: list[str]) -> Iterator[Tree]:
        """Give a tree that stands on the layers ``lower``, the lowest first, ready to run in."""
        upper, work, root = (self.folder(f"{name}/{part}") for part in ("upper", "work", "root"))
        below = [self.root / layer / "upper" for layer in reversed(lower)]
        try:
            self.host.run(layers.mount_overlay(below, upper, work, root))
        except CommandFailed as error:
            raise Unsupported(
                f"this kernel or filesystem cannot overlay directories\n{error.output.strip()}",
                where=str(root),
                mend="load the kernel module overlay; give the cache an ext4, xfs or btrfs",
            ) from None
        tree = Tree(root, upper, self.host)
        with self.mounted(tree):
            yield tree
        self.host.run(layers.unmount(root))

    @contextmanager
    def mounted(self, tree: Tree) -> Iterator[None]:
        """Give the tree /proc, /dev and an empty /run while something runs in it."""
        points = {name: tree.root / name for name in ("proc", "dev", "run", "tmp")}
        self.host.run(layers.mount_kernel("proc", points["proc"]))
        self.host.run(layers.mount_devices(points["dev"]))
        self.host.run(layers.mount_memory(points["run"], 64))
        self.host.run(layers.mount_memory(points["tmp"], 512, mode=0o1777))
        yield
        for point in points.values():
            self.host.run(layers.unmount(point))

    def show(self, tree: Tree, folder: Path, inside: str) -> None:
        """Show a directory of the host in the tree's /run, for reading."""
        target = tree.root / inside.lstrip("/")
        target.mkdir(parents=True)
        self.host.run(layers.mount_bind(folder, target))


def _available_memory() -> int:
    match = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())
    return int(match[1]) if match else 0

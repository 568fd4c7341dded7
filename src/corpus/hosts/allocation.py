"""What a btrfs has given out to data and metadata, and its device errors, from /sys/fs/btrfs.

Source: the kernel's fs/btrfs/sysfs.c (allocation/, devices/, devinfo/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from corpus.hosts.quota import filesystem

_SECTOR = 512
KINDS = ("data", "metadata", "mixed", "system")


@dataclass(frozen=True)
class Allocation:
    """Bytes: ``given`` to a kind of content on the disk, ``size`` for it, ``used`` of that.

    ``given`` is larger than ``size`` where everything is written twice.
    """

    given: int
    size: int
    used: int


def allocations(pool: Path, sysfs: Path = Path("/sys/fs/btrfs")) -> dict[str, Allocation]:
    """Return what is given to each kind of content. Raises OSError where ``pool`` is no btrfs."""
    folder = sysfs / filesystem(pool) / "allocation"
    return {
        kind: Allocation(
            _number(folder / kind / "disk_total"),
            _number(folder / kind / "total_bytes"),
            _number(folder / kind / "bytes_used"),
        )
        for kind in KINDS
        if (folder / kind / "disk_total").exists()
    }


def size(pool: Path, sysfs: Path = Path("/sys/fs/btrfs")) -> int:
    """Return the bytes of all its devices as the kernel's filesystem sees them."""
    return sum(
        _number(path / "size") * _SECTOR
        for path in (sysfs / filesystem(pool) / "devices").iterdir()
    )


def reserved(pool: Path, sysfs: Path = Path("/sys/fs/btrfs")) -> int:
    """Return the bytes that are promised to data which is written and not yet on the disk.

    On a small filesystem that mixes both also those promised to metadata.
    """
    folder = sysfs / filesystem(pool) / "allocation"
    counted = [kind for kind in ("data", "mixed") if (folder / kind).exists()]
    names = ("bytes_may_use", "bytes_reserved")  # promised, and then on its way to its place
    return sum(_number(folder / kind / name) for kind in counted for name in names)


def errors(pool: Path, sysfs: Path = Path("/sys/fs/btrfs")) -> dict[str, int]:
    """Return how often each kind of error has happened, on all devices together."""
    found: dict[str, int] = {}
    for path in (sysfs / filesystem(pool) / "devinfo").glob("*/error_stats"):
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            found[name] = found.get(name, 0) + int(count)
    return found


def _number(path: Path) -> int:
    return int(path.read_text(), 0)
